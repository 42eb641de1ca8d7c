"""Where what was seen goes: TensorBoard, folders, reports, animations."""
