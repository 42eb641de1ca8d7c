from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lightning_ablationcam.measures.axis import SHIFT
from lightning_ablationcam.records.format import (
    MAX_INTEGER,
    AlarmRecord,
    FurtherRecord,
    RecordError,
    RegionsRecord,
    decode_heat,
    decode_probes,
    encode_heat,
    encode_probes,
    quantised,
)
from lightning_ablationcam.records.regions import runs_of
from tests.tab_events import an_alarm, further, heat, probes

INTEGERS = st.integers(-MAX_INTEGER, MAX_INTEGER)
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def heat_records(draw):
    n, h, w = (draw(st.integers(1, 4)) for _ in range(3))

    def each(values):
        return tuple(draw(st.lists(values, min_size=n, max_size=n)))

    def blob(size):
        return draw(st.binary(min_size=size, max_size=size))

    def maxima():
        return each(st.none() | st.floats(0, allow_infinity=False))

    def layers(h, w):
        found = {}
        if draw(st.booleans()):
            found |= {"against": blob(n * h * w), "against_maxima": maxima()}
        if draw(st.booleans()):
            shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
            masks = draw(arrays(np.bool_, (n, *shape)))
            found["regions"] = RegionsRecord(shape, tuple(map(runs_of, masks)))
        return found

    def other(h, w, shape):
        return FurtherRecord(
            maps=blob(n * h * w),
            maxima=maxima(),
            classes=each(INTEGERS),
            scores=each(NUMBERS),
            probabilities=None,
            shape=shape,
            error=draw(st.sampled_from([None, each(NUMBERS)])),
            **layers(h, w),
        )

    also = {}
    for role in draw(
        st.lists(st.sampled_from(["rival", "layer3.0:input", "class 7"]), unique=True)
    ):
        size = draw(st.none() | st.tuples(st.integers(1, 4), st.integers(1, 4)))
        also[role] = other(h, w, None) if size is None else other(*size, (n, *size))
    return heat(
        draw(st.integers(0, 10**6)),
        also=also,
        **layers(h, w),
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
        alarms=draw(
            st.dictionaries(
                st.text(),
                st.sets(st.integers(0, n - 1)).map(lambda chosen: tuple(sorted(chosen))),
                max_size=2,
            )
        ),
        measures=draw(
            st.dictionaries(
                st.from_regex(r"own_[a-z0-9_]{0,20}", fullmatch=True),
                st.just(each(NUMBERS)),
                max_size=3,
            )
        ),
    )


LIMITS = st.floats(allow_nan=False, allow_infinity=False)
RULES = st.builds(
    AlarmRecord,
    name=st.text(min_size=1, max_size=200),
    measure=st.sampled_from(["drift", "concentration"]),
    above=LIMITS,
    below=st.none() | LIMITS,
    for_passes=st.integers(1, MAX_INTEGER),
    of=st.sampled_from(["mean", "any"]),
)


@given(heat_records())
def test_heat_comes_back_as_it_was(record):
    assert decode_heat(encode_heat(record)) == record


@given(
    st.lists(st.tuples(st.text(), st.none() | INTEGERS), min_size=1, max_size=4),
    st.none() | st.lists(st.text()),
    st.text(),
    st.sampled_from([None, "multilabel", "regression"]),
    st.none() | st.sampled_from(["cat, dog", "25.0", "<b>"]),
    st.lists(RULES, unique_by=lambda alarm: alarm.name, max_size=3),
)
def test_probes_come_back_as_they_were(each, class_names, layer, task, text, alarms):
    record = probes(
        len(each),
        names=tuple(name for name, _ in each),
        labels=tuple(label for _, label in each),
        class_names=None if class_names is None else tuple(class_names),
        layer=layer,
        task=task,
        label_texts=None if text is None else (text, *[None] * (len(each) - 1)),
        alarms=tuple(alarms),
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


def changed_heat(*blobs, **changes):
    text, maps = encode_heat(heat())
    return [json.dumps({**json.loads(text), **changes}).encode(), maps, *blobs]


def outlines(**changes):
    return {"shape": [1, 6], "sizes": [1, 1], **changes}


def further_heat(**changes):
    """A record whose further class is changed."""
    text, *blobs = encode_heat(heat(also={"rival": further()}))
    fields = json.loads(text)
    fields["also"][0].update(changes)
    return [json.dumps(fields).encode(), *blobs]


@pytest.mark.parametrize(
    ("strings", "message"),
    [
        ([], "0 parts; expected 2"),
        ([b"{", b""], "no JSON"),
        ([b"\xff\xfe", b""], "no JSON"),
        ([b"[" * 100_000, b""], r"no JSON \(RecursionError\)"),
        ([b"[]", b""], "list; expected an object"),
        (
            changed_heat(version=5),
            "version is 5, but this lightning_ablationcam reads versions up to 4",
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
        (changed_heat(against_maxima=[1.0, 2.0]), "2 parts; expected 3"),
        (
            changed_heat(b"", against_maxima=[1.0, 2.0]),
            r"shape is \[2, 3, 4\], but there are 0 byt",
        ),
        (changed_heat(bytes(24), against_maxima=[1.0]), "against_maxima has 1 entries"),
        (changed_heat(bytes(24), against_maxima=[1, -1]), "maxima holds a negative"),
        (changed_heat(bytes(24), against_maxima="ab"), "against_maxima is or holds a str"),
        (changed_heat(regions={"shape": [1, 6], "sizes": [1, 1]}), "2 parts; expected 3"),
        (changed_heat(b"\6\6", regions=[1]), "regions is or holds a list; expected an object"),
        (changed_heat(b"\6\6", regions={"shape": [1, 6]}), "sizes is missing"),
        (changed_heat(b"\6", regions=outlines(sizes=[1])), "regions has 1 entries for 2 probes"),
        (changed_heat(b"\6\6", regions=outlines(sizes=[1, 9])), "other sizes than the 2 bytes"),
        (changed_heat(b"\6\6", regions=outlines(sizes=[-1, 3])), "other sizes than the 2 bytes"),
        (changed_heat(b"\6\6", regions=outlines(shape=[1, 7])), "does not fill 1 x 7 cells"),
        (changed_heat(b"\6\6", regions=outlines(shape=[6])), r"\[6\]; expected \[h, w\]"),
        (changed_heat(b"\6\6", regions=outlines(shape=[0, 6])), "two numbers from 1 to 128"),
        (changed_heat(b"\6\6", regions=outlines(shape=[2**40, 6])), "two numbers from 1 to 128"),
        (changed_heat(alarms=[[0]]), "alarms is or holds a list; expected an object"),
        (changed_heat(alarms={"a": 0}), "a is or holds a int; expected a list"),
        (changed_heat(alarms={"a": [True]}), "a is or holds a bool; expected a whole number"),
        (changed_heat(alarms={"a": [0, 2]}), r"alarm 'a' names the probes \[0, 2\]; .* below 2"),
        (changed_heat(alarms={"a": [-1]}), "'a' names the probes"),
        (changed_heat(alarms={"a": [1, 1]}), "ascending"),
        (changed_heat(alarms={"a": [1, 0]}), "ascending"),
        (changed_heat(alarms={"a": [1]}, rules={"a": 1}), "a is or holds a int; expected text"),
        (changed_heat(alarms={"a": [1]}, rules={"b": "c"}), "a rule's alarm is 'b'"),
        (further_heat(shape=[2, 3, 10**15]), "but there are 24 bytes"),
        (further_heat(shape=[24, 1, 1]), "'rival' has maps of 24 of 2 probes"),
        (further_heat(shape=[2, 0, 12]), "all above 0"),
        (further_heat(shape=[2, 12]), r"expected \[N, h, w\]"),
        (further_heat(role="__proto__"), "a further class is called '__proto__'"),
        (further_heat(role="<b>"), "a further class is called '<b>'"),
        (further_heat(against_maxima=[1, 1]), "3 parts; expected 4"),
    ],
)
def test_what_is_wrong_with_heat_is_said(strings, message):
    with pytest.raises(RecordError, match=message):
        decode_heat(strings)


RULE = {
    "name": "a",
    "measure": "drift",
    "above": 0.5,
    "below": None,
    "for_passes": 1,
    "of": "mean",
}
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


def test_records_of_the_second_version_are_read():
    record = heat(also={"rival": further()})
    text, *blobs = encode_heat(record)
    fields = json.loads(text) | {"version": 2}
    for one in (fields, *fields["also"]):
        for name in ("against_maxima", "regions", "shape"):
            assert one.pop(name, None) is None or name == "shape"
    fields["shape"] = record.shape
    assert decode_heat([json.dumps(fields).encode(), *blobs]) == record
    text, *pictures = encode_probes(probes())
    fields = json.loads(text) | {"version": 2}
    del fields["label_texts"], fields["task"]
    assert decode_probes([json.dumps(fields).encode(), *pictures]) == probes()


def test_measures_of_the_third_version_are_read():
    record = probes()
    text, *pictures = encode_probes(record)
    fields = json.loads(text) | {"version": 3}
    for axis in fields["measures"]:
        del axis["unit"], axis["group"], axis["hint"], axis["worse"]
    bare = tuple(replace(axis, unit="", group="", hint="", worse="") for axis in record.measures)
    read = decode_probes([json.dumps(fields).encode(), *pictures])
    assert read == replace(record, measures=bare)


@pytest.mark.parametrize("gone", [None, "alarms"])
def test_records_from_before_alarms_are_read(gone):
    for record, encode, decode in (
        (heat(alarms={"wide": (1,)}), encode_heat, decode_heat),
        (probes(alarms=(an_alarm(),)), encode_probes, decode_probes),
    ):
        text, *rest = encode(record)
        fields = json.loads(text)
        if gone:
            del fields[gone]
        read = decode([json.dumps(fields).encode(), *rest])
        assert read == (replace(record, alarms=type(record.alarms)()) if gone else record)


@pytest.mark.parametrize(
    "changes",
    [
        {"measure": "drift"},
        {"above": 0.3},
        {"below": 0.1},
        {"above": None, "below": 0.25},
        {"for_passes": 3},
        {"of": "any"},
    ],
)
def test_a_rule_is_told_from_any_other(changes):
    assert an_alarm(**changes).rule != an_alarm().rule
    assert replace(an_alarm(), name="other").rule == an_alarm().rule


def test_the_rules_by_which_alarms_ring_come_back():
    record = heat(alarms={"wide": (1,), "a": ()}, rules={"wide": an_alarm().rule})
    assert decode_heat(encode_heat(record)) == record
    assert decode_heat(encode_heat(heat())).rules == {}


def test_a_measure_may_have_no_greatest_value():
    record = probes(measures=(SHIFT,))
    assert decode_probes(encode_probes(record)) == record


@pytest.mark.parametrize("score", ["contrast", "mean logit", "value", "similarity"])
def test_scores_of_every_kind_are_known(score):
    assert decode_probes(encode_probes(probes(score=score))).score == score


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
        (changed_probes(task="magic"), "task is 'magic'; expected one of multiclass, binary"),
        (changed_probes(task=1), "task is or holds a int; expected text"),
        (changed_probes(label_texts=["a"]), "label_texts has 1 entries for 2 probes"),
        (changed_probes(label_texts=["a", 2]), "label_texts is or holds a int"),
        (changed_probes(class_names="ab"), "class_names is or holds a str"),
        (changed_probes(measures={}), "measures is or holds a dict; expected a list"),
        (changed_probes(measures=[{"name": "a"}]), "label is missing"),
        (changed_probes(measures=[AXIS | {"percent": 1}]), "percent is or holds a int"),
        (
            changed_probes(measures=[AXIS | {"worse": "left"}]),
            "worse is 'left'; expected one of high",
        ),
        (changed_probes(measures=[AXIS | {"low": 1}]), "drift goes from 1.0 to 1.0"),
        (changed_probes(measures=[AXIS, AXIS]), "measures has 'drift' twice"),
        (changed_probes(measures=[AXIS | {"name": "alarms"}]), "a measure is called 'alarms'"),
        (changed_probes(alarms={}), "alarms is or holds a dict; expected a list"),
        (changed_probes(alarms=[1]), "int; expected an object"),
        (changed_probes(alarms=[RULE, RULE]), "alarms has 'a' twice"),
        (
            changed_probes(alarms=[RULE | {"measure": "shift"}]),
            "the measure of an alarm is 'shift'; expected one of drift, concentration",
        ),
        (changed_probes(alarms=[RULE | {"measure": "a b"}]), "a measure is called 'a b'"),
        (changed_probes(alarms=[RULE | {"name": ""}]), "an alarm is called ''; expected 1 to 200"),
        (changed_probes(alarms=[RULE | {"name": "a" * 201}]), "expected 1 to 200 characters"),
        (changed_probes(alarms=[RULE | {"name": 1}]), "name is or holds a int; expected text"),
        (changed_probes(alarms=[RULE | {"above": None}]), "'a' is above None or below None"),
        (changed_probes(alarms=[RULE | {"above": math.inf}]), "above is or holds a float"),
        (changed_probes(alarms=[RULE | {"for_passes": 0}]), "for_passes is 0; expected 1 or more"),
        (changed_probes(alarms=[RULE | {"for_passes": 1.5}]), "for_passes is or holds a float"),
        (changed_probes(alarms=[RULE | {"of": "all"}]), "of is 'all'; expected one of mean, any"),
        (changed_probes(alarms=[{"name": "a"}]), "measure is missing"),
        (changed_probes(measures=[AXIS | {"name": "steps()"}]), r"a measure is called 'steps\(\)'"),
    ],
)
def test_what_is_wrong_with_probes_is_said(strings, message):
    with pytest.raises(RecordError, match=message):
        decode_probes(strings)


def test_a_record_that_does_not_fit_itself_cannot_be_made():
    with pytest.raises(RecordError, match="'wide' is above nan"):
        an_alarm(above=math.nan)
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
