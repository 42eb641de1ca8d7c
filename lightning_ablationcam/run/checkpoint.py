"""Check everything that a checkpoint holds for the monitor before any of it is used.

A checkpoint may be damaged, from elsewhere or from a later version. It must never stop a training:
if it is not valid, the history starts afresh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

import torch
from torch import Tensor

from lightning_ablationcam.method.heads.base import Task
from lightning_ablationcam.network.inputs import Inputs, count_of, tensors
from lightning_ablationcam.run.history import MAX_PASSES
from lightning_ablationcam.run.regions import MAX_SIDE
from lightning_ablationcam.run.scalars import NEUTRAL
from lightning_ablationcam.run.tolerance import STEPS

T = TypeVar("T")

VERSION = 1
"""Version of the monitor's state in a checkpoint."""

MAX_INTEGER = 2**63 - 1
MAX_NUMBER = torch.finfo(torch.float32).max
MAX_COUNTED = 2**62
"""So many passes can still be counted on."""
MAX_LEVELS, MAX_PARTS = 16, 1000
"""How deep the inputs of a module may be nested, and how many parts they may have."""
MAX_TEXT_LENGTH = 1000
"""Characters of a name; messages repeat it."""


class StateError(ValueError):
    """A state is not what a monitor of this version writes; the message says why."""


def checked_state(state: object) -> dict[str, Any]:
    """Check the whole state of a monitor.

    Args:
        state: What a checkpoint holds, as :meth:`AblationCAMMonitor.state_dict` wrote it.

    Returns:
        The state in the same form, with known fields only and tensors on the CPU:
        ``validations``, ``budget``, ``made``, ``owed``, ``scalars``, ``alarms``, ``history`` with
        ``passes`` and ``strongest``, and ``probes`` with ``fingerprint`` and ``kept``.

    Raises:
        StateError: If it is anything else.

    Example:
        >>> checked_state({"version": 2})
        Traceback (most recent call last):
        lightning_ablationcam.run.checkpoint.StateError: it is of version 2, and this version reads
        1
    """
    fields = _mapping("it", state)
    version = fields.get("version")
    if type(version) is not int or version != VERSION:
        raise StateError(f"it is of version {_shown(version)}, and this version reads {VERSION}")
    passes = _passes(_one(fields, "history", _mapping))
    probes = _probes(_one(fields, "probes", _mapping))
    history: dict[str, Any] = {"passes": passes, "strongest": None}
    count = len(passes[0]["heatmaps"]) if passes else 0
    if passes:
        # States from before maps were compared by their balance hold the largest heat instead.
        if "strongest" in fields["history"]:
            read = _array(torch.float64, count)
            history["strongest"] = _one(fields["history"], "strongest", read, "history.strongest")
        else:
            history["strongest"] = torch.ones(count, dtype=torch.float64)
        if probes["fingerprint"] is None:
            raise StateError("it holds heatmaps, but not of which probes")
        kept = probes["kept"]
        if kept is not None and count_of(kept["inputs"]) != count:
            raise StateError(f"it holds {count_of(kept['inputs'])} probes and heatmaps of {count}")
    return {
        "version": VERSION,
        "validations": _one(fields, "validations", _count),
        # Missing in states from before there were tolerances.
        "budget": _optional(_budget)("budget", fields.get("budget")),
        # Missing, as the alarms are, in states from before there were any.
        "made": _one(fields, "made", _count) if "made" in fields else len(passes),
        "owed": _optional(_flag)("owed", fields.get("owed")) or False,
        "scalars": _scalars(_one(fields, "scalars", _mapping), old="made" not in fields),
        "alarms": _alarms(count)("alarms", fields.get("alarms", {})),
        "probes": probes,
        "history": history,
    }


def _passes(history: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed = _one(history, "passes", _list)
    if len(listed) > MAX_PASSES:
        raise StateError(f"history.passes has {len(listed)} entries; expected {MAX_PASSES} at most")
    passes: list[dict[str, Any]] = []
    for index, given in enumerate(listed):
        where = f"history.passes[{index}]"
        seen = _pass(where, _mapping(where, given))
        if passes:
            before = passes[-1]
            if seen["step"] <= before["step"]:
                raise StateError(f"{where} is of step {seen['step']}, after {before['step']}")
            same = (before["layer"], before["heatmaps"].shape)
            if (seen["layer"], seen["heatmaps"].shape) != same:
                raise StateError(f"{where} is of another layer or map size than those before it")
        passes.append(seen)
    return passes


def _pass(where: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    def one(name: str, read: Callable[[str, Any], Any]) -> Any:
        return _one(fields, name, read, f"{where}.{name}")

    heatmaps = one("heatmaps", _heatmaps)
    integers = _array(torch.int64, len(heatmaps))
    floats = _array(torch.float64, len(heatmaps))
    some_floats = _array((torch.float32, torch.float64), len(heatmaps))

    def later(name: str, read: Callable[[str, Any], Any], default: Any = None) -> Any:
        """A field that states of earlier versions do not have."""
        return one(name, read) if name in fields else default

    count = len(heatmaps)
    return {
        "step": one("step", _count),
        "epoch": one("epoch", _count),
        "layer": one("layer", _text),
        "heatmaps": heatmaps,
        "classes": one("classes", integers),
        "scores": one("scores", floats),
        "predicted": one("predicted", _optional(integers)),
        "probabilities": one("probabilities", _optional(some_floats)),
        "measures": one("measures", _named(floats))
        if "measures" in fields
        # A state from before measures were kept together.
        else {
            name: values
            for name in ("drift", "concentration")
            if (values := one(name, _optional(floats))) is not None
        },
        "top_classes": later("top_classes", _optional(_table(torch.int64, count))),
        "top_probabilities": later("top_probabilities", _optional(_table(torch.float64, count))),
        "also": later("also", _further(count), {}),
        "signed": later("signed", _optional(_signed(heatmaps.shape))),
        "regions": later("regions", _optional(_regions(count))),
        "task": later("task", _optional(_task)),
        "alarms": later("alarms", _named(_array(torch.bool, count)), {}),
        "rules": later("rules", _named(_text), {}),
    }


def _further(count: int) -> Callable[[str, Any], dict[str, Any]]:
    """A reader of what was found for further classes, with maps of their own size."""
    readers: dict[str, Callable[[str, Any], Any]] = {
        "heatmaps": _heatmaps,
        "classes": _array(torch.int64, count),
        "scores": _array(torch.float64, count),
        "probabilities": _optional(_array((torch.float32, torch.float64), count)),
    }

    def read(where: str, value: Any) -> dict[str, Any]:
        found = {}
        for role, given in _mapping(where, value).items():
            here = f"{where}.{_shown(_text(f'a role in {where}', role))}"
            given = _mapping(here, given)
            found[role] = {
                name: _one(given, name, each, f"{here}.{name}") for name, each in readers.items()
            }
            shape = found[role]["heatmaps"].shape
            if len(found[role]["heatmaps"]) != count:
                raise StateError(f"{here} has {shape[0]} maps; expected {count}")
            # Missing in states from before they were kept.
            later = {
                "signed": _signed(shape),
                "regions": _regions(count),
                "error": _array(torch.float64, count),
            }
            for name, each in later.items():
                found[role][name] = _optional(each)(f"{here}.{name}", given.get(name))
        return found

    return read


def _signed(shape: torch.Size) -> Callable[[str, Any], Tensor]:
    """A reader of maps before the ReLU, which have the shape of those after it."""

    def read(where: str, value: Any) -> Tensor:
        tensor = _tensor(where, value)
        if tensor.dtype != torch.float32 or tensor.shape != shape:
            raise _unlike(where, tensor, f"torch.float32 of shape {tuple(shape)}")
        return tensor

    return read


def _regions(count: int) -> Callable[[str, Any], dict[str, Any]]:
    """A reader of the regions of so many probes."""

    def read(where: str, value: Any) -> dict[str, Any]:
        fields = _mapping(where, value)
        shape = _one(fields, "shape", _list, f"{where}.shape")
        if len(shape) != 2 or not all(type(n) is int and 1 <= n <= MAX_SIDE for n in shape):
            raise _unlike(f"{where}.shape", shape, f"two numbers from 1 to {MAX_SIDE}")
        bits = _one(fields, "bits", _tensor, f"{where}.bits")
        expected = (count, -(-shape[0] * shape[1] // 8))
        if bits.dtype != torch.uint8 or bits.shape != expected:
            raise _unlike(f"{where}.bits", bits, f"torch.uint8 of shape {expected}")
        return {"shape": tuple(shape), "bits": bits}

    return read


def _named(read_one: Callable[[str, Any], T]) -> Callable[[str, Any], dict[str, T]]:
    """A reader of values by name."""

    def read(where: str, value: Any) -> dict[str, T]:
        return {
            _text(f"a name in {where}", name): read_one(f"{where}.{_shown(name)}", each)
            for name, each in _mapping(where, value).items()
        }

    return read


def _alarms(count: int) -> Callable[[str, Any], dict[str, Any]]:
    """A reader of how alarms stand with so many probes."""
    readers: dict[str, Callable[[str, Any], Any]] = {
        "rule": _text,
        "in_a_row": _counts(count),
        "before": _counts(count),
        "step": _optional(_count),
        "beyond": _array(torch.bool, count),
    }

    def read(where: str, value: Any) -> dict[str, Any]:
        found = {}
        for name, given in _mapping(where, value).items():
            here = f"{where}.{_shown(_text(f'a name in {where}', name))}"
            one = _mapping(here, given)
            found[name] = {
                part: _one(one, part, each, f"{here}.{part}") for part, each in readers.items()
            }
        return found

    return read


def _budget(where: str, value: Any) -> dict[str, Any] | None:
    """What passes of an automatic tolerance have cost; None where they had other steps."""
    fields = _mapping(where, value)
    found: dict[str, Any] = {
        name: _one(fields, name, _seconds, f"{where}.{name}")
        for name in ("spent", "elapsed", "other", "forwards")
    }
    found["chances"] = _one(fields, "chances", _up_to(MAX_COUNTED), f"{where}.chances")
    ladder = _one(fields, "ladder", _ladder, f"{where}.ladder")
    return None if ladder is None else {**found, "ladder": ladder}


def _ladder(where: str, value: Any) -> dict[str, Any] | None:
    """What the steps of an automatic tolerance have cost; None where there are more or fewer."""
    fields = _mapping(where, value)
    taken = _one(fields, "taken", _list, f"{where}.taken")
    if len(taken) != len(STEPS):  # Of another version: that a budget is new costs no history.
        return None
    each = [_optional(_step)(f"{where}.taken[{step}]", one) for step, one in enumerate(taken)]
    return {"at": _one(fields, "at", _up_to(len(STEPS) - 1), f"{where}.at"), "taken": each}


def _step(where: str, value: Any) -> dict[str, Any]:
    fields = _mapping(where, value)
    readers = {"seconds": _seconds, "share": _share, "age": _up_to(MAX_COUNTED)}
    return {name: _one(fields, name, read, f"{where}.{name}") for name, read in readers.items()}


def _counts(count: int) -> Callable[[str, Any], Tensor]:
    """A reader of (count,) whole numbers of passes."""
    read_one = _array(torch.int64, count)

    def read(where: str, value: Any) -> Tensor:
        tensor = read_one(where, value)
        if ((tensor < 0) | (tensor > MAX_COUNTED)).any():
            raise StateError(f"{where} has numbers of passes below 0 or above {MAX_COUNTED}")
        return tensor

    return read


def _probes(fields: Mapping[str, Any]) -> dict[str, Any]:
    def one(name: str, read: Callable[[str, Any], Any]) -> Any:
        return _one(fields, name, read, f"probes.{name}")

    return {
        "fingerprint": one("fingerprint", _optional(_text)),
        "kept": one("kept", _optional(_kept)),
    }


def _kept(where: str, value: Any) -> dict[str, Any]:
    fields = _mapping(where, value)
    inputs = _one(fields, "inputs", _nested, f"{where}.inputs")
    # Missing in states from before probes were fed several tensors.
    chosen = _optional(_text)(f"{where}.shown", fields.get("shown"))
    images = _picture(where, inputs, chosen)
    kept = {
        "wanted": _one(fields, "wanted", _count, f"{where}.wanted"),
        "inputs": inputs,
        "shown": chosen,
        "labels": _one(fields, "labels", _optional(_labels(images)), f"{where}.labels"),
        # Missing in states from before probes kept from validation had masks.
        "masks": _optional(_masks(images))(f"{where}.masks", fields.get("masks")),
        "batch": _optional(_nested)(f"{where}.batch", fields.get("batch")),
    }
    if isinstance(kept["batch"], Tensor):
        raise _unlike(f"{where}.batch", kept["batch"], "several tensors")
    for name in ("inputs", "batch"):
        rows = {tensor.shape[:1] for _, tensor in tensors(kept[name])}
        if kept[name] is not None and rows != {(len(images),)}:
            raise StateError(f"{where}.{name} has other rows than the {len(images)} probes")
    return kept


def _picture(where: str, inputs: Inputs, chosen: str | None) -> Tensor:
    """The tensor of images among what is fed."""
    found = dict(tensors(inputs))
    if chosen is None and isinstance(inputs, Tensor):
        return _images(f"{where}.inputs", inputs)
    if chosen not in found or isinstance(inputs, Tensor):
        raise StateError(f"{where}.shown is {_shown(chosen)}, which is not among the inputs")
    return _images(f"{where}.inputs.{_shown(chosen)}", found[chosen])


def _nested(where: str, value: Any) -> Inputs:
    """A tensor, or dicts, lists and tuples of tensors, of few levels and parts."""
    parts = 0

    def read(where: str, value: Any, level: int) -> Inputs:
        nonlocal parts
        parts += 1
        if parts > MAX_PARTS or level > MAX_LEVELS:
            raise StateError(f"{where[:80]} is deeper or has more parts than a batch has")
        if value is None and level:
            return None
        if isinstance(value, Mapping) and value:
            for key in value:
                if not isinstance(key, int):
                    _text(f"a name in {where}", key)
            return {
                key: read(f"{where}.{_shown(key)}", each, level + 1) for key, each in value.items()
            }
        if type(value) in (list, tuple) and value:
            return type(value)(read(f"{where}[{i}]", v, level + 1) for i, v in enumerate(value))
        return _tensor(where, value)

    return read(where, value, 0)


def _labels(images: Tensor) -> Callable[[str, Any], Tensor]:
    """A reader of labels of any kind of these images."""
    count, sizes = len(images), tuple(images.shape[2:])
    allowed = f"labels of {count} images, such as torch.int64 of shape ({count},)"

    def read(where: str, value: Any) -> Tensor:
        tensor = _tensor(where, value)
        fits = {
            torch.int64: tensor.shape in ((count,), (count, *sizes)),
            torch.float64: tensor.shape == (count,),
            torch.bool: tensor.ndim == 2 and len(tensor) == count and tensor.shape[1] > 1,
        }
        if not fits.get(tensor.dtype, False):
            raise _unlike(where, tensor, allowed)
        return tensor

    return read


def _masks(images: Tensor) -> Callable[[str, Any], Tensor]:
    """A reader of where the object is in each of these images."""
    shape = (len(images), *images.shape[2:])

    def read(where: str, value: Any) -> Tensor:
        tensor = _tensor(where, value)
        if tensor.dtype != torch.bool or tensor.shape != shape:
            raise _unlike(where, tensor, f"torch.bool of shape {shape}")
        return tensor

    return read


def _scalars(fields: Mapping[str, Any], *, old: bool) -> dict[str, float]:
    found = {
        _text("a name in scalars", name): _number(f"scalars.{_shown(name)}", value)
        for name, value in fields.items()
    }
    # States from before passes were counted hold neutral values, too.
    return {name: v for name, v in found.items() if not old or v != NEUTRAL.get(name)}


# ---- one value ---------------------------------------------------------------------------------


def _one(
    fields: Mapping[str, Any], name: str, read: Callable[[str, Any], Any], where: str = ""
) -> Any:
    where = where or name
    if name not in fields:
        raise StateError(f"{where} is missing")
    return read(where, fields[name])


def _mapping(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _unlike(where, value, "a dict")
    return value


def _list(where: str, value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise _unlike(where, value, "a list")
    return list(value)


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _unlike(where, value, "text")
    if len(value) > MAX_TEXT_LENGTH:
        raise StateError(f"{where} has {len(value)} characters; expected {MAX_TEXT_LENGTH} at most")
    return value


def _task(where: str, value: Any) -> str:
    if not isinstance(value, str) or value not in get_args(Task):
        raise _unlike(where, value, f"one of {', '.join(get_args(Task))}")
    return value


def _count(where: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:
        raise _unlike(where, value, "a whole number of at least 0")
    return value


def _up_to(most: int) -> Callable[[str, Any], int]:
    """A reader of whole numbers from 0."""

    def read(where: str, value: Any) -> int:
        number = _count(where, value)
        if number > most:
            raise StateError(f"{where} is {_shown(value)}; expected {most} at most")
        return number

    return read


def _seconds(where: str, value: Any) -> float:
    number = _number(where, value)
    if number < 0:
        raise _unlike(where, value, "a number of at least 0")
    return number


def _share(where: str, value: Any) -> float:
    number = _seconds(where, value)
    if number > 1:
        raise _unlike(where, value, "a number from 0 to 1")
    return number


def _flag(where: str, value: Any) -> bool:
    if type(value) is not bool:
        raise _unlike(where, value, "True or False")
    return value


def _number(where: str, value: Any) -> float:
    # Lightning logs float32.
    if type(value) not in (int, float) or not abs(value) <= MAX_NUMBER:
        raise _unlike(where, value, "a finite number")
    return float(value)


def _optional(read: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda where, value: None if value is None else read(where, value)


def _array(
    dtypes: torch.dtype | tuple[torch.dtype, ...], count: int
) -> Callable[[str, Any], Tensor]:
    """A reader of tensors of shape (count,)."""
    allowed = dtypes if isinstance(dtypes, tuple) else (dtypes,)

    def read(where: str, value: Any) -> Tensor:
        tensor = _tensor(where, value)
        if tensor.dtype not in allowed or tensor.shape != (count,):
            raise _unlike(where, tensor, f"{' or '.join(map(str, allowed))} of shape ({count},)")
        return tensor

    return read


def _table(dtype: torch.dtype, count: int) -> Callable[[str, Any], Tensor]:
    """A reader of tensors of shape (count, T)."""

    def read(where: str, value: Any) -> Tensor:
        tensor = _tensor(where, value)
        if tensor.dtype != dtype or tensor.ndim != 2 or len(tensor) != count:
            raise _unlike(where, tensor, f"{dtype} of shape ({count}, T)")
        return tensor

    return read


def _heatmaps(where: str, value: Any) -> Tensor:
    tensor = _tensor(where, value)
    if tensor.dtype != torch.float32 or not 2 <= tensor.ndim <= 4 or not tensor.numel():
        raise _unlike(where, tensor, "torch.float32 of shape (N, h, w)")
    return tensor


def _images(where: str, value: Any) -> Tensor:
    tensor = _tensor(where, value)
    if not 3 <= tensor.ndim <= 5 or not tensor.numel():
        raise _unlike(where, tensor, "shape (N, C, H, W)")
    return tensor


def _tensor(where: str, value: Any) -> Tensor:
    plain = isinstance(value, Tensor) and value.layout == torch.strided
    if not plain or value.is_quantized or value.device.type == "meta":
        raise _unlike(where, value, "a tensor of numbers")
    on_cpu: Tensor = value.detach().cpu()
    return on_cpu


def _unlike(where: str, value: Any, expected: str) -> StateError:
    return StateError(f"{where} is {_shown(value)}; expected {expected}")


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype} and shape {tuple(value.shape)}"
    if isinstance(value, (bool, int, float, str, type(None))):
        # Python refuses to turn very long integers into text.
        large = isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER
        return "a huge number" if large else repr(value)[:80]
    return f"a {type(value).__name__}"
