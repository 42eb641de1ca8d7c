from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lightning_ablationcam.records.format import (
    MAX_INTEGER,
    RecordError,
    decode_heat,
    decode_probes,
    encode_heat,
    encode_probes,
    quantised,
)
from tests.tab_events import heat, probes

INTEGERS = st.integers(-MAX_INTEGER, MAX_INTEGER)
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def heat_records(draw):
    n, h, w = (draw(st.integers(1, 4)) for _ in range(3))

    def each(values):
        return tuple(draw(st.lists(values, min_size=n, max_size=n)))

    return heat(
        draw(st.integers(0, 10**6)),
        n=n,
        h=h,
        w=w,
        layer=draw(st.text()),
        maps=draw(st.binary(min_size=n * h * w, max_size=n * h * w)),
        maxima=each(st.none() | st.floats(0, allow_infinity=False)),
        classes=each(INTEGERS),
        scores=each(NUMBERS),
        predicted=draw(st.sampled_from([None, each(INTEGERS)])),
        probabilities=draw(st.sampled_from([None, each(NUMBERS)])),
        measures=draw(
            st.dictionaries(
                st.from_regex(r"own_[a-z0-9_]{0,20}", fullmatch=True),
                st.just(each(NUMBERS)),
                max_size=3,
            )
        ),
    )


@given(heat_records())
def test_heat_comes_back_as_it_was(record):
    assert decode_heat(encode_heat(record)) == record


@given(
    st.lists(st.tuples(st.text(), st.none() | INTEGERS), min_size=1, max_size=4),
    st.none() | st.lists(st.text()),
    st.text(),
)
def test_probes_come_back_as_they_were(each, class_names, layer):
    record = probes(
        len(each),
        names=tuple(name for name, _ in each),
        labels=tuple(label for _, label in each),
        class_names=None if class_names is None else tuple(class_names),
        layer=layer,
    )
    assert decode_probes(encode_probes(record)) == record


@given(st.lists(st.binary(), max_size=3) | st.lists(st.text().map(str.encode), max_size=3))
def test_anything_else_is_refused_in_one_way(strings):
    for decode in (decode_heat, decode_probes):
        with pytest.raises(RecordError):
            decode(strings)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_a_field_of_any_other_kind_is_refused_in_one_way(data):
    for record, encode, decode in (
        (heat(), encode_heat, decode_heat),
        (probes(), encode_probes, decode_probes),
    ):
        text, *rest = encode(record)
        fields = json.loads(text)
        fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(VALUES)
        try:
            read = decode([json.dumps(fields).encode(), *rest])
        except RecordError:
            continue
        # What is accepted is a record: it can be written and read again.
        assert decode(encode(read)) == read


def test_what_is_not_finite_is_null():
    text, _ = encode_heat(heat(scores=(math.nan, -math.inf), probabilities=(math.inf, 0.5)))
    fields = json.loads(text)
    assert fields["scores"] == [None, None]
    assert fields["probabilities"] == [None, 0.5]


def changed_heat(**changes):
    text, maps = encode_heat(heat())
    return [json.dumps({**json.loads(text), **changes}).encode(), maps]


@pytest.mark.parametrize(
    ("strings", "message"),
    [
        ([], "0 parts; expected 2"),
        ([b"{", b""], "no JSON"),
        ([b"\xff\xfe", b""], "no JSON"),
        ([b"[" * 100_000, b""], r"no JSON \(RecursionError\)"),
        ([b"[]", b""], "list; expected an object"),
        (
            changed_heat(version=3),
            "version is 3, but this lightning_ablationcam reads versions up to 2",
        ),
        (changed_heat(version=True), "version is True"),
        (changed_heat(shape=[2, 3, 5]), r"shape is \[2, 3, 5\], but there are 24 bytes"),
        (changed_heat(shape=[2, 3, 10**15]), "but there are 24 bytes"),
        (changed_heat(shape=[-2, -3, 4]), "all above 0"),
        (changed_heat(shape=[2, 3, 2**60]), "shape is or holds a int"),
        (changed_heat(shape=[2, 12]), r"expected \[N, h, w\]"),
        (changed_heat(maxima=[1.0]), "maxima has 1 entries for 2 probes"),
        (changed_heat(maxima=[1.0, -1.0]), "maxima holds a negative"),
        (changed_heat(scores=[math.nan, 0]), "scores is or holds a float"),
        (changed_heat(scores=[10**400, 0]), "scores is or holds a int"),
        (changed_heat(scores=[True, 0]), "scores is or holds a bool"),
        (changed_heat(classes=[0.5, 1]), "classes is or holds a float"),
        (changed_heat(predicted=[1]), "predicted has 1 entries"),
        (changed_heat(measures=None), "is or holds a NoneType"),
        (changed_heat(measures={"drift": [0]}), "drift has 1 entries for 2 probes"),
        (changed_heat(measures={"drift": [0, "a"]}), "drift is or holds a str"),
        (
            changed_heat(measures={"maxima": [0, 1]}),
            "a measure is called 'maxima'; expected a name",
        ),
        (changed_heat(measures={"a b": [0, 1]}), "a measure is called 'a b'"),
        (changed_heat(epoch="3"), "epoch is or holds a str"),
        (changed_heat(fingerprint="../etc"), "fingerprint is '../etc'"),
    ],
)
def test_what_is_wrong_with_heat_is_said(strings, message):
    with pytest.raises(RecordError, match=message):
        decode_heat(strings)


AXIS = {"name": "drift", "label": "Drift", "low": 0, "high": 1, "percent": False}


def test_records_of_the_first_version_are_read():
    text, maps = encode_heat(heat())
    fields = json.loads(text) | {"version": 1}
    fields |= fields.pop("measures")
    assert decode_heat([json.dumps(fields).encode(), maps]) == heat()
    text, *pictures = encode_probes(probes())
    fields = json.loads(text) | {"version": 1}
    del fields["measures"]
    assert decode_probes([json.dumps(fields).encode(), *pictures]) == probes()


def changed_probes(*pictures, **changes):
    text, *rest = encode_probes(probes())
    return [json.dumps({**json.loads(text), **changes}).encode(), *(pictures or rest)]


@pytest.mark.parametrize(
    ("strings", "message"),
    [
        ([], "is empty"),
        (changed_probes(b"GIF89a", b""), "a picture starts with b'GIF89a'; expected PNG or JPEG"),
        (changed_probes(b"<svg onload=alert(1)>"), "pictures has 1 entries for 2 probes"),
        (changed_probes(probes=[]), "there is no probe"),
        (changed_probes(probes=[1, 2]), "int; expected an object"),
        (changed_probes(probes=[{"name": "a"}, {}]), "name is missing"),
        (changed_probes(probes={"name": "a"}), "probes is or holds a dict; expected a list"),
        (changed_probes(scale="each"), "scale is 'each'; expected one of map, probe, run"),
        (changed_probes(score="loss"), "score is 'loss'"),
        (changed_probes(class_names="ab"), "class_names is or holds a str"),
        (changed_probes(measures={}), "measures is or holds a dict; expected a list"),
        (changed_probes(measures=[{"name": "a"}]), "label is missing"),
        (changed_probes(measures=[AXIS | {"percent": 1}]), "percent is or holds a int"),
        (changed_probes(measures=[AXIS | {"low": 1}]), "drift goes from 1.0 to 1.0"),
        (changed_probes(measures=[AXIS | {"name": "steps()"}]), r"a measure is called 'steps\(\)'"),
    ],
)
def test_what_is_wrong_with_probes_is_said(strings, message):
    with pytest.raises(RecordError, match=message):
        decode_probes(strings)


def test_a_record_that_does_not_fit_itself_cannot_be_made():
    with pytest.raises(RecordError, match="bytes"):
        replace(heat(), maps=b"")


@given(
    arrays(
        np.float32,
        st.tuples(*[st.integers(1, 4)] * 3),
        elements=st.floats(0, width=32) | st.just(np.nan),
    )
)
def test_quantised_maps_are_within_half_a_step(heatmaps):
    maps, maxima = quantised(heatmaps)
    assert maps.shape == heatmaps.shape
    finite = np.isfinite(heatmaps)
    for one, of, seen, maximum in zip(maps, heatmaps, finite, maxima, strict=True):
        assert math.isnan(maximum) == (not seen.any())
        assert not one[~seen].any()
        if maximum > 0:
            assert one.max() == 255
            expected = of[seen].astype(np.float64) / maximum * 255
            np.testing.assert_allclose(one[seen], expected, atol=0.5 + 1e-9)
        else:
            assert not one.any()


def test_negative_heat_counts_as_none():
    maps, maxima = quantised(np.array([[[-3.0, -1.0]], [[-1.0, 4.0]]]))
    assert maps.tolist() == [[[0, 0]], [[0, 255]]]
    assert maxima.tolist() == [0, 4]


@pytest.mark.parametrize("shape", [(2, 2), (0, 2, 2), (1, 0, 2)])
def test_quantised_says_what_it_takes(shape):
    with pytest.raises(ValueError, match=r"expected \(N, h, w\)"):
        quantised(np.zeros(shape))
