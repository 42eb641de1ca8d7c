"""What is watched: a fixed set of images, and where they come from."""
