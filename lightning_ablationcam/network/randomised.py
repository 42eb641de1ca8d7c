"""Random parameters in the user's model, for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lightning_ablationcam.arguments import is_dense


@dataclass(frozen=True, eq=False)
class Unit:
    """A module with parameters of its own that a forward uses.

    Attributes:
        name: Its dotted name; empty for the model itself.
        module: The module.
        parameters: Its own parameters, by name; one that is shared belongs to the module that uses
            it last.
        first: At which of all operations one of them is used first.
    """

    name: str
    module: nn.Module
    parameters: Mapping[str, nn.Parameter]
    first: int

    def __str__(self) -> str:
        """The module's name; its own parameters' where modules inside have others, which stay out.

        Example:
            >>> attention = nn.MultiheadAttention(2, 1)
            >>> str(Unit("attention", attention, {"in_proj_weight": attention.in_proj_weight}, 0))
            'attention.in_proj_weight'
        """
        inside = (each for child in self.module.children() for each in child.parameters())
        if next(inside, None) is None:
            return self.name or type(self.module).__name__
        return f"{self.name}.{'+'.join(self.parameters)}".lstrip(".")


@dataclass(frozen=True, eq=False)
class Course:
    """What a forward uses of a model, and when.

    Attributes:
        units: The modules whose own parameters it uses, the one nearest to the output first: in the
            reverse order in which they are last used, whatever the order in which they were
            registered, and also where a module is not called but its parameters are.
        norms: The norms with running statistics, and where these are used last: batch norms, and
            what has their buffers, such as frozen ones.
    """

    units: Sequence[Unit]
    norms: Sequence[tuple[nn.Module, int]]

    def norms_after(self, units: Sequence[Unit]) -> list[nn.Module]:
        """The norms that run after the first of some modules."""
        start = min(unit.first for unit in units)
        return [norm for norm, last in self.norms if last >= start]


def course_of(model: nn.Module, forward: Callable[[], object]) -> Course:
    """Find out what a forward uses of a model.

    Args:
        model: The model.
        forward: Runs it, once.

    Raises:
        TypeError: If a parameter is of a kind that cannot be replaced, such as one that is spread
            over several processes.

    Example:
        >>> model = nn.ModuleDict({"head": nn.Linear(2, 3), "stem": nn.Linear(4, 2)})
        >>> run = lambda: model["head"](model["stem"](torch.ones(1, 4)))
        >>> [unit.name for unit in course_of(model, run).units]
        ['head', 'stem']
    """
    for name, parameter in model.named_parameters():
        if not is_lazy(parameter):  # Those are refused where a forward reaches them.
            _check_replaceable(name, parameter)
    uses = _Uses(_tensors_of(model))
    with uses:
        forward()
    units, taken = [], set()
    used = ((name, module, _used(module, uses)) for name, module in model.named_modules())
    for name, module, own in sorted(used, key=lambda each: uses.lasts(each[2]), reverse=True):
        mine = {key: parameter for key, parameter in own.items() if id(parameter) not in taken}
        if mine:
            taken |= set(map(id, mine.values()))
            first = min(uses.first[id(parameter)] for parameter in mine.values())
            units.append(Unit(name, module, mine, first))
    units.sort(key=lambda unit: uses.lasts(unit.parameters), reverse=True)
    norms = [
        (module, uses.last[id(module._buffers["running_mean"])])
        for module in model.modules()
        if _has_statistics(module) and id(module._buffers["running_mean"]) in uses.last
    ]
    return Course(units, norms)


def _has_statistics(module: nn.Module) -> bool:
    """Whether a module has what a batch norm normalises by; frozen ones are of many classes."""
    found = [module._buffers.get(name) for name in ("running_mean", "running_var")]
    return all(isinstance(each, Tensor) and not is_lazy(each) for each in found)


def _used(module: nn.Module, uses: _Uses) -> dict[str, nn.Parameter]:
    """A module's own parameters of floats that a forward used."""
    own = module._parameters.items()
    return {
        key: parameter
        for key, parameter in own
        if parameter is not None and parameter.is_floating_point() and id(parameter) in uses.last
    }


def _check_replaceable(name: str, parameter: nn.Parameter) -> None:
    if type(parameter.data) is not Tensor or not is_dense(parameter):
        raise TypeError(
            f"model has a parameter {name!r} that is a {type(parameter.data).__name__} "
            f"({parameter.layout} on {parameter.device}); expected ordinary tensors, which random "
            "ones can take the place of"
        )


def _tensors_of(model: nn.Module) -> list[Tensor]:
    tensors = (*model.parameters(), *model.buffers())
    return [tensor for tensor in tensors if not is_lazy(tensor)]


class _Uses(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes at which operations tensors are used."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._watched = {id(tensor) for tensor in tensors}
        self._done = 0
        self.first: dict[int, int] = {}
        self.last: dict[int, int] = {}

    def lasts(self, parameters: Mapping[str, Tensor]) -> list[int]:
        """Where some parameters are used last, the last first.

        Of two modules that share one, what each has for itself says which of them runs later.
        """
        return sorted((self.last[id(parameter)] for parameter in parameters.values()), reverse=True)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for value in tree_leaves((args, kwargs)):
            if id(value) in self._watched:
                self.first.setdefault(id(value), self._done)
                self.last[id(value)] = self._done
        self._done += 1
        return func(*args, **kwargs)


@contextmanager
def replaceable(model: nn.Module) -> Iterator[None]:
    """Give the model's parameters and buffers their own memory back at the end.

    Inside, they may be given other memory through ``tensor.data``. So they stay the objects that
    optimizers hold, this alone leaves their versions, and nothing is written to what they held.
    Parameters have no gradients inside, so that those of outside are not added to.
    """
    held = [(tensor, tensor.data) for tensor in _tensors_of(model)]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    try:
        for parameter, _ in gradients:
            parameter.grad = None
        yield
    finally:
        for tensor, data in held:
            tensor.data = data
        for parameter, gradient in gradients:
            parameter.grad = gradient


def randomise(unit: Unit) -> None:
    """Give a module's own parameters random values.

    They are what the module's ``reset_parameters`` makes of a copy of it. A parameter that it does
    not have, or leaves alone, gets normal numbers of the same mean and standard deviation.
    """
    made = _reset(unit)
    for key, parameter in unit.parameters.items():
        fresh = made.get(key)
        parameter.data = _normal_like(parameter) if fresh is None else fresh


@contextmanager
def estimated_statistics(norms: Iterable[nn.Module]) -> Iterator[None]:
    """Let norms take the statistics of what they are given in a forward, and keep them.

    To be used inside :func:`replaceable`. One whose buffers are not a number for each channel of
    what it is given keeps what it has.

    Args:
        norms: Modules with the buffers of batch norms, in evaluation mode.

    Example:
        >>> norm, given = nn.BatchNorm1d(1).eval(), torch.tensor([[1.0], [3.0]])
        >>> with torch.no_grad(), replaceable(norm), estimated_statistics([norm]):
        ...     _ = norm(given)
        ...     norm.running_mean, norm.running_var
        (tensor([2.]), tensor([2.]))
    """
    handles = [
        norm.register_forward_pre_hook(_take_statistics, prepend=True, with_kwargs=True)
        for norm in norms
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _take_statistics(norm: nn.Module, args: Any, kwargs: Any) -> None:
    given = next((each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)), None)
    buffers = norm._buffers["running_mean"], norm._buffers["running_var"]
    if given is None or given.ndim < 2:
        return
    channels = given.shape[1:2]
    if any(buffer is None or buffer.shape != channels for buffer in buffers):
        return
    values = given.detach().movedim(1, 0).flatten(1).double()
    # As in training, where the variance is that of a sample; a single value has none.
    variance = values.var(dim=1, correction=int(values.shape[1] > 1))
    for buffer, found in zip(buffers, (values.mean(dim=1), variance), strict=True):
        assert buffer is not None
        buffer.data = found.to(buffer.dtype)


def _normal_like(parameter: nn.Parameter) -> Tensor:
    values = parameter.detach()
    wide = values.double()
    drawn = torch.empty_like(wide).normal_()
    return (drawn * wide.std(correction=0) + wide.mean()).to(values.dtype)


def _reset(unit: Unit) -> dict[str, Tensor]:
    """What ``reset_parameters`` sets, by name, of the parameters that it touches."""
    if not callable(getattr(unit.module, "reset_parameters", None)):
        return {}
    twin = _twin(unit.module)
    before = {key: twin._parameters[key] for key in unit.parameters}
    versions = {key: None if p is None else p._version for key, p in before.items()}
    twin.reset_parameters()
    made = {}
    for key, parameter in unit.parameters.items():
        fresh = twin._parameters.get(key)
        if fresh is None or fresh.shape != parameter.shape:
            continue
        is_touched = (
            fresh is not before[key]
            or fresh._version != versions[key]
            # What is written through ``.data`` counts no version.
            or not torch.equal(fresh.detach(), parameter.detach())
        )
        if is_touched:
            made[key] = fresh.detach().to(parameter.device, parameter.dtype)
    return made


def _twin(module: nn.Module) -> Any:
    """A copy of a module and what is in it, with tensors of its own and all else in common."""
    # Not copy.deepcopy: hooks may lead to everything there is, and some modules refuse.
    twin = type(module).__new__(type(module))
    twin.__dict__ = {
        key: value.detach().clone() if isinstance(value, Tensor) else value
        for key, value in vars(module).items()
    }
    twin.__dict__["_parameters"] = {
        key: None if p is None else nn.Parameter(p.detach().clone(), p.requires_grad)
        for key, p in module._parameters.items()
    }
    twin.__dict__["_buffers"] = {
        key: None if b is None else b.detach().clone() for key, b in module._buffers.items()
    }
    twin.__dict__["_modules"] = {
        key: None if child is None else _twin(child) for key, child in module._modules.items()
    }
    return twin
