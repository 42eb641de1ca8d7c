"""One spelling for each operation: ATen, its backends and in-place forms have several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch._ops import OpOverload

from lightning_ablationcam.engine.program import PropagationError

aten = torch.ops.aten


@dataclass(frozen=True)
class Call:
    """An op with its arguments.

    Attributes:
        op: The op; None where the first argument is handed on unchanged.
        args: Positional arguments.
        kwargs: Keyword arguments.
        first_only: Whether it computes only the first of the results that the original returned.
    """

    op: OpOverload | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    first_only: bool = False


def canonical(op: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """The functional, backend-independent form of a call.

    Args:
        op: The op as it was dispatched, not mutating.
        args: Its positional arguments, actual tensors.
        kwargs: Its keyword arguments.

    Returns:
        An equivalent call.
    """
    rewrite = _REWRITES.get(op)
    return rewrite(op, args, kwargs) if rewrite else Call(op, args, kwargs)


def functional(op: OpOverload) -> OpOverload:
    """The op that returns what an in-place op writes.

    Raises:
        PropagationError: If there is none, or the op writes to an ``out=`` argument.
    """
    name = op._schema.name.split("::")[-1]
    if any(argument.is_out for argument in op._schema.arguments):
        raise PropagationError("writes its result into an existing tensor (out=)", op)
    written = [
        arg.alias_info is not None and arg.alias_info.is_write for arg in op._schema.arguments
    ]
    simple = written.index(True) == 0 and sum(written) == 1 if any(written) else False
    in_place = simple and name.endswith("_") and str(op._schema.arguments[0].type) == "Tensor"
    packet = getattr(aten, name[:-1], None) if in_place else None
    found = getattr(packet, op._overloadname, None) if packet is not None else None
    if not isinstance(found, OpOverload):
        raise PropagationError("writes in place and has no functional form", op)
    return found


def _reshape(_op: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    # A view needs the strides of the recorded tensor; the copies of a counterfactual have others.
    return Call(aten.reshape.default, args, kwargs)


def _resize_one(op: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    # It only adds or removes dimensions of size 1: a reshape.
    return Call(aten.reshape.default, (args[0], list(op(*args, **kwargs).shape)), {})


def _identity(op: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    return Call(None, args, {})


def _to_copy(op: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    tensor = args[0]
    dtype, device = kwargs.get("dtype"), kwargs.get("device")
    same_device = device is None or torch.device(device) == tensor.device
    if same_device and dtype in (None, tensor.dtype):
        return Call(None, args, {})
    return Call(op, args, {key: kwargs[key] for key in ("dtype", "device") if kwargs.get(key)})


def _restrided(op: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    # Global average pooling ends in one that only changes the strides of dimensions of size 1.
    tensor, size, stride = args[:3]
    offset = args[3] if len(args) > 3 else kwargs.get("storage_offset")
    same = [a == b for n, a, b in zip(tensor.shape, tensor.stride(), stride, strict=False) if n > 1]
    if list(tensor.shape) == list(size) and all(same) and offset in (None, tensor.storage_offset()):
        return Call(None, args, {})
    raise PropagationError("reads memory by strides", op)


def _batch_norm(op: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """In evaluation mode a batch norm is one multiply-add for each channel."""
    named = _named(op, args, kwargs)
    tensor = named["input"]
    mean: Any = named.get("running_mean")
    variance: Any = named.get("running_var")
    if named.get("training", named.get("train", False)):
        if mean is not None:
            raise PropagationError("updates running statistics", op)
        return Call(op, args, kwargs)
    epsilon: Any = named.get("eps", named.get("epsilon"))
    scale = torch.rsqrt(variance + epsilon)
    if named.get("weight") is not None:
        scale = scale * named["weight"]
    shift = -mean * scale
    if named.get("bias") is not None:
        shift = shift + named["bias"]
    shape = [-1 if dim == 1 else 1 for dim in range(tensor.ndim)]
    scale, shift = (part.to(tensor.dtype).view(shape) for part in (scale, shift))
    return Call(aten.addcmul.default, (shift, tensor, scale), {}, first_only=True)


def _named(op: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    names = [argument.name for argument in op._schema.arguments]
    return {**dict(zip(names, args, strict=False)), **kwargs}


Rewrite = Callable[[OpOverload, tuple[Any, ...], dict[str, Any]], Call]


def _rewrites() -> dict[OpOverload, Rewrite]:
    families: list[tuple[Rewrite, list[OpOverload]]] = [
        (_reshape, [aten.view.default, aten._unsafe_view.default, aten._reshape_alias.default]),
        (
            _resize_one,
            [
                aten.unsqueeze.default,
                aten.squeeze.default,
                aten.squeeze.dim,
                aten.squeeze.dims,
            ],
        ),
        (
            _identity,
            [
                aten.clone.default,
                aten.alias.default,
                aten.detach.default,
                aten.contiguous.default,
                aten.lift_fresh.default,
            ],
        ),
        (_to_copy, [aten._to_copy.default]),
        (_restrided, [aten.as_strided.default]),
        (
            _batch_norm,
            [
                aten.native_batch_norm.default,
                aten._native_batch_norm_legit.default,
                aten._native_batch_norm_legit.no_stats,
                aten._native_batch_norm_legit_no_training.default,
                aten._batch_norm_no_update.default,
                aten.cudnn_batch_norm.default,
                aten.miopen_batch_norm.default,
            ],
        ),
    ]
    return {op: rewrite for rewrite, ops in families for op in ops}


_REWRITES = _rewrites()
