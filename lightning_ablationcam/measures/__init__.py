"""Numbers that sum up a heatmap, or the change between two, in one value."""
