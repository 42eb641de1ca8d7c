"""The user's network: a layer is found in it, and it is left as it was found."""
