"""Numbers that say in one value what a heatmap, or two of them, show."""
