"""The paper's method, on tensors: scores, drops to weights, weights to heatmaps."""
