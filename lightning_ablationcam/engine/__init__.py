"""How drops are computed: one recorded forward pass, then one engine for all channels.

The recorder runs the model once and, from the target layer on, a tape records the program of the
tail in canonical ops. Narrowing leaves out tokens that the output does not read. A readout turns
the affine end of the program into weights on the values that enter it. Propagation interprets the
rest on three kinds of value by the tables of rules. A self-check compares a few drops with the
replay engine, which also takes over where propagation is not possible.

The words of this folder, in the order in which they come up:

* Tail: what the network computes from the target layer's output to its own output.
* Group: channels that are ablated together; a single channel is a group too.
* Pair: one image and one group. Each pair has one drop.
* Counterfactual: the forward pass with one group ablated; the intact pass has none ablated.
* Tape: the dispatch mode that records the tail while the model runs.
* Program: the recorded tail, a straight line of nodes.
* Node: one ATen op in functional form, with references in place of the values that it reads.
* Value: a tensor that depends on the target layer's output, known by its index in the program.
  Value 0 is the layer's output. All other tensors are constants.
* Narrowing: rewriting a program so that it computes only the tokens that its output reads.
* Readout: the rule that turns the changes of some values into drops.
* Base: a value in the intact network.
* Owner: the group whose ablation changes an entry of a value; ``NOBODY`` if none does.
* Channelwise: a value of which each entry has one owner. It is held as its base, the same with
  everything ablated, and a map of owners, for all groups together.
* Factored: the change of a value as a sum of products that are not multiplied out.
* Dense: the change of a value written out, one copy for each counterfactual.
* Chunk: groups whose changes are computed together in nodes from where channels are mixed.
* Experience: what is known about a program on a model: whether its drops were checked, and how
  much memory a group needs.
* Replay: the reference engine. It runs the model again for each pair, with the target layer's
  output replaced.
"""
