"""Where passes are written to: TensorBoard, other loggers, folders, reports, animations."""
