"""What labels can be: classes, several classes, values, maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from lightning_ablationcam import ProbeSet
from lightning_ablationcam.probes.capture import ProbeCapture
from lightning_ablationcam.probes.labels import readable

X = torch.rand(2, 3, 4, 4)
MAP = torch.tensor([[0, 1], [255, -1]]).repeat(2, 2).expand(2, 4, 4)


@pytest.mark.parametrize(
    ("labels", "kind", "held"),
    [
        ([3, 5], "class", [3, 5]),
        (torch.tensor([[3], [5]]), "class", [3, 5]),
        (np.array([0.0, 1.0]), "class", [0, 1]),
        (torch.tensor([[1.0], [0.0]]), "class", [1, 0]),
        ([True, False], "class", [1, 0]),
        (torch.tensor([3, 5], dtype=torch.uint8), "class", [3, 5]),
        ([[0, 1, 1], [0, 0, 0]], "multi-hot", [[False, True, True], [False] * 3]),
        (torch.tensor([[0.0, 1.0], [1.0, 0.0]]), "multi-hot", [[False, True], [True, False]]),
        (torch.tensor([[True, True], [True, False]]), "multi-hot", [[True, True], [True, False]]),
        ([25.0, 31.5], "value", [25.0, 31.5]),
        (torch.tensor([[0.5], [1.0]]), "value", [0.5, 1.0]),
        (MAP, "map", MAP.tolist()),
        (MAP[:, None].to(torch.int32), "map", MAP.tolist()),
        (MAP.float(), "map", MAP.tolist()),
        ((MAP == 1).float(), "map", (MAP == 1).long().tolist()),
        ([(MAP == 1)[0], (MAP == 1)[1]], "map", (MAP == 1).long().tolist()),
    ],
)
def test_labels_of_each_kind(labels, kind, held):
    probes = ProbeSet(X, labels)
    assert probes.label_kind == kind
    assert probes.labels.tolist() == held
    dtypes = {"multi-hot": torch.bool, "value": torch.float64}
    assert probes.labels.dtype == dtypes.get(kind, torch.int64)


def test_maps_have_the_size_of_signals_and_volumes():
    signals, volumes = torch.rand(2, 1, 5), torch.rand(2, 1, 2, 4, 4)
    assert ProbeSet(signals, torch.ones(2, 5)).label_kind == "map"
    assert ProbeSet(signals, torch.ones(2, 6)).label_kind == "multi-hot"
    assert ProbeSet(volumes, torch.ones(2, 1, 2, 4, 4)).labels.shape == (2, 2, 4, 4)


def test_the_kind_can_be_said_where_values_leave_it_open():
    values = ProbeSet(X, [0.0, 1.0], label_kind="value")
    assert values.labels.tolist() == [0.0, 1.0]
    assert values.label_kind == "value"
    several = ProbeSet(torch.rand(2, 1, 5), torch.ones(2, 5), label_kind="multi-hot")
    assert several.label_kind == "multi-hot"
    with pytest.raises(ValueError, match=r"label_kind='one' is not known; choose 'class', 'm"):
        ProbeSet(X, [0, 1], label_kind="one")
    with pytest.raises(ValueError, match=r"expected one for each .* what label_kind='map' stands"):
        ProbeSet(X, [0, 1], label_kind="map")


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (torch.rand(2, 5), ValueError, r"labels has shape \(2, 5\) and dtype torch.float32; exp"),
        (torch.rand(2, 4, 4), ValueError, "expected one for each of the 2 images: whole numbers"),
        ([[0, 2], [1, 0]], ValueError, "labels has shape"),
        ([0, 1, 2], ValueError, r"labels has shape \(3,\)"),
        (torch.tensor([1j, 2j]), TypeError, "is complex, sparse or has no values"),
        (torch.tensor([1, 2]).to_sparse(), TypeError, "is complex, sparse"),
        (["cat", "dog"], TypeError, r"labels=\['cat', 'dog'\]; expected whole numbers"),
        ([torch.ones(2), torch.ones(3)], TypeError, "expected whole numbers"),
    ],
)
def test_other_labels_are_refused(labels, error, message):
    with pytest.raises(error, match=message):
        ProbeSet(X, labels)


def test_texts_and_names():
    names = ["cat", "dog", "owl"]
    one = ProbeSet(X, [1, 5], class_names=names)
    assert one.label_texts() == ["dog", "class 5"]
    assert one.names == ["00_dog", "01_class5"]
    several = ProbeSet(X, [[1, 0, 1, 1], [0, 0, 0, 0]], class_names=names)
    assert several.label_texts() == ["cat, owl, class 3", None]
    assert several.names == ["00_cat", "01"]
    values = ProbeSet(X, [1 / 3, float("nan")])
    assert values.label_texts() == ["0.333333", "nan"]
    assert values.names == ["00", "01"]
    assert ProbeSet(X, MAP).label_texts() == [None, None]
    assert ProbeSet(X).label_texts() == [None, None]
    assert ProbeSet(X, [0, -1], class_names=names).names == ["00_cat", "01_class-1"]


def test_the_classes_of_images_with_several():
    x = torch.rand(3, 1, 2, 2)
    several = ProbeSet(x, [[0, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 1]])
    assert several.first_classes().tolist() == [1, -1, 0]
    assert [each.tolist() for each in several.further_classes(9)] == [[2, -1, 3], [3, -1, -1]]
    assert [each.tolist() for each in several.further_classes(1)] == [[2, -1, 3]]
    single = ProbeSet(x, [4, 5, 6])
    assert single.first_classes().tolist() == [4, 5, 6]
    assert single.further_classes(2) == []
    for other in (ProbeSet(x), ProbeSet(x, [0.5, 1.5, 2.5])):
        with pytest.raises(ValueError, match=r"the labels are of kind .*; expected classes"):
            other.first_classes()
    with pytest.raises(ValueError, match="most=0; expected a whole number"):
        several.further_classes(0)


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (torch.tensor([0.0, 1.0, 1.0, 0.0]), "class"),
        (torch.tensor([0.0, 1.0, 0.5, 0.0]), "value"),
        (torch.eye(4), "multi-hot"),
        (torch.ones(4, 1, 3, 3), "map"),
        (torch.rand(4, 5), None),
    ],
)
def test_labels_are_read_from_datasets_and_loaders(labels, kind):
    data = TensorDataset(torch.rand(4, 2, 3, 3), labels)
    expected = ProbeSet(data.tensors[0], labels).labels if kind else None
    for probes in (ProbeSet.from_dataset(data), ProbeSet.from_dataloader(DataLoader(data, 3))):
        assert probes.label_kind == kind
        assert expected is None or torch.equal(probes.labels, expected)
        assert torch.equal(probes.batch[1].reshape(labels.shape), labels)


def test_per_class_means_class_indices():
    data = TensorDataset(torch.arange(6.0).view(6, 1, 1, 1), torch.tensor([0.0, 1, 1, 0, 1, 0]))
    assert ProbeSet.from_dataset(data, per_class=2).images.flatten().tolist() == [0, 3, 1, 2]
    with pytest.raises(ValueError, match="item 0 of the dataset has no label that is a whole"):
        ProbeSet.from_dataset(TensorDataset(torch.rand(2, 1, 2, 2), torch.eye(2)), per_class=1)


def offered(capture, labels, start=0):
    images = torch.arange(start, start + len(labels)).float().view(-1, 1, 1, 1)
    capture.offer((images.expand(-1, 1, 2, 2), labels))
    return capture


def test_images_of_several_classes_are_balanced_by_the_rarest():
    capture = ProbeCapture(3)
    common = torch.tensor([[1, 0, 0]]).expand(3, 3)
    offered(capture, common)
    offered(capture, torch.tensor([[1, 0, 1], [0, 0, 0], [1, 0, 0]]), start=3)
    kept = capture.samples
    assert kept.images[:, 0, 0, 0].tolist() == [0, 3, 4]


def test_values_are_not_balanced_and_stay_values():
    capture = offered(ProbeCapture(2), torch.tensor([0.0, 1.0]))
    assert capture.label_kind is None
    offered(capture, torch.tensor([2.5, 0.0]), start=2)
    assert capture.label_kind == "value"
    offered(capture, torch.tensor([0.0, 1.0, 1.0, 1.0, 1.0]), start=4)
    kept = capture.samples
    assert kept.images[:, 0, 0, 0].tolist() == [0, 1]
    assert ProbeSet.of_samples(kept, capture.label_kind).labels.tolist() == [0.0, 1.0]


def test_maps_are_kept_as_they_come():
    capture = offered(ProbeCapture(2), torch.full((3, 2, 2), 255))
    assert ProbeSet.of_samples(capture.samples, capture.label_kind).label_kind == "map"


def test_black_and_white_masks_have_the_classes_0_and_1():
    mask = torch.zeros(2, 4, 4)
    mask[:, 1] = 255
    assert readable(mask, (2, 4, 4)).unique().tolist() == [0, 1]
    mask[0, 0, 0] = 1
    assert readable(mask, (2, 4, 4)).unique().tolist() == [0, 1, 255]
