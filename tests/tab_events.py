"""Small records, and event files that hold what the test says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tensorboard.compat.proto import (
    event_pb2,
    summary_pb2,
    tensor_pb2,
    tensor_shape_pb2,
    types_pb2,
)
from tensorboard.summary.writer.record_writer import RecordWriter

from lightning_ablationcam.measures.axis import CONCENTRATION, DRIFT
from lightning_ablationcam.outputs.tensorboard import summary_value
from lightning_ablationcam.records.format import (
    AlarmRecord,
    FurtherRecord,
    HeatRecord,
    ProbesRecord,
    encode_heat,
    encode_probes,
    quantised,
)
from lightning_ablationcam.render import encode_jpeg, encode_png

TAG = "ablation_cam"
FINGERPRINT = "f00d" * 16


def probes(n=2, **changes):
    pixels = np.arange(n * 8 * 8 * 3, dtype=np.uint8).reshape(n, 8, 8, 3)
    record = ProbesRecord(
        fingerprint=FINGERPRINT,
        layer="net.layer4",
        scale="probe",
        score="logit",
        names=tuple(f"probe {i}" for i in range(n)),
        labels=tuple(range(n)),
        pictures=tuple((encode_png, encode_jpeg)[i % 2](p) for i, p in enumerate(pixels)),
        class_names=("cat", "<b>dog</b>"),
        measures=(DRIFT, CONCENTRATION),
    )
    return replace(record, **changes)


def an_alarm(name="wide", **changes):
    """A rule that rings where concentration is high."""
    rule = AlarmRecord(name, "concentration", above=0.25, below=None, for_passes=2, of="mean")
    return replace(rule, **changes)


def heat(epoch=0, n=2, h=3, w=4, **changes):
    maps, maxima = quantised(np.random.default_rng(epoch).random((n, h, w)))
    record = HeatRecord(
        fingerprint=FINGERPRINT,
        layer="net.layer4",
        epoch=epoch,
        shape=(n, h, w),
        maps=maps.tobytes(),
        maxima=tuple(maxima.tolist()),
        classes=(1,) * n,
        scores=(0.5 + epoch,) * n,
        predicted=(0,) * n,
        probabilities=(0.25,) * n,
        measures={"drift": (None,) * n, "concentration": (0.125,) * n},
    )
    return replace(record, **changes)


def further(epoch=0, n=2, h=3, w=4):
    """What a pass found for a further class: other maps than :func:`heat` has."""
    maps, maxima = quantised(np.random.default_rng(epoch + 1000).random((n, h, w)))
    return FurtherRecord(
        maps=maps.tobytes(),
        maxima=tuple(maxima.tolist()),
        classes=(0,) * n,
        scores=(0.25, *(None,) * (n - 1)),
        probabilities=(0.125,) * n,
    )


def a_tensor(dtype, size, **content):
    shape = tensor_shape_pb2.TensorShapeProto(
        dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=size)]
    )
    value = summary_value(f"{TAG}/heat", [])
    value.tensor.CopyFrom(tensor_pb2.TensorProto(dtype=dtype, tensor_shape=shape, **content))
    return value


LIES = [
    a_tensor(types_pb2.DT_STRING, 9, string_val=[b"a", b"b"]),
    a_tensor(types_pb2.DT_STRING, 10**8, string_val=[b"a"]),
    a_tensor(types_pb2.DT_STRING, 2**31, string_val=[b"a"]),
    a_tensor(types_pb2.DT_STRING, 2**62, string_val=[b"a", b"b"]),
    a_tensor(types_pb2.DT_STRING, -1, string_val=[b"a", b"b"]),
    a_tensor(types_pb2.DT_FLOAT, 2**31, float_val=[1.0]),
    a_tensor(types_pb2.DT_INT64, 2**31, int64_val=[1]),
    a_tensor(types_pb2.DT_HALF, 2**31, half_val=[1]),
    a_tensor(99, 2, string_val=[b"a", b"b"]),
    a_tensor(types_pb2.DT_UINT8, 2**31, tensor_content=b"abc"),
]
"""Tensors that are not what they state, most of them far smaller."""


class EventFile:
    """An event file whose name, and so its place among others, is chosen."""

    def __init__(self, folder, number=1):
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"events.out.tfevents.{number:010d}.host"
        self._file = self.path.open("wb")
        self._writer = RecordWriter(self._file)
        self._add(event_pb2.Event(wall_time=1.0, file_version="brain.Event:2"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def value(self, value, step, wall_time):
        summary = summary_pb2.Summary(value=[value])
        self._add(event_pb2.Event(wall_time=wall_time, step=step, summary=summary))

    def strings(self, tag, strings, step, wall_time):
        self.value(summary_value(tag, strings), step, wall_time)

    def probes(self, record, step=0, wall_time=1.0, tag=TAG):
        self.strings(f"{tag}/probes", encode_probes(record), step, wall_time)

    def heat(self, record, step, wall_time=None, tag=TAG):
        wall_time = 1.0 + step if wall_time is None else wall_time
        self.strings(f"{tag}/heat", encode_heat(record), step, wall_time)

    def _add(self, event):
        self._writer.write(event.SerializeToString())
        self._file.flush()
