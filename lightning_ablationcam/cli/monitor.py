"""The monitor's arguments, as options of a command."""

from __future__ import annotations

from typing import Any, get_args

from lightning_ablationcam.measures.registry import FORWARDS
from lightning_ablationcam.method.heads.meaning import AnyTask
from lightning_ablationcam.options import Engine
from lightning_ablationcam.run.history import SCALES

LEFT_OUT = {
    "forward": "a function; wrap the network in one whose forward is it",
    "reference": "a tensor",
    "embeddings": "a tensor",
    "alarms": "nothing runs that they could warn of",
    "every_n_validations": "every checkpoint gets its pass",
    "max_overhead": "there is no training to hold up",
    "on_error": "a checkpoint without a pass is named at the end",
}
"""Arguments of the monitor that are no options, and why."""


def add_monitor(parser: Any) -> None:
    """Have a parser take the monitor's arguments."""
    group = parser.add_argument_group("what is explained, and how (the monitor's arguments)")

    def add(name: str, help: str, **kind: Any) -> None:
        group.add_argument(f"--{name}", help=help, **kind)

    add(
        "target_layer",
        "the layer that is explained: a dotted name such as model.layer4 (or bn:activation, for "
        "what the pointwise operations after a layer make of it), or auto for the last spatial "
        "one; of several the first counts, and the tab shows the others beside it",
        nargs="+",
        default=["auto"],
        metavar="LAYER",
    )
    add(
        "classes",
        "the class that is explained of each image: label, predicted, or a number for all of them",
        type=int | str,
        default="label",
    )
    add(
        "also",
        "further classes that the tab can switch to: rival (the one with the highest score other "
        "than that explained), label, predicted, a number; or none",
        type=int | str,
        nargs="+",
        default=["rival"],
        metavar="CLASS",
    )
    add(
        "score",
        "what is explained of a class: its logit, its probability, or contrast, its logit minus "
        "its rival's (why this and not that)",
        choices=["logit", "probability", "contrast"],
        default="logit",
    )
    add(
        "ablation",
        "what takes a channel's place: zero, mean (its mean over the images), noise (of its mean "
        "and deviation), or a number that it is scaled by",
        type=float | str,
        default="zero",
    )
    add(
        "layout",
        "where channels are in the layer's output: auto, NCHW, NHWC, tokens, or spelled out as in "
        "tokens:1+14x14",
        default="auto",
    )
    add(
        "task",
        "what the output means; auto goes by the network, its output and the labels",
        choices=list(_words(AnyTask)),
        default="auto",
    )
    add(
        "output",
        "which part of what the network returns are the logits, by name or place (default: the one "
        "called logits or the like)",
        type=int | str | None,
        default=None,
    )
    add(
        "tolerance",
        "what a map may be off by anywhere, as a share of its maximum, such as 0.02; faster at "
        "layers far from the output (default: maps are exact)",
        type=float | None,
        default=None,
    )
    add("engine", "how drops are computed", choices=list(get_args(Engine)), default="auto")
    add(
        "memory_budget",
        "bytes that one batch may use (default: what the device affords)",
        type=int | None,
        default=None,
    )
    add("signed", "show what speaks against the class as well", action="store_true")
    add(
        "measures",
        "measures of how faithful maps are, which cost forward passes: " + ", ".join(FORWARDS),
        nargs="+",
        default=[],
        metavar="MEASURE",
    )
    add(
        "measure_every_n_passes",
        "take them in the first pass, in every so many after it, and in the last",
        type=int,
        default=1,
    )
    add(
        "scale",
        "what the end of the colour scale is: each map's maximum, or the balance of the probe's, "
        "or of the run's, strongest map",
        choices=list(SCALES),
        default="map",
    )
    add("tag", "the first part of all tags", default="ablation_cam")
    add("no_pictures", "write for the tab only, not for TensorBoard's Images", action="store_true")
    for name, what in (("mean", "subtracted"), ("std", "divided by")):
        add(
            name,
            f"what inputs were normalised with ({what}), for display: one number, or one for each "
            "channel",
            type=float,
            nargs="+",
            default=None,
        )
    add(
        "class_names",
        "the name of each class, for captions",
        nargs="+",
        default=None,
        metavar="NAME",
    )


def _words(kind: Any) -> tuple[str, ...]:
    """The words of a Literal, or of several in one."""
    parts = get_args(kind)
    return tuple(
        word for part in parts for word in ([part] if isinstance(part, str) else _words(part))
    )


def monitor_arguments(given: Any) -> dict[str, Any]:
    """What the monitor is made with, from what :func:`add_monitor` had a parser take.

    Args:
        given: The parsed arguments.
    """
    layers = given.target_layer
    also = [] if given.also == ["none"] else given.also
    simple = (
        "classes score ablation layout task output tolerance engine memory_budget signed measures "
        "measure_every_n_passes scale tag class_names"
    )
    return {
        **{name: given[name] for name in simple.split()},
        **{name: _one_or_each(given[name]) for name in ("mean", "std")},
        "target_layer": layers[0] if len(layers) == 1 else layers,
        "also": also,
        "pictures": not given.no_pictures,
    }


def _one_or_each(values: list[float] | None) -> float | list[float] | None:
    """One number for all channels, or one for each."""
    return values[0] if values is not None and len(values) == 1 else values
