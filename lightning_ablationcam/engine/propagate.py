"""The propagation engine: carry every counterfactual through the recorded tail at once."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from lightning_ablationcam.engine import owners as owner_maps
from lightning_ablationcam.engine.experience import Experience
from lightning_ablationcam.engine.fusing import fused
from lightning_ablationcam.engine.memory import PeakMemory, left
from lightning_ablationcam.engine.program import (
    Node,
    Program,
    PropagationError,
    is_ref,
    run_node,
    substitute,
)
from lightning_ablationcam.engine.readout import Readout
from lightning_ablationcam.engine.rules import RULES, Bound, linear_part, result_owners
from lightning_ablationcam.engine.values import (
    Change,
    Channelwise,
    Dense,
    counterfactuals,
    laid_out,
    written_out,
)
from lightning_ablationcam.engine.winograd import Winograd, suits
from lightning_ablationcam.network.memory import is_out_of_memory

CPU_WORKING_SET = 64 * 2**20
"""Most bytes that a chunk uses on a CPU, if each op made copies of its own; as most run in place,
it is about half. Larger chunks exceed the caches and are not faster, and copies of over 32 MiB are
much slower: the system gives memory of that size back and takes it anew, page by page."""

CHUNK_SHARE = 0.9
"""Share of the memory left that a chunk may use; the rest is for drops, weights and the like."""

KERNELS_SHARE = 0.4
"""Share of the memory budget that kernels may take which are made for the pass."""

WORTH_TRANSFORMING = 32
"""Kernels are transformed for more groups than these: for fewer it takes longer than it saves."""

WORTH_SKIPPING = 0.75
"""Groups that ablation does not change are skipped if at most this share of all remains."""


class Propagation:
    """Finds the drops of any groups, from one interpretation of the tail.

    Nodes that keep channels apart run twice, intact and with everything ablated, for all groups
    together. Nodes from where channels are mixed run on changes, in chunks of groups.

    Args:
        program: The recorded tail.
        start: The target layer's output.
        readout: How drops are read off the values that enter the program's affine end.
        changed: (N, G) whether ablation changes a group at all; elsewhere the drop is zero.
        known: What is known of the program; the memory that a group needs is noted in it.
        count: Q, the number of scores.
        memory_budget: Bytes that the pass may use. A chunk is halved when memory runs out.

    Raises:
        PropagationError: If an op cannot be run on changes.
    """

    def __init__(
        self,
        program: Program,
        start: Channelwise,
        readout: Readout,
        changed: Tensor,
        known: Experience,
        count: int,
        *,
        memory_budget: int,
    ) -> None:
        self._tail = _Tail(program, readout, start)
        self._changed, self._known = changed, known
        self._count, self._budget = count, memory_budget
        self._asked = 0
        self._tail.run_channelwise()
        self._tail.join_nodes(memory_budget)
        self._apart = self._tail.read(self._tail.channelwise, torch.arange(changed.shape[1]))

    def drops(self, groups: Tensor | None = None) -> Tensor:
        """(N, G, Q) the drops of some groups, or all; without meaning for others.

        Args:
            groups: (n,) int64, on the CPU.

        Raises:
            PropagationError: If an op cannot be run on changes.
        """
        drops, changed = self._apart, self._changed
        if self._tail.mixed:
            live = _live(changed) if groups is None else _live_of(changed, groups)
            self._asked += len(live)
            if self._asked > WORTH_TRANSFORMING:
                self._tail.transform_kernels(self._budget)
            # Not in place: what is read off unmixed channels serves other groups too.
            drops = None if drops is None else drops.clone()
            for chunk, found in _chunked(self._tail, live, self._known, self._budget):
                if drops is None:
                    drops = found.new_zeros(*changed.shape, found.shape[-1])
                drops[:, chunk.to(drops.device)] += found
        if drops is None:
            return torch.zeros(*changed.shape, self._count, device=changed.device)
        return torch.where(changed[..., None], drops, 0)


def _live(changed: Tensor) -> Tensor:
    """The groups to run: all if few are unchanged, because a range is read without a copy."""
    live = changed.any(dim=0).nonzero().flatten().cpu()
    few_dead = 0 < len(live) > WORTH_SKIPPING * changed.shape[1]
    return torch.arange(changed.shape[1]) if few_dead else live


def _live_of(changed: Tensor, groups: Tensor) -> Tensor:
    """Those of some groups that ablation changes."""
    return groups[changed.any(dim=0).cpu()[groups]]


class _Tail:
    """One interpretation of a program."""

    def __init__(self, program: Program, readout: Readout, start: Channelwise) -> None:
        self.program = program
        self.readout = readout
        self.device = start.base.device
        self.bases: dict[int, Tensor] = {}
        self.start = start
        self.channelwise = {0: start}
        self.mixed: list[Node] = []
        self.fast: dict[int, Winograd] = {}
        self.kernel_bytes = 0
        self.most_bytes = 1
        self.last_uses = {
            index: place for place, node in enumerate(readout.nodes) for index in node.refs()
        }

    def base(self, index: int) -> Tensor:
        """A value in the intact network."""
        return self.channelwise[index].base if index in self.channelwise else self.bases[index]

    def run_channelwise(self) -> None:
        """Run everything once intact, and once ablated as far as channels are kept apart."""
        needed = set(self.readout.reads)
        for place, node in enumerate(self.readout.nodes):
            with _blaming(node):
                owners = self._owners(node)
            base = run_node(node, self.base)
            if owners is None:
                self.mixed.append(node)
                needed.update(node.refs())
                for index, result in zip(node.outputs, base, strict=True):
                    if index is not None:
                        self.bases[index] = laid_out(result)
                needed.update(node.defined())
            else:
                ablated = run_node(node, lambda index: self.channelwise[index].ablated)
                for index, *value in zip(node.outputs, base, ablated, owners, strict=True):
                    if index is not None:
                        self.channelwise[index] = Channelwise(*value)
            for index in node.refs():
                if self.last_uses[index] == place and index not in needed:
                    self.channelwise.pop(index, None)

    def join_nodes(self, memory_budget: int) -> None:
        """Make the mixed part of fewer nodes."""
        most = int(KERNELS_SHARE * memory_budget)
        self.mixed, self.kernel_bytes = fused(self.mixed, set(self.readout.reads), most)
        used = {index for node in self.mixed for index in (*node.refs(), *node.defined())}
        self.bases = {index: base for index, base in self.bases.items() if index in used}

    def transform_kernels(self, memory_budget: int) -> None:
        """Make large convolutions ready for many groups, once."""
        most = int(KERNELS_SHARE * memory_budget)
        for node in self.mixed:
            if not _is_plain_convolution(node) or node.args[0].index in self.channelwise:
                continue
            value, weight, _, _, padding, *_ = node.args
            size = Winograd.BYTES * weight.nbytes
            fits = self.kernel_bytes + size <= most
            known = node.defined()[0] in self.fast
            if fits and not known and suits(weight, self.program.shapes[value.index][2:], padding):
                self.fast[node.defined()[0]] = Winograd(weight, padding)
                self.kernel_bytes += size

    def bytes_kept(self) -> int:
        """Memory of the values that stay for the mixed part, with their changes."""
        # The layer's output outlives its last use, as replay holds it too.
        values = {**self.channelwise, 0: self.start}.values()
        bases = sum(base.nbytes for base in self.bases.values())
        return self.kernel_bytes + bases + sum(3 * value.base.nbytes for value in values)

    def run_mixed(self, groups: Tensor) -> Tensor | None:
        """(N, n, Q) the drops that come through mixed channels, for one chunk of groups."""
        chunk = _Chunk(self, groups)
        last_uses = {i: place for place, node in enumerate(self.mixed) for i in node.refs()}
        for place, node in enumerate(self.mixed):
            chunk.ending = {
                index
                for index in node.refs()
                if last_uses[index] == place and index not in self.readout.reads
            }
            with _blaming(node):
                chunk.run(node)
            self.most_bytes = max(self.most_bytes, chunk.bytes_used(node))
            for index in chunk.ending:
                chunk.values.pop(index, None)
        return self.read(chunk.values, groups)

    def read(self, values: Mapping[int, Channelwise | Change], groups: Tensor) -> Tensor | None:
        """(N, n, Q) the drops that some values cause, None if the readout reads none of them."""
        found = [
            self.readout.drops(index, values[index], groups)
            for index in self.readout.reads
            if index in values
        ]
        return sum(found[1:], found[0]) if found else None

    def _owners(self, node: Node) -> list[Tensor] | None:
        if not all(index in self.channelwise for index in node.refs()):
            return None
        value = self.channelwise.__getitem__
        shapes = [None if i is None else self.program.shapes[i] for i in node.outputs]
        bound = Bound(node, substitute(node.args, value), substitute(node.kwargs, value), shapes)
        owners = result_owners(bound)
        return None if owners is None else list(owners)


class _Chunk:
    """The changes under one chunk of groups; the context that rules get."""

    def __init__(self, tail: _Tail, groups: Tensor) -> None:
        self.program = tail.program
        self.groups = groups
        self.base = tail.base
        self.fast: Mapping[int, Winograd] = tail.fast
        self.values: dict[int, Change] = {}
        self.ending: set[int] = set()
        self._channelwise = tail.channelwise

    def value(self, index: int) -> Channelwise | Change:
        """A dependent value."""
        return self._channelwise[index] if index in self._channelwise else self.values[index]

    def spare(self, index: int) -> Tensor | None:
        """The written-out change, if the node is the last to need it, and may write over it."""
        change = self.values.get(index)
        may = isinstance(change, Dense) and change.own and index in self.ending
        return change.delta if may else None  # type: ignore[union-attr]

    def run(self, node: Node) -> None:
        """Carry the changes through a node: in closed form, by its linear part, or written out."""
        linear = linear_part(node, self.program.shapes)
        node = linear or node
        rule = RULES.of_changes.get(node.op)
        change = rule(node, self) if rule else None
        if not (isinstance(change, Dense) and change.own):
            self._share(node.refs())
        if change is not None:
            index = node.outputs[0]
            assert index is not None
            self.values[index] = change
            return
        results = self._run_on_copies(node, is_linear=linear is not None)
        for index, result in zip(node.outputs, results, strict=True):
            if index is not None:
                self.values[index] = Dense(result)

    def _share(self, indices: Iterable[int]) -> None:
        """A result may be a view of these values."""
        for index in indices:
            value = self.values.get(index)
            if isinstance(value, Dense):
                self.values[index] = replace(value, own=False)

    def bytes_used(self, node: Node) -> int:
        """Bytes of the values now, and of the copies that the node that just ran wrote out."""
        alive = sum(value.nbytes for value in self.values.values())
        results = [self.values[index] for index in node.defined() if index in self.values]
        return alive + 2 * sum(value.nbytes for value in results)

    def _run_on_copies(self, node: Node, *, is_linear: bool) -> Iterable[Tensor]:
        indices = list(dict.fromkeys(node.refs()))
        values = [
            written_out(self.value(index), self.groups)
            if is_linear
            else counterfactuals(self.value(index), self.base(index), self.groups)
            for index in indices
        ]

        def once(*values: Tensor) -> tuple[Tensor, ...]:
            return run_node(node, dict(zip(indices, values, strict=True)).__getitem__)

        with warnings.catch_warnings():
            # An op without a batching rule is run copy by copy: slower, but just as exact.
            warnings.filterwarnings("ignore", message=".*batching rule.*")
            results = torch.vmap(once)(*values)
        if is_linear:
            return results
        return [
            result if index is None else _difference(result, self.base(index))
            for index, result in zip(node.outputs, results, strict=True)
        ]


def _is_plain_convolution(node: Node) -> bool:
    """Whether it runs in two dimensions, at every place, on all channels."""
    if node.op is not torch.ops.aten.convolution.default:
        return False
    if not is_ref(node.args[0]) or len(node.refs()) > 1:
        return False
    _, weight, _, stride, padding, dilation, transposed, _, groups = node.args
    plain = list(stride) == list(dilation) == [1, 1] and len(padding) == 2
    return plain and weight.ndim == 4 and not transposed and groups == 1


@contextmanager
def _blaming(node: Node) -> Iterator[None]:
    """Name the op and module where an op cannot be batched, or a rule did not expect its form."""
    try:
        yield
    except PropagationError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        message = (str(error) or type(error).__name__).splitlines()[0]
        raise PropagationError(
            f"cannot be run on many counterfactuals at once: {message}", node.op, node.module
        ) from error


def _difference(value: Tensor, base: Tensor) -> Tensor:
    if base.dtype == torch.bool:
        return value ^ base
    # In place where the result is a tensor of its own: a second large buffer costs page faults.
    own = value.is_contiguous() and value.dtype == base.dtype
    return value.sub_(base) if own else value - base


def _chunked(
    tail: _Tail, live: Tensor, known: Experience, memory_budget: int
) -> Iterable[tuple[Tensor, Tensor]]:
    """Run the mixed part chunk by chunk, with half the chunk whenever memory runs out.

    The first two chunks of a new program are one group and two groups: they show how much memory a
    group needs. One group alone may need less, as a single copy is often a view.
    """
    budget = int(CHUNK_SHARE * left(memory_budget, tail.bytes_kept()))
    trials = [1, 2] if known.group_bytes is None else []
    done, size = 0, _fitting(known, budget, tail.device)
    while done < len(live):
        measured = bool(trials)
        chunk = live[done : done + (trials.pop(0) if measured else size)]
        try:
            with PeakMemory() if measured else nullcontext() as memory:
                found = tail.run_mixed(chunk)
        except (RuntimeError, MemoryError) as error:
            if len(chunk) == 1 or not is_out_of_memory(error):
                raise
            trials, size = [], max(1, len(chunk) // 2)
            continue
        if memory is not None:
            known.group_bytes = memory.peak // len(chunk)
            known.live_bytes = max(1, tail.most_bytes // len(chunk))
            size = _fitting(known, budget, tail.device)
        done += len(chunk)
        if found is not None:
            yield chunk, found


def _fitting(known: Experience, budget: int, device: torch.device) -> int:
    """How many groups fit into a chunk."""
    fitting = budget // max(1, known.group_bytes or budget)
    if device.type == "cpu":
        fitting = min(fitting, CPU_WORKING_SET // known.live_bytes)
    return max(1, fitting)


def layer_value(
    activations: Tensor, ablated: Tensor, groups: Tensor, channel_dim: int
) -> Channelwise:
    """The target layer's output as the value that everything starts from."""
    owner = owner_maps.layer_owners(groups, activations.ndim, channel_dim)
    return Channelwise(activations, ablated, owner)
