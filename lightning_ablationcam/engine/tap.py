"""Where a value is taken from a running network, and put back changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from lightning_ablationcam.engine.program import Node, Program, Ref, pruned, run_node, substitute
from lightning_ablationcam.engine.rules.pointwise import is_pointwise
from lightning_ablationcam.engine.tape import Tape
from lightning_ablationcam.network.layers import LayerError
from lightning_ablationcam.network.targets import Target


@dataclass(frozen=True, eq=False)
class Tap:
    """A target, and how far behind its module the value is.

    Attributes:
        target: The target; its call is not negative.
        place: How many recorded ops come before the one that makes the value; None where it is
            what the module returns, or is given.
    """

    target: Target
    place: int | None = None

    def __str__(self) -> str:
        # Where nothing pointwise follows a module, its activation is its output.
        is_output = self.target.part == "activation" and self.place is None
        return str(replace(self.target, part="output") if is_output else self.target)

    @contextmanager
    def replaced(self, value: Tensor) -> Iterator[None]:
        """Let the network go on with another value, in one forward pass inside."""
        with ExitStack() as modes:

            def put(found: Any) -> Any:
                if self.place is None:
                    return value.clone()
                start = found.clone()
                modes.enter_context(Tape(start, put_in=(self.place, value)))
                return start

            modes.enter_context(tapped(self.target, put))
            yield


@contextmanager
def tapped(target: Target, take: Callable[[Any], Any]) -> Iterator[list[int]]:
    """Let ``take`` see what a module returns, or is given, and say what the network goes on with.

    Args:
        target: The target; its call is not negative, and None stands for the first.
        take: Is called once in each forward pass.

    Yields:
        A list of one number, how often the module has run.
    """
    runs = [0]

    def is_mine() -> bool:
        runs[0] += 1
        return runs[0] - 1 == (target.call or 0)

    def after(_module: Any, _args: Any, output: Any) -> Any:
        return take(output) if is_mine() else None

    def before(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not is_mine():
            return None
        if args:
            return (take(args[0]), *args[1:]), kwargs
        if kwargs:
            name = next(iter(kwargs))
            return args, {**kwargs, name: take(kwargs[name])}
        raise LayerError(f"target_layer={str(target)!r}: the module is given nothing")

    if target.part == "input":
        handle = target.module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = target.module.register_forward_hook(after)
    try:
        yield runs
    finally:
        handle.remove()


def check_runs(target: Target, runs: int) -> None:
    """Raise a ``LayerError`` unless a target was met in a forward pass in which its module ran."""
    name = str(target)
    if not runs:
        raise LayerError(
            f"target_layer={name!r} did not run in the forward pass: choose a layer that the "
            "model's forward calls (a container whose children are called one by one does not run "
            "itself), or pass forward= if another method computes the logits"
        )
    if target.call is None and runs > 1:
        calls = [str(replace(target, call=call)) for call in (0, -1)]
        raise LayerError(
            f"target_layer={name!r} ran {runs} times in one forward pass, so its map is "
            f"ambiguous; name one of its calls, {calls[0]!r} to {calls[1]!r}, or choose a layer "
            "that runs once, such as the block around it"
        )
    if target.call is not None and not -runs <= target.call < runs:
        raise LayerError(
            f"target_layer={name!r} asks for call {target.call}, but the module ran {runs} times "
            f"in one forward pass; choose 0 to {runs - 1}, or -1 for the last"
        )


def pointwise_end(tape: Tape, program: Program | None) -> int | None:
    """The last value that pointwise ops alone make of value 0, and that all later ones depend on.

    Args:
        tape: What was recorded from value 0 on.
        program: What of it leads to the output; None where recording stopped before.

    Returns:
        The value, or None where it is value 0 itself.
    """
    nodes = tape.nodes if program is None else program.nodes
    last = tape.read_later if program is None else {program.output}
    made = {0}
    for node in nodes:
        (index, *others) = node.outputs
        alone = made.issuperset(node.refs()) and is_pointwise(node.op) and not others
        if alone and index is not None and tape.shapes[index] == tape.shapes[0]:
            made.add(index)
    for end in sorted(made - {0}, reverse=True):
        before = {index for index in made if index < end}
        # A value that something else reads as well is not the only way on.
        is_only_way = not before & last and not any(
            before.intersection(node.refs())
            for node in nodes
            if not any(index in made and index <= end for index in node.defined())
        )
        if is_only_way and tape.dtypes[end].is_floating_point:
            return end
    return None


def made_of(start: Tensor, nodes: Sequence[Node], index: int) -> Tensor:
    """A value, computed from value 0 by the nodes that it needs."""
    values = {0: start}
    for node in pruned(list(nodes), index):
        values.update(zip(node.defined(), run_node(node, values.__getitem__), strict=True))
    return values[index]


def starting_at(program: Program, index: int) -> Program:
    """The part of a program that comes after a value, which becomes value 0.

    Args:
        program: The program.
        index: A value that everything later depends on through it alone.
    """

    def renumbered(old: int) -> Ref:
        return Ref(0 if old == index else old)

    nodes = [node for node in program.nodes if min(node.defined()) > index]
    return Program(
        tuple(
            replace(
                node,
                args=substitute(node.args, renumbered),
                kwargs=substitute(node.kwargs, renumbered),
            )
            for node in nodes
        ),
        0 if program.output == index else program.output,
        {**program.shapes, 0: program.shapes[index]},
        {**program.dtypes, 0: program.dtypes[index]},
    )
