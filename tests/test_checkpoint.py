from __future__ import annotations

import copy
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning.callbacks import ModelCheckpoint

from lightning_ablationcam import AblationCAMMonitor, ProbeSet
from lightning_ablationcam.network.inputs import tensors
from lightning_ablationcam.run import explainer
from lightning_ablationcam.run.checkpoint import StateError, checked_state
from tests.lightning import Module, loaders, trainer
from tests.networks import images
from tests.tolerances import Engine

# Lightning's own warning: the checkpoint it goes on from is in another folder.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:Your `val_dataloader`'s sampler has shuffling enabled"),
]

JUNK = [
    None,
    True,
    -1,
    2**70,
    float("nan"),
    "text",
    b"bytes",
    [],
    [None],
    {},
    {"a": 1},
    object(),
    torch.tensor([1.0, 2.0]),
    torch.empty(0),
    torch.zeros(3, 4, 4, device="meta"),
    torch.eye(3).to_sparse(),
]


def monitor(**options):
    probes = ProbeSet(images(3, seed=9), labels=[0, 1, 2])
    return AblationCAMMonitor("model.conv", **{"probes": probes, **options})


def fit(folder, watching, epochs, checkpoint=None):
    torch.manual_seed(epochs)
    keep = ModelCheckpoint(folder, filename=f"{epochs}", enable_version_counter=False)
    runner = trainer(folder, watching, keep, max_epochs=epochs, enable_checkpointing=True)
    runner.fit(Module(), *loaders(), ckpt_path=checkpoint)
    return folder / f"{epochs}.ckpt", runner


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A checkpoint with two passes, of chosen tolerance, over probes kept from validation."""
    watching = monitor(probes=3, tolerance="auto", max_overhead=0.9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explainer, "explain_classes", Engine())
        return fit(tmp_path_factory.mktemp("whole"), watching, 2)[0]


def state_of(path):
    callbacks = torch.load(path, weights_only=True)["callbacks"]
    return next(value for key, value in callbacks.items() if "AblationCAMMonitor" in key)


@pytest.fixture(scope="module")
def good(whole):
    return state_of(whole)


def places(state, way=()):
    """The way to every value in a state."""
    for key in state if isinstance(state, dict) else range(len(state)):
        yield (*way, key)
        if isinstance(state[key], (dict, list)):
            yield from places(state[key], (*way, key))


def changed(state, way, value=None, *, remove=False):
    state = copy.deepcopy(state)
    place = state
    for key in way[:-1]:
        place = place[key]
    if remove:
        del place[way[-1]]
    else:
        place[way[-1]] = value
    return state


def test_a_good_state_is_taken_as_it_is(good):
    checked = checked_state(good)
    assert checked.keys() == good.keys()
    assert checked["history"]["passes"][1].keys() == good["history"]["passes"][1].keys()
    for way in places(good):
        before, after = good, checked
        for key in way:
            before, after = before[key], after[key]
        if isinstance(before, torch.Tensor):
            assert torch.equal(before, after), way
        elif not isinstance(before, (dict, list)):
            assert before == after, way


def test_fields_that_are_not_known_are_left_out(good):
    more = changed(good, ("history", "passes", 0, "later"), object())
    assert "later" not in checked_state({**more, "also": 1})["history"]["passes"][0]


def test_whatever_is_missing_is_named(good):
    # What an earlier version did not write, or wrote elsewhere, may be missing.
    free = {"scalars", "measures", "top_classes", "top_probabilities", "also", "strongest"}
    free |= {"masks", "shown", "batch", "signed", "regions", "task", "made", "owed", "alarms"}
    free |= {"rules"}
    ways = [way for way in places(good) if not isinstance(way[-1], int) and not free & {*way}]
    ways.remove(("budget",))
    assert ("budget", "ladder", "taken", 0, "share") in ways
    assert len(ways) > 20
    for way in ways:
        with pytest.raises(StateError, match=f"{way[-1]} is missing|it is of version None"):
            checked_state(changed(good, way, remove=True))


def test_whatever_is_something_else_is_refused_or_the_same_for_later_code(good):
    # Other valid contents: absent measures and steps, any text, any number of validations or
    # seconds.
    harmless = longest = 0
    for way in places(good):
        for junk in JUNK:
            state = changed(good, way, junk)
            try:
                checked = checked_state(state)
            except StateError as error:
                longest = max(longest, len(str(error)))
            else:
                harmless += 1
                AblationCAMMonitor().history.from_state(checked["history"])
    assert longest < 300
    assert harmless < 80


@pytest.mark.parametrize(
    ("way", "value", "message"),
    [
        (("version",), 2, "it is of version 2, and this version reads 1"),
        (("validations",), -1, "validations is -1; expected a whole number"),
        (
            ("history", "strongest"),
            torch.zeros(2),
            "history.strongest is a tensor",
        ),
        (("history", "passes", 1, "step"), 0, r"passes\[1\] is of step 0, after"),
        (("history", "passes", 1, "layer"), "other", r"passes\[1\] is of another layer"),
        (("history", "passes", 1, "layer"), "x" * 10**6, "has 1000000 characters; expected 1000"),
        (("history", "passes", 0, "classes"), torch.zeros(3), r"passes\[0\].classes is a tensor"),
        (("history", "passes"), [{}] * 65, "has 65 entries; expected 64 at most"),
        (("probes", "fingerprint"), None, "not of which probes"),
        (
            ("history", "passes", 0, "also", "rival", "heatmaps"),
            torch.ones(2, 2, 2),
            "also.'rival' has 2 maps; expected 3",
        ),
        (
            ("history", "passes", 0, "signed"),
            torch.ones(3, 2, 2),
            r"signed is a tensor of torch.float32 and shape \(3, 2, 2\); expected torch.float32 of",
        ),
        (
            ("history", "passes", 0, "regions"),
            {"shape": (129, 1), "bits": torch.zeros(3, 17, dtype=torch.uint8)},
            "regions.shape is a list; expected two numbers from 1 to 128",
        ),
        (
            ("history", "passes", 0, "regions"),
            {"shape": (9, 1), "bits": torch.zeros(3, 1, dtype=torch.uint8)},
            r"regions.bits is a tensor .*; expected torch.uint8 of shape \(3, 2\)",
        ),
        (
            ("history", "passes", 0, "also", "rival", "error"),
            torch.zeros(3),
            "error is a tensor of torch.float32",
        ),
        (("budget",), [1], "budget is a list; expected a dict"),
        (("budget", "spent"), -1.0, "budget.spent is -1.0; expected a number of at least 0"),
        (("budget", "chances"), 2**63 - 1, "budget.chances is .*; expected 4611686018427387904 at"),
        (("budget", "ladder", "at"), 5, "budget.ladder.at is 5; expected 4 at most"),
        (("budget", "ladder", "at"), 0.5, "ladder.at is 0.5; expected a whole number"),
        (("budget", "ladder", "taken"), 5, "ladder.taken is 5; expected a list"),
        (("budget", "ladder", "taken", 0, "share"), 1.5, r"taken\[0\].share is 1.5; expected .* 1"),
        (("budget", "ladder", "taken", 0, "age"), -1, r"taken\[0\].age is -1; expected"),
        (("probes", "kept", "inputs"), torch.zeros(4, 3, 8, 8), "labels is a tensor"),
        (("scalars", "drift"), float("inf"), "scalars.'drift' is inf; expected a finite number"),
        (("scalars", "drift"), 10**400, "is a huge number"),
    ],
)
def test_the_message_says_what_was_wrong(good, way, value, message):
    with pytest.raises(StateError, match=message):
        checked_state(changed(good, way, value))


@pytest.mark.parametrize("taken", [[], [None], [None] * 7])
def test_a_budget_of_other_steps_is_left_out_alone(good, taken):
    state = changed(good, ("budget", "ladder", "taken"), taken)
    state["budget"]["ladder"]["at"] = 6
    checked = checked_state(state)
    assert checked.pop("budget") is None
    assert checked.keys() == good.keys() - {"budget"}
    assert len(checked["history"]["passes"]) == 2
    assert checked["validations"] == good["validations"]


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
nests = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner)
)


@settings(max_examples=60)
@given(nests)
def test_anything_else_is_refused(state):
    with pytest.raises(StateError):
        checked_state(state)


DAMAGED = {
    "nothing of ours": lambda good: {"current_score": 1.0, "best_k_models": {}},
    "a list": lambda good: [1, 2],
    "a later version": lambda good: {"version": 7, "story": {}},
    "maxima cut short": lambda good: changed(good, ("history", "strongest"), torch.zeros(1)),
    "a list for the history": lambda good: changed(good, ("history",), [1]),
    "a pass cut short": lambda good: changed(
        good, ("history", "passes", 1, "scores"), torch.zeros(1)
    ),
    "scalars that are text": lambda good: changed(good, ("scalars", "drift"), "high"),
    "probes that are no images": lambda good: changed(
        good, ("probes", "kept", "inputs"), torch.zeros(3)
    ),
    "other probes than it says": lambda good: changed(
        good, ("probes", "kept", "inputs"), torch.zeros(3, 3, 8, 8)
    ),
    "a history of later steps": lambda good: changed(good, ("history", "passes", 1, "step"), 10**9),
    "a budget that is text": lambda good: changed(good, ("budget", "elapsed"), "long"),
    "probes without labels": lambda good: changed(good, ("probes", "kept", "labels"), None),
}


@pytest.mark.parametrize("on_error", ["warn", "raise"])
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_state_ends_no_fit(tmp_path, whole, damage, on_error):
    checkpoint = torch.load(whole, weights_only=True)
    (key,) = (key for key in checkpoint["callbacks"] if "AblationCAMMonitor" in key)
    checkpoint["callbacks"][key] = DAMAGED[damage](checkpoint["callbacks"][key])
    path = tmp_path / "damaged.ckpt"
    torch.save(checkpoint, path)
    watching = monitor(probes=3, on_error=on_error)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, runner = fit(tmp_path, watching, 3, path)
    told = [str(w.message) for w in caught if "history starts afresh" in str(w.message)]
    assert len(told) == 1, [str(w.message) for w in caught]
    assert [seen.epoch for seen in watching.history.passes] == [2]
    assert runner.callback_metrics["ablation_cam/drift"] == 1
    assert not torch.equal(watching.probes.inputs, torch.zeros(3, 3, 8, 8))


def test_a_whole_state_is_gone_on_with(tmp_path, whole):
    watching = monitor(probes=3)
    fit(tmp_path, watching, 3, whole)
    assert [seen.epoch for seen in watching.history.passes] == [0, 1, 2]


def as_first_written(state):
    """A state from before measures were kept together, probes had masks and classes rivals."""
    state = copy.deepcopy(state)
    for later in ("masks", "shown", "batch"):
        del state["probes"]["kept"][later]
    for seen in state["history"]["passes"]:
        measures = seen.pop("measures")
        seen |= {name: measures.get(name) for name in ("drift", "concentration")}
        for later in ("top_classes", "top_probabilities", "also", "signed", "regions"):
            del seen[later]
    state["history"]["maxima"] = state["history"].pop("strongest").float()
    return state


def test_a_state_of_the_version_before_is_read(good):
    checked = checked_state(as_first_written(good))
    assert [set(seen["measures"]) for seen in checked["history"]["passes"]] == [
        {"concentration"},
        {"drift", "concentration"},
    ]
    for old, new in zip(checked["history"]["passes"], good["history"]["passes"], strict=True):
        assert all(
            torch.equal(old["measures"][name], new["measures"][name]) for name in old["measures"]
        )
    kept = checked["probes"]["kept"]
    assert (kept["masks"], kept["shown"], kept["batch"]) == (None, None, None)


def test_masks_of_probes_go_along(good):
    masks = torch.ones(3, 8, 8, dtype=torch.bool)
    kept = checked_state(changed(good, ("probes", "kept", "masks"), masks))["probes"]["kept"]
    assert torch.equal(kept["masks"], masks)
    with pytest.raises(StateError, match="masks is a tensor"):
        checked_state(changed(good, ("probes", "kept", "masks"), masks[:2]))


def several(good, **changes):
    """A state whose probes are fed an image and a table."""
    image = good["probes"]["kept"]["inputs"]
    kept = {
        **good["probes"]["kept"],
        "inputs": {"image": image, "table": torch.rand(3, 5)},
        "shown": "image",
        "batch": {"image": image, "more": (None, torch.rand(3)), 7: [torch.rand(3, 2)]},
    }
    return changed(good, ("probes", "kept"), {**kept, **changes})


def test_several_inputs_and_the_batch_go_along(good):
    state = several(good)
    kept = checked_state(state)["probes"]["kept"]
    given = state["probes"]["kept"]
    for name in ("inputs", "batch"):
        assert [p for p, _ in tensors(kept[name])] == [p for p, _ in tensors(given[name])]
        pairs = zip(tensors(kept[name]), tensors(given[name]), strict=True)
        assert all(torch.equal(mine, yours) for (_, mine), (_, yours) in pairs)
    assert kept["batch"]["more"][0] is None


@pytest.mark.parametrize("axes", [(), (5,), (2, 2)])
def test_maps_of_any_number_of_dimensions_go_along(good, axes):
    state = copy.deepcopy(good)
    for seen in state["history"]["passes"]:
        for part in (seen, *seen["also"].values()):
            part["heatmaps"] = torch.rand(3, 4, *axes)
    AblationCAMMonitor().history.from_state(checked_state(state)["history"])


LABELS = {
    "several": torch.ones(3, 5, dtype=torch.bool),
    "values": torch.rand(3).double(),
    "maps": torch.ones(3, 8, 8, dtype=torch.int64),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_all_kinds_go_along(good, kind):
    labels = LABELS[kind]
    kept = checked_state(changed(good, ("probes", "kept", "labels"), labels))["probes"]["kept"]
    assert torch.equal(kept["labels"], labels)
    for wrong in (labels[:2], labels.to(torch.int32), labels[..., None]):
        with pytest.raises(StateError, match="labels is a tensor"):
            checked_state(changed(good, ("probes", "kept", "labels"), wrong))


def loop():
    nested = []
    nested.extend([nested] * 20)
    return nested


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shown": "other"}, "shown is 'other', which is not among the inputs"),
        ({"shown": None}, "shown is None, which is not among the inputs"),
        ({"shown": 3}, "shown is 3; expected text"),
        ({"shown": "table"}, "inputs.'table' is a tensor"),
        ({"inputs": torch.rand(3, 3, 8, 8)}, "shown is 'image', which is not among"),
        ({"inputs": {}}, "inputs is a dict; expected a tensor"),
        (
            {"inputs": {"image": torch.rand(3, 3, 8, 8), "n": torch.rand(2)}},
            "inputs has other rows",
        ),
        ({"inputs": {"image": torch.rand(3, 3, 8, 8), "n": torch.tensor(1)}}, "inputs has other"),
        ({"inputs": {"image": torch.rand(3, 3, 8, 8), "n": "text"}}, "inputs.'n' is 'text'; exp"),
        ({"inputs": {"image": torch.rand(3, 3, 8, 8), None: torch.rand(3)}}, "a name in .*inputs"),
        ({"batch": {"image": torch.rand(2, 1)}}, "batch has other rows than the 3 probes"),
        ({"batch": [None]}, "batch has other rows"),
        ({"batch": torch.rand(3)}, "batch is a tensor .*; expected several tensors"),
        ({"batch": loop()}, "batch.*deeper or has more parts than a batch has"),
        ({"batch": {"x": {1, 2}}}, "batch.'x' is a set; expected a tensor"),
    ],
)
def test_several_inputs_are_checked(good, changes, message):
    with pytest.raises(StateError, match=message):
        checked_state(several(good, **changes))


def test_heatmaps_of_another_number_of_probes_are_refused(tmp_path):
    path, _ = fit(tmp_path, monitor(), 1)
    checkpoint = torch.load(path, weights_only=True)
    (key,) = (key for key in checkpoint["callbacks"] if "AblationCAMMonitor" in key)
    history = checkpoint["callbacks"][key]["history"]
    history["strongest"] = history["strongest"][:2]
    for seen in history["passes"]:
        for part in (seen, seen["measures"], *seen["also"].values()):
            part |= {name: v[:2] for name, v in part.items() if isinstance(v, torch.Tensor)}
    torch.save(checkpoint, tmp_path / "cut.ckpt")
    watching = monitor()
    with pytest.warns(UserWarning, match="it holds heatmaps of 2 probes, and there are 3; the his"):
        fit(tmp_path, watching, 2, tmp_path / "cut.ckpt")
    assert [seen.epoch for seen in watching.history.passes] == [1]


def test_a_history_of_later_steps_is_left_with_a_line_that_says_so(tmp_path, whole):
    checkpoint = torch.load(whole, weights_only=True)
    (key,) = (key for key in checkpoint["callbacks"] if "AblationCAMMonitor" in key)
    checkpoint["callbacks"][key]["history"]["passes"][1]["step"] = 10**9
    torch.save(checkpoint, tmp_path / "later.ckpt")
    watching = monitor(probes=3)
    with pytest.warns(UserWarning, match="reaches to step 1000000000, and this pass is of step 15"):
        fit(tmp_path, watching, 3, tmp_path / "later.ckpt")
    assert [seen.epoch for seen in watching.history.passes] == [2]
