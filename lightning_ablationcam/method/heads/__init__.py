"""What a model's output means, one module for each kind of output."""
