"""How drops are computed: one recorded forward pass, then one engine for all channels.

The recorder runs the model once and, from the target layer on, a tape writes down the program of
the tail in canonical ops. Narrowing leaves out tokens that the output does not read. A readout
turns the affine end of the program into weights on what enters it. Propagation interprets the
rest on three kinds of value by the tables of rules. A self-check compares a few drops with the
replay engine, which is also what everything falls back to.
"""
