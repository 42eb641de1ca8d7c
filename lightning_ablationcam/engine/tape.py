"""Write down the ATen ops that depend on one tensor, while the model runs as it always does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from lightning_ablationcam.engine.canonical import canonical, functional
from lightning_ablationcam.engine.program import (
    Node,
    Program,
    PropagationError,
    Ref,
    leaves,
    mapped_leaves,
    pruned,
)

_VALUE_READERS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the program of a tail; a mode to be entered when its first value exists.

    At an op that cannot be recorded faithfully, recording stops, the model runs on undisturbed and
    :meth:`program` raises the reason.

    Args:
        start: The tensor that the program starts from, value 0.
        put_in: Of one op, by its place among those recorded, the result that the model goes on
            with instead; what comes later is not recorded any more.

    Attributes:
        nodes: What was recorded.
        shapes: Of each value.
        dtypes: Of each value.
        read_later: The values that were read after recording had stopped.
    """

    def __init__(self, start: Tensor, put_in: tuple[int, Tensor] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._put_in = put_in
        self.nodes: list[Node] = []
        self.read_later: set[int] = set()
        self.shapes: dict[int, torch.Size] = {}
        self.dtypes: dict[int, torch.dtype] = {}
        self._values: Any = WeakTensorKeyDictionary()
        self._writes: dict[StorageWeakRef, int] = {}
        self._versions: list[tuple[Tensor, int]] = []
        self._refusal: PropagationError | None = None
        self._define(start)

    def program(self, output: Any) -> Program:
        """The recorded program.

        Args:
            output: What the model returned.

        Raises:
            PropagationError: If the tail could not be recorded faithfully.
        """
        if self._refusal is not None:
            raise self._refusal
        if not isinstance(output, Tensor):
            raise PropagationError(f"the model returned a {type(output).__name__}, not a tensor")
        if any(constant._version != version for constant, version in self._versions):
            raise PropagationError("a tensor that the tail had read was overwritten later")
        result = self._read(output)
        if not isinstance(result, Ref):
            raise PropagationError("the output does not depend on the target layer")
        nodes = pruned(self.nodes, result.index)
        return Program(nodes, result.index, self.shapes, self.dtypes)

    def refuse(self, refusal: PropagationError) -> None:
        """Stop recording, and keep the first reason."""
        self._refusal = self._refusal or refusal

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._refusal is not None:
            self._note_reads((args, kwargs))
            return func(*args, **kwargs)
        node = None
        try:
            node = self._prepare(func, args, kwargs)
        except PropagationError as refusal:
            refusal.op = func
            refusal.module = _running_module()
            self.refuse(refusal)
            self._note_reads((args, kwargs))
        result = func(*args, **kwargs)
        if node is not None:
            self._commit(func, node, args, result)
            if self._put_in is not None and len(self.nodes) > self._put_in[0]:
                result = _replaced(func, args, result, self._put_in[1])
                self.refuse(PropagationError("goes on with another value"))
        return result

    def _note_reads(self, arguments: Any) -> None:
        for leaf in leaves(arguments):
            known = self._values.get(leaf) if isinstance(leaf, Tensor) else None
            if known:
                self.read_later.add(known[0])

    def _prepare(
        self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, ...] | None:
        """Before the op runs: (op, args, kwargs, first only), or None if there is no node."""
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise PropagationError("draws random numbers")
        tensors = [leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        reads = [self._read(tensor) for tensor in tensors]
        if not any(isinstance(read, Ref) for read in reads):
            return None
        if _VALUE_READERS.intersection(func.tags) and not _picks_constantly(func, args, self._read):
            raise PropagationError("reads a value that depends on the target layer")
        returns = func._schema.returns
        if returns and all("Tensor" not in str(result.type) for result in returns):
            return None  # a question about shape, dtype or device
        if func.namespace != "aten":
            raise PropagationError("has no rule")
        op = func
        if func._schema.is_mutable:
            op = functional(func)
            _check_same_dtype(args[0], tensors)
        call = canonical(op, args, kwargs)
        target = args[0] if func._schema.is_mutable else None

        def kept(leaf: Any) -> Any:
            return self._keep(leaf, target) if isinstance(leaf, Tensor) else leaf

        return (
            call.op,
            mapped_leaves(kept, call.args),
            mapped_leaves(kept, call.kwargs),
            call.first_only,
        )

    def _commit(
        self, func: OpOverload, prepared: tuple[Any, ...], args: tuple[Any, ...], result: Any
    ) -> None:
        """After the op ran: append its node and number its results."""
        op, node_args, kwargs, first_only = prepared
        several = isinstance(result, (tuple, list))
        results: Sequence[Any] = result if several else (result,)
        if op is None:
            self._define(results[0], node_args[0].index)
            return
        if func._schema.is_mutable:
            storage = _storage(args[0])
            self._writes[storage] = self._writes.get(storage, 0) + 1
            results = (args[0],)
            several = False
        if first_only:
            results, several = results[:1], False
        outputs = tuple(self._define(r) if isinstance(r, Tensor) else None for r in results)
        self.nodes.append(Node(op, node_args, kwargs, outputs, several, _running_module()))

    def _define(self, tensor: Tensor, index: int | None = None) -> int:
        if index is None:
            index = len(self.shapes)
            self.shapes[index] = tensor.shape
            self.dtypes[index] = tensor.dtype
        self._values[tensor] = (index, self._writes_to(tensor))
        return index

    def _read(self, tensor: Tensor) -> Ref | Tensor:
        """A reference to the value of a dependent tensor; a constant tensor itself."""
        known = self._values.get(tensor)
        writes = self._writes_to(tensor)
        if writes != (known[1] if known else 0):
            raise PropagationError("reads memory that was written through another view")
        return Ref(known[0]) if known else tensor

    def _keep(self, tensor: Tensor, target: Tensor | None) -> Ref | Tensor:
        """What stands for a tensor in a node; a constant about to be written is copied."""
        read = self._read(tensor)
        if isinstance(read, Ref):
            return read
        if tensor is target:
            return tensor.clone()
        if not tensor.is_inference():
            self._versions.append((tensor, tensor._version))
        return tensor

    def _writes_to(self, tensor: Tensor) -> int:
        if not self._writes:
            return 0
        return self._writes.get(_storage(tensor), 0)


def _replaced(func: OpOverload, args: tuple[Any, ...], result: Any, value: Tensor) -> Any:
    """What an op returns instead of its result, or writes in its place."""
    if not isinstance(result, Tensor) or result.shape != value.shape:
        raise RuntimeError(f"{func} made another value than in the recorded pass")
    if func._schema.is_mutable:
        args[0].copy_(value)
        return result
    return value.clone()


def _picks_constantly(
    func: OpOverload, args: tuple[Any, ...], read: Callable[[Tensor], Ref | Tensor]
) -> bool:
    """Whether an op indexes by constants; its tag is for masks, whose values decide the shape."""
    if func is not torch.ops.aten.index.Tensor:
        return False
    return not any(isinstance(read(index), Ref) for index in args[1] if index is not None)


def _storage(tensor: Tensor) -> StorageWeakRef:
    """A key of a tensor's memory; other memory cannot get the same key while it is held."""
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


def _check_same_dtype(target: Tensor, tensors: list[Tensor]) -> None:
    floats = [tensor for tensor in tensors if tensor.ndim and tensor.is_floating_point()]
    if any(tensor.dtype != target.dtype for tensor in floats):
        raise PropagationError("writes in place into another dtype")


def _running_module() -> nn.Module | None:
    """The innermost module whose ``forward`` is running."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name == "forward":
            module = frame.f_locals.get("self")
            if isinstance(module, nn.Module):
                return module
        frame = frame.f_back
    return None
