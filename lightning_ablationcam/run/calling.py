"""How a LightningModule is called in a pass, by what is conventional, where the user does not say.

The first of these that applies:

1. its ``forward``, with the probes' inputs: by name where a dict has the names of its parameters,
   and with the whole batch where its parameter is called ``batch``; where it does not take them,
   with the images alone, and then with the whole batch;
2. its ``predict_step``, where it has no ``forward`` but overrides that, with the whole batch;
3. the module that it holds as ``model``, ``net``, ``network`` or ``classifier``;
4. where embeddings are wanted, that which it holds as ``encoder`` or ``backbone``, or its method
   ``encode_image``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from lightning_ablationcam.engine.recorder import Forward
from lightning_ablationcam.network.calling import call, parameters_of
from lightning_ablationcam.network.inputs import Inputs
from lightning_ablationcam.probes.batches import LABEL_KEYS
from lightning_ablationcam.probes.probe_set import ProbeSet

INNER = ("model", "net", "network", "classifier")
"""Names of the attribute that holds a network."""

ENCODING = ("encoder", "backbone")
"""Those of one that returns features or embeddings, and no classes."""

WHOLE = ("batch",)
"""Names of a parameter of ``forward`` that takes the whole batch."""


@dataclass(frozen=True, eq=False)
class Convention:
    """One way to call a module.

    Attributes:
        forward: ``(module, inputs) -> output``.
        fed: Takes what it is fed from a probe set.
        says: What is called, for the log, where it is not plainly the module.
    """

    forward: Forward
    fed: Callable[[ProbeSet], Inputs]
    says: str | None = None


def conventions(
    module: nn.Module, probes: ProbeSet, forward: Forward | None, *, embeds: bool = False
) -> list[Convention]:
    """The ways to call a module, the likeliest first.

    Args:
        module: A LightningModule, or any other.
        probes: What it is to be called with.
        forward: What the user says, or None.
        embeds: Whether embeddings are wanted; what only encodes has no classes.

    Raises:
        ValueError: If there is no way; the message says what to pass.

    Example:
        >>> import torch
        >>> found = conventions(nn.Linear(2, 1), ProbeSet(torch.rand(1, 3, 4, 4)), None)
        >>> len(found), found[0].says
        (1, None)
    """
    if forward is not None:
        said = [Convention(forward, inputs_of)]
        if not isinstance(probes.inputs, Tensor):
            said.append(Convention(forward, images_of, "forward= with the images alone"))
        return said
    if _has_forward(module):
        return _of_forward(module, probes)
    found = _without_forward(module, probes, embeds)
    if not found:
        raise ValueError(_nothing_to_call(module))
    return found


def check_callable_module(module: nn.Module, *, embeds: bool) -> None:
    """Raise a ``ValueError`` where there is nothing to call by convention, whatever the probes."""
    encodes = embeds and (_inner(module, ENCODING) or _encodes(module))
    if not (_has_forward(module) or _predicts(module) or _inner(module, INNER) or encodes):
        raise ValueError(_nothing_to_call(module))


def _nothing_to_call(module: nn.Module) -> str:
    text = (
        f"{type(module).__name__} defines no forward, so the probes cannot be run; define it, or "
        "pass forward=lambda module, inputs: ... that returns the logits"
    )
    encoder = "encode_image" if _encodes(module) else _inner(module, ENCODING)
    return text + (f", or embeddings= for what its {encoder} returns" if encoder else "")


def _has_forward(module: nn.Module) -> bool:
    inherited = ("LightningModule.forward", "_forward_unimplemented")
    return type(module).forward.__qualname__ not in inherited or "forward" in vars(module)


def _predicts(module: nn.Module) -> bool:
    step = getattr(type(module), "predict_step", None)
    return step is not None and not step.__qualname__.startswith("LightningModule.")


def _inner(module: nn.Module, names: Sequence[str]) -> str | None:
    """The first of some names of an attribute that is a network."""
    held = (name for name in names if isinstance(getattr(module, name, None), nn.Module))
    return next(held, None)


def _encodes(module: nn.Module) -> bool:
    return callable(getattr(module, "encode_image", None))


def inputs_of(probes: ProbeSet) -> Inputs:
    """The probes' inputs."""
    return probes.inputs


def images_of(probes: ProbeSet) -> Tensor:
    """Of several inputs the one that heatmaps lie over."""
    return probes.images


def batch_of(probes: ProbeSet) -> Inputs:
    """The batch that the probes came in."""
    return probes.batch


def _of_forward(module: nn.Module, probes: ProbeSet) -> list[Convention]:
    plainly = Convention(call, inputs_of)
    if probes.batch is None:
        return [plainly]
    alone = Convention(call, images_of, "forward with the images alone")
    whole = Convention(_with_batch, batch_of, "forward with the whole batch")
    taken = parameters_of(module)
    names = {each.name for each in taken}
    if names.intersection(WHOLE):
        return [whole, plainly, alone]
    if isinstance(probes.batch, Mapping):
        by_name = Convention(call, _without_labels, "forward by the names of the batch")
        first = taken[0].name if taken else ""
        unlabelled = set(_without_labels(probes))
        # As Hugging Face's models, whose first parameter need not be the picture.
        if unlabelled <= names and first not in unlabelled:
            return [by_name, plainly, alone, whole]
        if any(each.kind is each.VAR_KEYWORD for each in taken) and len(taken) == 1:
            return [by_name, whole]
    if isinstance(probes.inputs, Tensor):
        return [plainly, whole]
    if isinstance(probes.inputs, Mapping) and names.intersection(probes.inputs):
        some = Convention(call, partial(_of_names, names=names), "forward by the names it takes")
        return [plainly, some, alone, whole]
    return [plainly, alone, whole]


def _without_forward(module: nn.Module, probes: ProbeSet, embeds: bool) -> list[Convention]:
    found = []
    if _predicts(module) and probes.batch is not None:
        found.append(Convention(_predict, batch_of, "predict_step"))
    name = _inner(module, (*INNER, *ENCODING) if embeds else INNER)
    if name is not None:
        found.append(Convention(partial(_call_inner, name=name), inputs_of, name))
    if embeds and _encodes(module):
        found.append(Convention(_encode, inputs_of, "encode_image"))
    return found


def _of_names(probes: ProbeSet, *, names: set[str]) -> dict[str, Any]:
    return {key: value for key, value in probes.inputs.items() if key in names}


def _without_labels(probes: ProbeSet) -> dict[str, Any]:
    return {key: value for key, value in probes.batch.items() if key not in LABEL_KEYS}


def _with_batch(module: nn.Module, batch: Inputs) -> Any:
    return module(batch)


def _predict(module: Any, batch: Inputs) -> Any:
    return module.predict_step(batch, 0)


def _encode(module: Any, images: Inputs) -> Any:
    return module.encode_image(images)


def _call_inner(module: nn.Module, inputs: Inputs, *, name: str) -> Any:
    return call(getattr(module, name), inputs)
