"""One fit: when a pass is due, what it finds, and what is kept from it."""
