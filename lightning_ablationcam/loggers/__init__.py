"""Where pictures go: one module for each backend."""
