"""The fixed set of images that a run watches, and where they come from."""
