"""What of a batch or an item is fed, which of that is the picture, and what is the label."""

from __future__ import annotations

from collections import UserDict, namedtuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, default_collate

from lightning_ablationcam import ProbeSet
from lightning_ablationcam.network.inputs import tensors
from lightning_ablationcam.probes.batches import split_batch, split_item
from lightning_ablationcam.probes.capture import ProbeCapture
from lightning_ablationcam.probes.samples import Samples, joined_samples

Pair = namedtuple("Pair", "left right")

X = torch.rand(2, 3, 4, 4)
Z = torch.rand(2, 3, 4, 4)
AGE = torch.rand(2, 1)
FEATURES = torch.rand(2, 5)
Y = torch.tensor([1, 0])
HOT = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])


def paths(inputs):
    return [path for path, _ in tensors(inputs)]


@pytest.mark.parametrize(
    ("batch", "labels"),
    [
        (X, None),
        ((X,), None),
        ((X, Y), [1, 0]),
        ([X, Y[:, None], "more"], [[1], [0]]),
        ({"pixel_values": X, "labels": [4, 2]}, [4, 2]),
        (UserDict(image=X, y=Y), [1, 0]),
        ((X, ["a", "b"]), None),
        ((X, Y, torch.arange(2)), [1, 0]),
        ((["a.png", "b.png"], X, Y), [1, 0]),
        ((X, [{"boxes": torch.rand(3, 4)}, {"boxes": torch.rand(1, 4)}], Y), None),
        ({"image": X, "label": Y, "index": torch.arange(2), "path": ["a", "b"]}, [1, 0]),
        ({"image": X, "label": Y, "image_meta_dict": {"affine": torch.rand(2, 4, 4)}}, [1, 0]),
        ({"scan": X, "target": Y, "step": 3, "spacing": torch.rand(3)}, [1, 0]),
        ({"image": X, "label": Y, "mask": torch.ones(2, 1, 4, 4)}, [1, 0]),
        ({"image": X, "targets": [{"a": 1}, {"a": 2}]}, None),
        ({"image": X, "label": torch.arange(3)}, None),
        ({"image": X, "label": np.array(["a", "b"])}, None),
    ],
)
def test_one_tensor_is_fed_alone(batch, labels):
    found = split_batch(batch)
    assert found.inputs is X
    assert found.images is X
    assert found.shown is None
    assert (found.labels if found.labels is None else found.labels.tolist()) == labels


@pytest.mark.parametrize(
    ("batch", "fed", "shown", "labels"),
    [
        ({"image": X, "age": AGE, "y": Y}, ["image", "age"], "image", Y),
        ({"pixel_values": X, "input_ids": torch.ones(2, 7).long(), "labels": Y}, 2, None, Y),
        ({"inputs": {"image": X, "age": AGE}, "labels": Y}, ["image", "age"], "image", Y),
        (({"image": X}, Y), ["image"], "image", Y),
        ((X, AGE.expand(2, 3) + 0.1, Y), ["0", "1"], "0", Y),
        ((X, Z, Y), ["0", "1"], "0", Y),
        ((X, Z, FEATURES, Y, torch.arange(2)), ["0", "1", "2"], "0", Y),
        (((X, Z), Y, ["a", "b"]), ["0", "1"], "0", Y),
        ((X, Z, HOT), ["0", "1"], "0", HOT),
        ({"x": X[..., 0], "mask": torch.ones(2, 4), "y": Y}, ["x", "mask"], "x", Y),
        ({"image": X, "mask": torch.ones(2, 9), "age": AGE}, ["image", "mask", "age"], "image", 0),
    ],
)
def test_several_are_fed_as_they_come(batch, fed, shown, labels):
    found = split_batch(batch)
    assert (paths(found.inputs) if isinstance(fed, list) else len(paths(found.inputs))) == fed
    assert found.shown == (shown or "pixel_values")
    assert found.images.shape == X.shape or found.images.ndim == 3
    assert found.labels is labels or (labels == 0 and found.labels is None)


def test_a_mask_is_the_label_where_it_covers_the_image():
    masks = torch.ones(2, 1, 4, 4)
    found = split_batch({"image": X, "mask": masks})
    assert found.inputs is X
    assert found.labels is masks
    assert split_batch({"image": X, "mask": masks, "segmentation": masks * 2}).labels.max() == 2


def test_the_whole_batch_goes_along_without_what_is_no_tensor():
    found = split_batch((X, {"name": ["a", "b"], "y": Y}, ["a", "b"]))
    assert found.batch[0] is X
    assert found.batch[1] == {"y": Y}
    assert found.batch[2] is None
    assert split_batch(X).batch is None
    pair = split_batch(Pair(X, Y)).batch
    assert type(pair) is Pair
    assert pair.right is Y


def test_the_picture_can_be_chosen():
    assert split_batch((X, Z, Y), "1").images is Z
    assert split_batch({"inputs": {"a": X, "b": Z}, "y": Y}, "b").images is Z
    with pytest.raises(ValueError, match="shown='up' is not among the inputs: 'a'"):
        split_batch({"a": X, "b": Z}, "up")


def test_subclasses_become_ordinary():
    class Tagged(torch.Tensor):
        pass

    found = split_batch({"image": X.as_subclass(Tagged), "label": Y})
    assert type(found.inputs) is torch.Tensor
    assert type(found.batch["image"]) is torch.Tensor


CANNOT = "of which it cannot be told what the model is fed and what the labels are: '0'"


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"a": 1}, r"dict with keys \['a'\].*pixel_values"),
        ("text", "a str whose images cannot be found"),
        ([], "a list whose images cannot be found"),
        ((None, Y), "a tuple whose images cannot be found"),
        (([1, 2], X), "images cannot be found"),
        ((torch.tensor(1.0), Y), "images cannot be found"),
        ({"image": torch.tensor(1.0), "y": Y}, "images cannot be found"),
        ((Image.new("L", (2, 2)), Y), "a tuple whose images cannot be found"),
        ({"label": Y}, "images cannot be found"),
        ({"left": X, "right": Z, "y": Y}, "'left' .*say with shown=.*ProbeSet"),
        ((X, Z, FEATURES), CANNOT),
        # As the second of three they may be the labels or inputs.
        ((X, torch.ones(2, 5), Y), CANNOT),
        ((X, AGE, Y), CANNOT),
        ((X, torch.ones(2, 1, 4, 4), Y), CANNOT),
        ((X, torch.full((2, 5), 7), Y), CANNOT),
        ((X, {"age": AGE}, Y), CANNOT),
        ((X, Z, {"y": Y}), CANNOT),
        ((X.to_sparse(), Y), "sparse or has no values"),
    ],
)
def test_what_cannot_be_told_is_said(batch, message):
    with pytest.raises(TypeError, match=message):
        split_batch(batch)


@pytest.mark.parametrize(
    ("item", "labels"),
    [
        (X[0], None),
        ((X[0], 3), [3]),
        ((X[0], 0.5), [0.5]),
        ((X[0], True), [True]),
        ((X[0], np.int32(4)), [4]),
        ((X[0], "cat"), None),
        ((X[0].numpy(), [0, 1, 1]), [[0, 1, 1]]),
        (("a.png", X[0], 3), [3]),
        ({"image": X[0], "label": torch.tensor(2)}, [2]),
    ],
)
def test_an_item_is_a_batch_of_one(item, labels):
    found = split_item(item)
    assert torch.equal(found.images, X[:1])
    assert (found.labels if found.labels is None else found.labels.tolist()) == labels


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        ((Image.new("L", (2, 2)), 1), TypeError, "image is a Image"),
        ({"image": Image.new("L", (2, 2))}, TypeError, "image is a Image"),
        ((3, X[0]), TypeError, "image is a int"),
        (torch.rand(4), ValueError, r"image has shape \(4,\); expected \(C, H, W\), \(C, L\)"),
        (({"n": "a"}, 2), TypeError, "dataset item, as a batch of one: .*cannot be found"),
        (({"n": 1}, 2), ValueError, r"image has shape \(\)"),
        (X[0].to_sparse(), TypeError, "dataset item.*sparse"),
    ],
)
def test_items_without_images_are_refused(item, error, message):
    with pytest.raises(error, match=message):
        split_item(item)


def test_joined_samples_keep_what_they_have_in_common():
    whole = split_batch({"image": X, "age": AGE, "label": Y})
    parts = [whole.rows(slice(1)), whole.rows(slice(1, 2))]
    found = joined_samples(parts)
    assert torch.equal(found.images, X)
    assert found.batch["image"] is found.inputs["image"]
    assert found.batch["label"] is found.labels
    # Labels that are whole in one part and not in the other.
    mixed = joined_samples([Samples(X, labels=Y), Samples(X, labels=Y + 0.5)])
    assert mixed.labels.tolist() == [1, 0, 1.5, 0.5]
    counts = joined_samples([Samples(X, labels=Y), Samples(X, labels=Y.to(torch.uint8))])
    assert counts.labels.dtype == torch.int64
    assert joined_samples([Samples(X, labels=Y), Samples(X)]).labels is None
    assert joined_samples([Samples(X, labels=Y), Samples(X, labels=FEATURES)]).labels is None
    with pytest.raises(ValueError, match=r"different shapes \[\(3, 2, 4\), \(3, 4, 4\)\]"):
        joined_samples([Samples(X), Samples(X[:, :, :2])])
    with pytest.raises(ValueError, match=r"differ between images, .*float32 and .*float64"):
        joined_samples([Samples(X), Samples(X.double())])


class Items:
    """Images with an age, as dicts."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        if index >= 6:
            raise IndexError(index)
        image = torch.full((1, 4, 4), float(index))
        return {"image": image, "age": float(index), "label": index % 2, "file": f"{index}.png"}


def test_datasets_and_loaders_of_dicts():
    for probes in (
        ProbeSet.from_dataset(Items(), n=6),
        ProbeSet.from_dataloader(DataLoader(Items(), batch_size=4), n=6),
    ):
        assert probes.inputs["age"].tolist() == [0, 1, 2, 3, 4, 5]
        assert probes.images is probes.inputs["image"]
        assert probes.labels.tolist() == [0, 1, 0, 1, 0, 1]
        assert probes.batch.keys() == {"image", "age", "label"}
        assert probes.batch["image"] is probes.images
    assert ProbeSet.from_dataset(Items(), per_class=1).inputs["age"].tolist() == [0, 1]


def test_datasets_and_loaders_of_two_views():
    items = [((torch.full((1, 4, 4), float(i)), torch.rand(1, 4, 4)), i, "name") for i in range(4)]
    read = ProbeSet.from_dataloader(DataLoader(items, batch_size=2), n=3)
    taken = ProbeSet.from_dataset(items, indices=[0, 1, 2])
    for probes in (read, taken):
        assert probes.shown == "0"
        assert torch.equal(probes.images, default_collate([x for (x, _), *_ in items[:3]]))
        assert probes.labels.tolist() == [0, 1, 2]
    assert ProbeSet.from_dataset(items, n=2, shown="1").shown == "1"
    pairs = [{"left": left, "right": right, "y": y % 2} for (left, right), y, _ in items]
    assert ProbeSet.from_dataset(pairs, per_class=1, shown="right").labels.tolist() == [0, 1]
    with pytest.raises(TypeError, match=r"dataset item, as a batch of one: .*'left'.*shown="):
        ProbeSet.from_dataset(pairs, per_class=1)
    with pytest.raises(
        ValueError, match=r"a batch of shape \(2, 5\); expected images of shape \(N"
    ):
        ProbeSet.from_dataloader([FEATURES])
    with pytest.raises(ValueError, match="shown='image' is not among"):
        ProbeSet.from_dataloader(DataLoader(items), shown="image")
    with pytest.raises(ValueError, match="shown='0', but inputs is a single tensor"):
        ProbeSet.from_dataset([torch.rand(1, 4, 4)], shown="0")


def test_lists_of_single_images_are_a_batch():
    pictures = [torch.rand(3, 8, 9) for _ in range(2)]
    targets = [{"boxes": torch.rand(n, 4), "labels": torch.ones(n)} for n in (1, 2)]
    for beside in (targets, torch.tensor([0, 1]), [0, 1]):
        found = split_batch((pictures, beside))
        assert torch.equal(found.inputs, torch.stack(pictures))
        assert found.shown is None
    with pytest.raises(TypeError, match="images cannot be found"):
        split_batch(([torch.rand(3, 8, 9), torch.rand(3, 7, 9)], targets))


def test_without_labels_the_first_of_several_tensors_is_fed():
    triplet = tuple(torch.rand(2, 3, 8, 8) for _ in range(3))
    strict, free = ProbeCapture(2), ProbeCapture(2, labelled=False)
    for capture in (strict, free):
        capture.offer(triplet)
    assert len(strict) == 0
    assert "cannot be told" in strict.problem
    assert torch.equal(free.samples.inputs, triplet[0])
    assert "the first of several tensors is fed" in free.notes[0]


def test_what_differs_from_batch_to_batch_is_left_out():
    capture = ProbeCapture(4)
    for length in (5, 7):
        words = torch.ones(2, length, dtype=torch.int64)
        capture.offer({"pixel_values": torch.rand(2, 3, 8, 8), "labels": [0, 1], "words": words})
    assert len(capture) == 4
    assert capture.samples.inputs.shape == (4, 3, 8, 8)
    assert capture.samples.labels.tolist() == [0, 1, 0, 1]
    capture.offer({"pixel_values": torch.rand(2, 3, 9, 9), "labels": [2, 3]})
    assert "different shapes" in capture.problem
    assert [note.split(",")[0].split(":")[0] for note in capture.notes] == [
        "what is fed beside the images differs from batch to batch",
        "batches were passed over",
    ]
