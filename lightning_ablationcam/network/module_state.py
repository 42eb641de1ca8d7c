"""Keep what a forward in evaluation mode may write to in modules, and restore it.

Evaluation mode does not stop a forward from writing: quantisation observers, running averages,
normalised prototypes, counters, caches and stored features are updated, here from ablated
activations. So this module finds out what a forward writes to:

* The first pass over a model keeps everything, compares afterwards, and learns by name which of the
  large things (parameters, what torch's own layers hold, tensors in containers) were written.
* Later passes copy only those. Of the other large things they check the version, which increases
  with each write. One that was written after all is reported, and kept from then on.
* Attributes, the contents of containers, and small tensors of the user's own modules are cheap
  enough to be kept every time.
"""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from functools import lru_cache
from operator import is_
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.weak import WeakIdKeyDictionary

from lightning_ablationcam.network.memory import is_out_of_memory

SMALL = 2**20
"""Bytes of a tensor of the user's own module up to which it is copied in every pass."""

MAX_ATTRIBUTES = 2**30
"""Bytes that the first pass copies of tensors that are neither parameters nor buffers, such as a
data set kept in a list. Beyond that, only versions are checked from the first pass on."""

Place: TypeAlias = tuple[str, ...]
"""Where something is: a module's dotted name, an attribute's name, and the part of it."""

Tell: TypeAlias = Callable[[str], None]

_INSIDE = "[...]"
_GRADIENT = ".grad"

# By identity: a module's own == may say anything (a metric's returns another metric).
_written_places: MutableMapping[nn.Module, dict[Place, bool]] = WeakIdKeyDictionary()


@contextmanager
def kept_state(model: nn.Module, tell: Tell) -> Iterator[None]:
    """Restore what every module held, whatever its forward wrote.

    This covers the model's modules and the modules in their containers: all their attributes,
    parameters and gradients, buffers, tensors, arrays, random number generators and the containers
    of the standard library, however deep. It does not cover what is elsewhere: closures, globals,
    class attributes, objects that are not modules. It does not notice writes past autograd (through
    ``tensor.data``) to a parameter or a large tensor that begin only after the first pass.

    Args:
        model: The model.
        tell: Called with a sentence on each thing that could not be restored. Everything else is
            restored nevertheless.

    Example:
        >>> class Remembers(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.calls, self.features = 0, []
        ...
        ...     def forward(self, x):
        ...         self.calls += 1
        ...         self.features.append(x)
        >>> model = Remembers()
        >>> with kept_state(model, tell=print):
        ...     model(torch.ones(1))
        >>> model.calls, model.features
        (0, [])
    """
    written = _written_places.setdefault(model, {})
    # Tensors made in inference mode can only be written to in that mode, others in any mode.
    with torch.inference_mode():
        kept = _Kept(model, written)
    completed = False
    try:
        yield
        completed = True
    finally:
        with torch.inference_mode():
            problems = kept.give_back(learn_unwritten=completed)
        for problem in problems:
            tell(problem)


def forget_unwritten(model: nn.Module) -> None:
    """Let the next pass keep everything, as a first one does.

    For a pass that may write to other things than those before: one by another forward, or after
    training that no validation has followed. A forward that keeps prototypes or weights in bounds
    writes nothing new where a validation has just done so, and does after a training step.

    Args:
        model: The model. What its passes have written to stays known.
    """
    written = _written_places.get(model, {})
    for place in [place for place, is_written in written.items() if not is_written]:
        del written[place]


class _Copied(NamedTuple):
    """A tensor whose values were copied."""

    place: Place
    tensor: Tensor
    before: Tensor  # The same memory, in the shape and the dtype that it had.
    values: Tensor
    version: object


class _Kept:
    """What a model's modules held at one moment."""

    def __init__(self, model: nn.Module, written: dict[Place, bool]) -> None:
        self._written = written
        self._contents: list[tuple[Place, Any, Any]] = []
        self._empty: list[Any] = []
        self._copied: list[_Copied] = []
        self._watched: list[tuple[Place, Tensor, object]] = []
        self._flags: list[tuple[Place, Tensor, bool, Tensor | None]] = []
        self._rewinds: list[tuple[Place, Callable[[], object]]] = []
        self._problems: list[str] = []
        self._seen: set[int] = set()
        self._modules: list[tuple[str, nn.Module]] = []
        self._is_own = False
        self._left = MAX_ATTRIBUTES
        self._add_module("", model)
        for name, module in self._modules:  # The list grows meanwhile.
            self._look_through_module(name, module)

    def _add_module(self, name: str, module: nn.Module) -> None:
        if id(module) not in self._seen:
            self._seen.add(id(module))
            self._modules.append((name, module))

    def _look_through_module(self, name: str, module: nn.Module) -> None:
        if isinstance(module, torch.jit.ScriptModule):
            # What it holds is not among its attributes.
            for key, tensor in (*module.named_parameters(), *module.named_buffers()):
                self._keep_tensor((name, key), tensor)
            return
        attributes = vars(module)
        self._contents.append(((name,), attributes, attributes.copy()))
        self._is_own = not type(module).__module__.startswith("torch.nn.modules.")
        for attribute, value in attributes.items():
            kind = type(value)
            # First what every module has: a dozen hook dicts, and numbers.
            if kind is OrderedDict and not value:
                self._empty.append(value)
            elif kind not in _PLAIN:
                keep = _keeper(kind)
                if keep is None:
                    continue
                if attribute in _REGISTRIES:
                    self._keep_registry(name, attribute, value)
                else:
                    keep(self, (name, attribute), value)

    def _keep_registry(self, name: str, attribute: str, registry: dict[str, Any]) -> None:
        """Parameters, buffers and modules, named as they are from outside."""
        if not registry:
            self._empty.append(registry)
            return
        self._contents.append(((name, attribute), registry, registry.copy()))
        for key, value in registry.items():
            if value is None:
                continue
            if attribute == "_modules":
                self._add_module(f"{name}.{key}" if name else key, value)
            else:
                self._keep_tensor((name, key), value, is_registered=True)

    # ---- one thing of a kind -----------------------------------------------------------------

    def _keep_submodule(self, place: Place, module: nn.Module) -> None:
        self._add_module(_spelled(place), module)

    def _keep_container(self, place: Place, container: Any) -> None:
        if not container:
            self._empty.append(container)
        elif id(container) not in self._seen:
            self._seen.add(id(container))
            self._contents.append((place, container, _contents_of(container)))
            if not isinstance(container, bytearray):
                self._look_through(place, container)

    def _look_through(self, place: Place, entries: Any) -> None:
        """Keep what is inside a container."""
        inside = None
        for entry in entries.values() if isinstance(entries, dict) else entries:
            keep = _keeper(type(entry))
            if keep is not None:
                inside = inside or (*place, _INSIDE)
                keep(self, inside, entry)

    def _keep_array(self, place: Place, array: np.ndarray) -> None:
        if array.flags.writeable:
            values = array.copy()
            self._rewinds.append((place, lambda: np.copyto(array, values)))
        if array.dtype.hasobject and array.dtype.names is None:
            self._look_through(place, array.flat)

    def _keep_generator(self, place: Place, generator: Any) -> None:
        self._rewinds.append((place, _rewind(generator)))

    def _keep_tensor(self, place: Place, tensor: Tensor, is_registered: bool = False) -> None:
        if id(tensor) in self._seen or is_lazy(tensor):
            return
        self._seen.add(id(tensor))
        # The type first: nn.Parameter's own isinstance check is slow, most of all for a no.
        kind = type(tensor)
        if kind is nn.Parameter or (kind is not Tensor and isinstance(tensor, nn.Parameter)):
            gradient = tensor.grad
            self._flags.append((place, tensor, tensor.requires_grad, gradient))
            if gradient is not None:
                self._keep_tensor((*place, _GRADIENT), gradient, is_registered)
        if self._is_copied(place, tensor, is_registered):
            try:
                copied = _Copied(place, tensor, tensor.data, _copy(tensor), _version(tensor))
                self._copied.append(copied)
            except (RuntimeError, NotImplementedError, TypeError) as error:
                # A kind of tensor that cannot be copied.
                self._problems.append(_not_given_back(place, error))
        else:
            self._watched.append((place, tensor, _version(tensor)))

    def _is_copied(self, place: Place, tensor: Tensor, is_registered: bool) -> bool:
        written = self._written.get(place)
        if written is None and not is_registered:
            self._left -= _nbytes(tensor)
            return self._left >= 0
        # What requires a gradient is a parameter or part of a graph, and hardly written to.
        is_cheap = self._is_own and len(place) == 2 and _nbytes(tensor) <= SMALL
        return written is not False or (is_cheap and not tensor.requires_grad)

    # ---- afterwards --------------------------------------------------------------------------

    def give_back(self, *, learn_unwritten: bool) -> list[str]:
        """Restore everything.

        Args:
            learn_unwritten: Whether to stop copying what was not written; not after a pass that
                was cut short.

        Returns:
            A sentence on each thing that could not be restored.
        """
        for place, tensor, version in self._watched:
            if _version(tensor) != version:
                self._written[place] = True
                self._problems.append(
                    f"the forward wrote to {_spelled(place)}, but did not in earlier passes; it "
                    "could not be restored this time, and will be from now on"
                )
        self._learn(learn_unwritten)
        for copied in self._copied:
            self._attempt(copied.place, _give_tensor_back, copied)
        for place, rewind in self._rewinds:
            self._attempt(place, rewind)
        for place, tensor, requires_grad, gradient in self._flags:
            if tensor.requires_grad != requires_grad or tensor.grad is not gradient:
                self._attempt(place, _give_flags_back, tensor, requires_grad, gradient)
        for container in filter(None, self._empty):
            _base(container).clear(container)
        for place, container, contents in self._contents:
            if not _are_same(container, contents):
                self._attempt(place, _give_contents_back, container, contents)
        return self._problems

    def _learn(self, learn_unwritten: bool) -> None:
        new = [copied for copied in self._copied if copied.place not in self._written]
        found = {copied.place for copied in new if _is_written(copied)}
        if learn_unwritten:
            self._written.update({copied.place: False for copied in new})
        # Last: several tensors of one container share a place.
        self._written.update(dict.fromkeys(found, True))

    def _attempt(self, place: Place, action: Callable[..., object], *args: Any) -> None:
        # If one thing cannot be restored, the others still are.
        try:
            action(*args)
        except Exception as error:
            self._problems.append(_not_given_back(place, error))


_ABSENT = object()
_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)})
_REGISTRIES = frozenset({"_parameters", "_buffers", "_modules"})
_CONTAINERS = (list, dict, set, deque, bytearray)
_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)

_KEEPERS: tuple[tuple[tuple[type, ...], Callable[[_Kept, Place, Any], None]], ...] = (
    ((Tensor,), _Kept._keep_tensor),
    ((nn.Module,), _Kept._keep_submodule),
    (_CONTAINERS, _Kept._keep_container),
    ((tuple,), _Kept._look_through),
    ((np.ndarray,), _Kept._keep_array),
    (_GENERATORS, _Kept._keep_generator),
)


def _find_keeper(kind: type) -> Callable[[_Kept, Place, Any], None] | None:
    """How things of a type are kept; None for a type that cannot be written to."""
    return next((keep for kinds, keep in _KEEPERS if issubclass(kind, kinds)), None)


_keeper: Callable[[Any], Callable[[_Kept, Place, Any], None] | None]
_keeper = lru_cache(maxsize=1024)(_find_keeper)


def _copy(tensor: Tensor) -> Tensor:
    try:
        return tensor.detach().clone()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error) or tensor.device.type == "cpu":
            raise
        return tensor.detach().cpu()  # The model fills its device.


def _nbytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()  # A sparse tensor has no nbytes.


def _version(tensor: Tensor) -> tuple[object, ...]:
    """A value that changes when a tensor is written to or gets other memory."""
    # A tensor made in inference mode counts no versions.
    count = None if tensor.is_inference() else tensor._version
    return count, _memory(tensor)


def _memory(tensor: Tensor) -> tuple[object, ...]:
    try:
        address = tensor.data_ptr()
    except RuntimeError:  # It has no memory of its own.
        address = 0
    return address, tensor.shape, tensor.dtype


def _is_written(copied: _Copied) -> bool:
    tensor, values = copied.tensor, copied.values
    # Also where the values are what they were: prototypes that the validation before the pass has
    # normalised are hardly changed by normalising them again, but will be another time.
    if _version(tensor) != copied.version:
        return True
    try:
        return not torch.equal(tensor.detach().to(values.device), values)
    except (RuntimeError, NotImplementedError):  # Cannot be compared, as on the meta device.
        return True


def _give_tensor_back(copied: _Copied) -> None:
    tensor, before = copied.tensor, copied.before
    if tensor.layout is not torch.strided:
        # A copy into a sparse tensor gives it other memory, which what shares it does not see. The
        # values are made anew, since what is made in inference mode cannot be trained.
        with torch.inference_mode(False):
            tensor.data = copied.values.clone()
        return
    if _memory(tensor) != _memory(before):
        tensor.data = before
    try:
        # Without checking whether it was written, since comparing would wait for the device; by its
        # data, since autograd need not know when values become what they were.
        before.copy_(copied.values)
    except RuntimeError:
        # Entries that share memory, as in an expanded tensor, cannot be written to.
        if not torch.equal(before, copied.values):
            raise


def _give_flags_back(tensor: Tensor, requires_grad: bool, gradient: Tensor | None) -> None:
    tensor.requires_grad_(requires_grad)
    tensor.grad = gradient


def _contents_of(container: Any) -> Any:
    """A dict of a dict's entries, bytes of a bytearray, a list of the entries of anything else."""
    if type(container) is dict:
        return container.copy()
    if isinstance(container, dict):
        return dict(_base(container).items(container))
    return bytes(container) if isinstance(container, bytearray) else list(container)


def _give_contents_back(container: Any, contents: Any) -> None:
    # Not with its own methods: Counter.update counts, and a user's class may do anything.
    kind = _base(container)
    if isinstance(container, dict):
        # Entry by entry, since attributes may be read meanwhile.
        for key in [key for key in container if key not in contents]:
            kind.__delitem__(container, key)
        for key, value in contents.items():
            if kind.get(container, key, _ABSENT) is not value:
                kind.__setitem__(container, key, value)
        if _are_same(container, contents):
            return  # Also in the same order.
    kind.clear(container)
    (kind.update if issubclass(kind, (dict, set)) else kind.extend)(container, contents)


def _base(container: Any) -> Any:
    return next(kind for kind in (OrderedDict, *_CONTAINERS) if isinstance(container, kind))


def _are_same(container: Any, contents: Any) -> bool:
    """Whether both hold the same objects in the same order.

    Containers that did not change are left alone: compiled code has guards on such dicts, and must
    not be compiled again.
    """
    if len(container) != len(contents):
        return False
    if isinstance(container, bytearray):
        return bool(container == contents)
    if not all(map(is_, container, contents)):
        return False
    return not isinstance(container, dict) or all(map(is_, container.values(), contents.values()))


def _rewind(generator: Any) -> Callable[[], object]:
    """A function that restores a generator's present state."""
    if isinstance(generator, np.random.Generator):
        bits, bit_state = generator.bit_generator, generator.bit_generator.state
        return lambda: setattr(bits, "state", bit_state)
    if isinstance(generator, random.Random):
        python_state = generator.getstate()
        return lambda: generator.setstate(python_state)
    state = generator.get_state()
    return lambda: generator.set_state(state)


def _not_given_back(place: Place, error: Exception) -> str:
    return (
        f"{_spelled(place)} could not be restored to what it was before the pass "
        f"({type(error).__name__}: {error})"
    )


def _spelled(place: Place) -> str:
    """A place as the user would write it."""
    dotted = ".".join(part for part in place if part and part not in (_INSIDE, _GRADIENT))
    return (dotted or "the model") + "".join(p for p in place if p in (_INSIDE, _GRADIENT))
