"""Records as they are in the event files, without trusting the size that a tensor states.

TensorBoard's data provider unpacks tensors to the size they state. A file of a thousand bytes can
state 2^31 strings, more than any memory holds. So this module goes past the provider to the server
or multiplexer behind it, and reads the tensors from there still packed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from tensorboard.compat.proto import types_pb2
from tensorboard.data.proto import data_provider_pb2
from tensorboard.data.provider import RunTagFilter

from lightning_ablationcam.records.format import PLUGIN_NAME, RecordError
from lightning_ablationcam.selection import evenly_chosen

MAX_RECORD_BYTES = 64 * 2**20
"""How large a record may be: 256 probes of 256 x 256 pixels in full colour, uncompressed, are 48
MiB. Reading takes no more memory than the records take in the files."""


@dataclass(frozen=True)
class Packed:
    """One record of a series.

    Attributes:
        step: ``trainer.global_step``.
        wall_time: When it was written.
        tensor: A ``TensorProto``, or the array that a provider of an unknown kind made from it;
            None for a record that was read before.
        nbytes: The size of the record as it is stored.
    """

    step: int
    wall_time: float
    tensor: Any
    nbytes: int

    def strings(self) -> list[bytes]:
        """The strings of the record.

        Raises:
            RecordError: If it is anything but a list of strings, or too large.
        """
        if self.nbytes > MAX_RECORD_BYTES:
            raise RecordError(f"it has {self.nbytes:,} bytes; the limit is {MAX_RECORD_BYTES:,}")
        if hasattr(self.tensor, "ByteSize"):
            return _strings_of_proto(self.tensor)
        strings = [string for string in self.tensor.flat if isinstance(string, bytes)]
        if self.tensor.ndim != 1 or len(strings) != self.tensor.size:
            raise _no_strings(f"{self.tensor.dtype} of shape {self.tensor.shape}")
        return strings


class TooMuchError(Exception):
    """The server cannot send so many records at once."""


def read_packed(
    provider: Any, context: Any, *, experiment: str, run: str, tag: str, most: int
) -> list[Packed]:
    """The newest records of one tag, at most ``most`` of them, evenly or randomly chosen.

    Args:
        provider: A ``tensorboard.data.provider.DataProvider``.
        context: The ``RequestContext`` of the request that is answered.
        experiment: The experiment's id.
        run: The run.
        tag: The tag.
        most: How many, at least 1.

    Raises:
        TooMuchError: From the fast loader, which sends at most 256 MiB at once.
        KeyError: From the slow loader, while a tag is announced but has no value yet.
        ValueError: From a provider of an unknown kind, which unpacks tensors, if a tensor is not
            what it states; also TypeError and MemoryError.
    """
    # There is no public way to avoid unpacking. If these names are missing, the provider unpacks.
    multiplexer: Any = getattr(provider, "_multiplexer", None)
    if hasattr(multiplexer, "Tensors"):
        events = list(multiplexer.Tensors(run, tag)) if _is_ours(multiplexer, run, tag) else []
        chosen = (events[index] for index in evenly_chosen(len(events), most))
        return [_packed(event.step, event.wall_time, event.tensor_proto) for event in chosen]
    stub = getattr(provider, "_stub", None)
    if hasattr(stub, "ReadTensors"):
        return _read_from_server(stub, experiment, run, tag, most)
    found = provider.read_tensors(
        context,
        experiment_id=experiment,
        plugin_name=PLUGIN_NAME,
        downsample=most,
        run_tag_filter=RunTagFilter([run], [tag]),
    )
    data: Sequence[Any] = found.get(run, {}).get(tag, ())
    return [_packed(datum.step, datum.wall_time, datum.numpy) for datum in data]


def _is_ours(multiplexer: Any, run: str, tag: str) -> bool:
    tags = multiplexer.PluginRunToTagToContent(PLUGIN_NAME)
    return tag in tags.get(run, {})


def _read_from_server(stub: Any, experiment: str, run: str, tag: str, most: int) -> list[Packed]:
    request = data_provider_pb2.ReadTensorsRequest()
    request.experiment_id = experiment
    request.plugin_filter.plugin_name = PLUGIN_NAME
    request.run_tag_filter.runs.names.append(run)
    request.run_tag_filter.tags.names.append(tag)
    request.downsample.num_points = most
    try:
        answer = stub.ReadTensors(request)
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        raise TooMuchError(f"{most} records of run {run!r}") from error
    return [
        _packed(step, wall_time, tensor)
        for of_run in answer.runs
        for of_tag in of_run.tags
        for step, wall_time, tensor in zip(
            of_tag.data.step, of_tag.data.wall_time, of_tag.data.value, strict=True
        )
    ]


def _packed(step: int, wall_time: float, tensor: Any) -> Packed:
    if hasattr(tensor, "ByteSize"):
        size = int(tensor.ByteSize())
    elif tensor.dtype == object:
        size = sum(map(len, tensor.flat))
    else:
        size = int(tensor.nbytes)
    return Packed(step, wall_time, tensor, size)


def _strings_of_proto(tensor: Any) -> list[bytes]:
    """The strings of a tensor, if there are as many as it states."""
    says = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.dtype != types_pb2.DT_STRING or len(says) != 1:
        raise _no_strings(f"a tensor of type {tensor.dtype} and {len(says)} dimensions")
    if tensor.tensor_shape.unknown_rank or says != [len(tensor.string_val)]:
        raise RecordError(f"it states {says[0]} strings, but holds {len(tensor.string_val)}")
    return list(tensor.string_val)


def _no_strings(what: str) -> RecordError:
    return RecordError(f"{what}; expected a list of strings")
