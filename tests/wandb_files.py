"""What an offline run of Weights & Biases wrote, read back without its library's run."""

from __future__ import annotations

import json
import struct

from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER = 32768, struct.Struct("<IHB")
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def history(folder):
    """The rows of a run, each as a dict."""
    (file,) = folder.glob("*.wandb")
    rows = []
    for content in records(file.read_bytes()):
        record = Record.FromString(content)
        if record.WhichOneof("record_type") == "history":
            rows.append(row_of(record.history.item))
    return rows


def row_of(items):
    row = {}
    for item in items:
        first, *inner = item.nested_key or [item.key]
        value = json.loads(item.value_json)
        if inner:
            row.setdefault(first, {})["/".join(inner)] = value
        else:
            row[first] = value
    return row


def records(content):
    """The records of a log as LevelDB's: in blocks, and in pieces where a block ends."""
    at, whole = 7, b""  # The file begins with a header of its own.
    while at + HEADER.size <= len(content):
        left = BLOCK - at % BLOCK
        if left < HEADER.size:
            at += left
            continue
        _, length, kind = HEADER.unpack_from(content, at)
        whole += content[at + HEADER.size : at + HEADER.size + length]
        at += HEADER.size + length
        assert kind in (FULL, FIRST, MIDDLE, LAST)
        if kind in (FULL, LAST):
            yield whole
            whole = b""
