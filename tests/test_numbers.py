"""Numbers of passes in little room, as the page gets them."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lightning_ablationcam.records.numbers import Integers, Numbers, block_of, columns_of, compact
from tests.tab_events import further, heat

CLASSES = st.sampled_from([1, 200, 70_000, 2**40])
SCORES = st.sampled_from([0.5, 1e300])


SIZES = st.integers(1, 5)


@given(n=SIZES, explained=CLASSES, predicted=CLASSES, score=SCORES, top=SIZES)
def test_every_array_begins_at_a_multiple_of_its_numbers_size(n, explained, predicted, score, top):
    # The page reads them where they stand, which is an error anywhere else.
    record = heat(
        n=n,
        classes=(explained,) * n,
        predicted=(predicted,) * n,
        scores=(score,) * n,
        top_classes=((predicted,) * top,) * n,
        top_probabilities=((0.5,) * top,) * n,
        also={"rival": further(n=n)},
    )
    columns = columns_of(record, ["rival"], ["drift", "concentration"])
    arrays = [column.array for column in columns]
    starts = accumulate((array.nbytes for array in arrays), initial=0)
    assert all(start % array.itemsize == 0 for start, array in zip(starts, arrays, strict=False))
    assert {column.path for column in columns} >= {("classes",), ("predicted",), ("top", "classes")}
    block = block_of(columns)
    assert len(block) % 8 == 0
    assert block.startswith(b"".join(array.tobytes() for array in arrays))


def test_little_room_holds_what_was_there():
    record = heat(n=3, classes=(1, 300, -1), maxima=(0.5, None, 2.0))
    small = compact(record)
    assert small == record
    assert isinstance(small.classes, Integers)
    assert small.classes.array.dtype == np.int16
    assert small.classes[1:] == (300, -1)
    assert small.measures["drift"] == (None,) * 3
    assert Numbers((1e300, None))[0] == 1e300
    assert Integers((1, 2)) != (1, 3)
