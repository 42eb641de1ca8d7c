"""How drops are computed: one recorded forward pass, then one engine for all channels."""
