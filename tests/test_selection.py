from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_ablationcam.selection import evenly_chosen


@given(st.integers(0, 5000), st.integers(1, 40))
def test_even_choices_have_both_ends(count, most):
    chosen = evenly_chosen(count, most)
    gaps = np.diff(chosen)
    assert len(chosen) == min(count, most)
    assert (gaps > 0).all()
    if count:
        assert chosen[-1] == count - 1
        assert chosen[0] == 0 or most == 1
    if len(gaps):
        assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize(("count", "most"), [(-1, 8), (5, 0)])
def test_wrong_counts(count, most):
    with pytest.raises(ValueError, match=f"count={count}, most={most}"):
        evenly_chosen(count, most)
