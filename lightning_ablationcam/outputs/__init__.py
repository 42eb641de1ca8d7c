"""Where passes are written to: TensorBoard, folders, reports, animations."""
