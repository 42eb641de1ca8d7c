from __future__ import annotations

import io
from collections import namedtuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from lightning_ablationcam import ProbeSet
from lightning_ablationcam.probes.capture import ProbeCapture
from lightning_ablationcam.probes.source import ProbeSource


def dataset(count=12, classes=3):
    images = torch.arange(count).float().view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    return TensorDataset(images, torch.arange(count) % classes)


def numbers(probes):
    return probes.inputs[:, 0, 0, 0].tolist()


class Items(Dataset):
    """A map-style dataset of dicts, with a random transform and class names."""

    classes = ("ant", "bee", "cat")

    def __len__(self):
        return 6

    def __getitem__(self, index):
        if not 0 <= index < 6:
            raise IndexError(index)
        return {"image": torch.full((3, 2, 2), float(index)) + torch.rand(1), "label": index % 3}


def test_from_dataset_per_class_indices_and_n():
    data = dataset()
    probes = ProbeSet.from_dataset(data, per_class=2)
    assert numbers(probes) == [0, 3, 1, 4, 2, 5]
    assert probes.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert numbers(ProbeSet.from_dataset(data, indices=[5, -1])) == [5, 11]
    assert numbers(ProbeSet.from_dataset(data, n=4)) == [0, 4, 7, 11]
    assert len(ProbeSet.from_dataset(data)) == 12
    subset = Subset(data, [11, 10, 9, 8])
    assert numbers(ProbeSet.from_dataset(subset, per_class=1)) == [9, 10, 11]


def test_per_class_trusts_targets_only_where_the_items_agree():
    class Mapped(Items):
        def __init__(self, targets):
            self.targets = targets

    for targets in ([2, 1, 0, 2, 1, 0], [[0, 1]] * 6, ["ant"] * 6, [0, 1]):
        probes = ProbeSet.from_dataset(Mapped(targets), per_class=1)
        assert probes.labels.tolist() == [0, 1, 2]
        assert probes.inputs[:, 0, 0, 0].int().tolist() == [0, 1, 2]


def test_from_dataset_leaves_random_numbers_and_reads_names():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    probes = ProbeSet.from_dataset(Items(), per_class=1)
    assert torch.equal(torch.rand(1), expected)
    assert probes.names == ["00_ant", "01_bee", "02_cat"]
    assert probes.class_name(1) == "bee"
    assert probes.class_name(9) == "class 9"


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        ({"n": 2, "per_class": 1}, "per_class and n are given"),
        ({"n": 0}, "n=0; expected a whole number of at least 1"),
        ({"per_class": -1}, "per_class=-1"),
        ({"indices": [12]}, "indices contains 12; the dataset has 12 items"),
        ({"indices": []}, "is empty"),
    ],
)
def test_from_dataset_errors(arguments, pattern):
    with pytest.raises(ValueError, match=pattern):
        ProbeSet.from_dataset(dataset(), **arguments)


def test_from_dataset_needs_labels_tensors_and_a_length():
    with pytest.raises(ValueError, match="item 0 of the dataset has no label"):
        ProbeSet.from_dataset(TensorDataset(torch.rand(2, 1, 2, 2)), per_class=1)
    with pytest.raises(TypeError, match="image is a Image"):
        ProbeSet.from_dataset([(Image.new("L", (2, 2)), 1)])
    with pytest.raises(TypeError, match="without a length"):
        ProbeSet.from_dataset(iter([1]))
    with pytest.raises(ValueError, match="empty"):
        ProbeSet.from_dataset([])
    with pytest.raises(ValueError, match="different shapes"):
        ProbeSet.from_dataset([torch.rand(1, 2, 2), torch.rand(1, 3, 3)])


def test_from_dataloader_does_not_advance_the_loader():
    def loader():
        generator = torch.Generator().manual_seed(5)
        return DataLoader(dataset(), batch_size=5, shuffle=True, generator=generator)

    expected = [batch[1].tolist() for batch in loader()]
    read = loader()
    probes = ProbeSet.from_dataloader(read, n=7)
    assert (len(probes), len(probes.labels)) == (7, 7)
    assert [batch[1].tolist() for batch in read] == expected
    assert len(ProbeSet.from_dataloader(read, n=100)) == 12
    with pytest.raises(ValueError, match="n=0"):
        ProbeSet.from_dataloader(read, n=0)
    with pytest.raises(ValueError, match="yielded no batch"):
        ProbeSet.from_dataloader([])


def test_from_folder_reads_crops_normalises_and_labels(tmp_path):
    for name, color in {
        "b/x.png": (255, 0, 0),
        "a/y.jpg": (0, 0, 255),
        "a/z.png": (9, 9, 9),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 20), color).save(tmp_path / name)
    probes = ProbeSet.from_folder(tmp_path, size=(8, 12), mean=[0.5, 0.5, 0.5], std=[0.25] * 3)
    assert probes.inputs.shape == (3, 3, 8, 12)
    assert probes.names == ["a/y", "a/z", "b/x"]
    assert probes.labels.tolist() == [0, 0, 1]
    assert probes.class_names == ["a", "b"]
    assert probes.inputs[2, :, 4, 4].tolist() == [2.0, -2.0, -2.0]
    assert probes.pictures()[2, 4, 4].tolist() == [255, 0, 0]
    flat = ProbeSet.from_folder(tmp_path / "a", size=8)
    assert flat.labels is None
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ProbeSet.from_folder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no picture"):
        ProbeSet.from_folder(tmp_path / "empty")
    with pytest.raises(ValueError, match="size=0"):
        ProbeSet.from_folder(tmp_path, size=0)


def test_pictures_undo_normalisation_or_stretch():
    pixels = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(1, 1, 2, 2)
    normalised = (pixels - 0.4) / 0.2
    shown = ProbeSet(normalised, mean=0.4, std=[0.2]).pictures()
    assert shown.shape == (1, 2, 2, 3)
    assert shown.dtype == np.uint8
    assert shown[0, ..., 0].flatten().tolist() == [0, 64, 128, 255]
    stretched = ProbeSet(torch.tensor([-3.0, 1.0]).view(1, 1, 1, 2)).pictures()
    assert stretched[0, 0, :, 0].tolist() == [0, 255]
    assert not ProbeSet(torch.full((1, 1, 2, 2), 7.0)).pictures().any()
    assert ProbeSet(torch.rand(2, 5, 3, 3)).pictures().shape == (2, 3, 3, 3)
    raw = torch.full((1, 3, 2, 2), 200, dtype=torch.uint8)
    assert (ProbeSet(raw).pictures() == 200).all()
    colors = torch.tensor([0.1, 0.5, 0.9]).view(1, 3, 1, 1)
    means, stds = [0.1, 0.2, 0.3], [0.5, 0.25, 0.125]
    scaled = (colors - torch.tensor(means).view(3, 1, 1)) / torch.tensor(stds).view(3, 1, 1)
    assert ProbeSet(scaled, mean=means, std=stds).pictures()[0, 0, 0].tolist() == [26, 128, 230]


def test_fingerprint_is_of_the_content():
    x = torch.rand(2, 1, 3, 3)
    same = ProbeSet(x.clone(), labels=[0, 1], names=["p", "q"])
    assert ProbeSet(x, labels=[0, 1]).fingerprint == same.fingerprint
    assert ProbeSet(x, labels=[1, 1]).fingerprint != same.fingerprint
    assert ProbeSet(x.flip(0), labels=[0, 1]).fingerprint != same.fingerprint
    assert ProbeSet(x.view(2, 1, 1, 9), labels=[0, 1]).fingerprint != same.fingerprint
    ProbeSet(x.bfloat16()).fingerprint  # noqa: B018


def test_the_fingerprint_of_a_single_tensor_stays_what_it_was():
    numbers = torch.arange(24.0).view(2, 1, 3, 4)
    found = ProbeSet(numbers, labels=[3, 5]).fingerprint
    assert found == "d059e62d20217c1be6a8ff8f57368f1fabf4049ac15145d4671a82194618fb27"


def test_several_inputs_are_kept_as_they_are_fed():
    class Tagged(torch.Tensor):
        pass

    image, age = torch.rand(2, 3, 4, 4), np.array([[1.0], [2.0]])
    inputs = {"image": image.as_subclass(Tagged), "more": (age, None, 3)}
    probes = ProbeSet(inputs, labels=[0, 1], mean=[0.5, 0.5, 0.5])
    assert probes.shown == "image"
    assert probes.images is probes.inputs["image"]
    assert type(probes.images) is torch.Tensor
    assert probes.images.data_ptr() != image.data_ptr()
    assert probes.inputs["more"][0].tolist() == age.tolist()
    assert probes.inputs["more"][1:] == (None, 3)
    assert len(probes) == 2
    assert repr(probes).startswith("ProbeSet(2 images of 3x4x4 and 1 more inputs, ")
    assert probes.pictures().shape == (2, 4, 4, 3)
    other = {"image": image, "more": (age + 1, None, 3)}
    assert ProbeSet(other, labels=[0, 1]).fingerprint != probes.fingerprint
    assert ProbeSet({"image": image}).fingerprint != ProbeSet({"x": image}).fingerprint
    with torch.inference_mode():
        inference = torch.rand(2, 1, 2, 2)
    assert not ProbeSet({"x": inference}).images.is_inference()


def test_a_list_is_of_images_and_mixed_or_chosen_of_several_inputs():
    one, other = torch.rand(3, 4, 4), torch.rand(3, 4, 4)
    assert ProbeSet([one, other]).images.shape == (2, 3, 4, 4)
    assert ProbeSet((one, other)).images.shape == (2, 3, 4, 4)
    several = ProbeSet((torch.rand(2, 3, 4, 4), torch.rand(2, 5)))
    assert (several.shown, len(several), type(several.inputs)) == ("0", 2, tuple)
    views = ProbeSet([torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)], shown="1")
    assert views.images is views.inputs[1]
    assert ProbeSet([[torch.rand(2, 3, 4, 4)], {"n": torch.rand(2)}]).shown == "0.0"


def test_signals_and_volumes_are_probes():
    assert repr(ProbeSet(torch.rand(2, 3, 50))).startswith("ProbeSet(2 signals of 3x50, ")
    volumes = ProbeSet(torch.rand(2, 1, 4, 6, 6), masks=torch.ones(2, 4, 6, 6))
    assert repr(volumes).startswith("ProbeSet(2 volumes of 1x4x6x6, ")
    assert ProbeSet([torch.rand(2, 50), torch.rand(2, 50)]).images.shape == (2, 2, 50)


def test_the_batch_shares_its_tensors_with_the_inputs():
    image, label = torch.rand(2, 1, 4, 4), torch.tensor([1, 0])
    probes = ProbeSet({"image": image}, label, batch={"image": image, "label": label, "n": None})
    assert probes.batch["image"] is probes.inputs["image"]
    assert probes.batch["label"].data_ptr() == probes.labels.data_ptr()
    assert probes.batch["n"] is None
    assert ProbeSet(image).batch is None
    # As a checkpoint has it: other objects on the same memory.
    again = ProbeSet(image.view(2, 1, 4, 4), batch=(image[:], label))
    assert again.batch[0] is again.inputs


def test_a_probe_set_is_a_copy_with_distinct_names():
    x = torch.rand(3, 1, 2, 2)
    probes = ProbeSet(x, names=["a", "a", "b"], masks=torch.ones(3, 2, 2))
    x.zero_()
    assert probes.inputs.any()
    assert probes.names == ["a", "a (2)", "b"]
    assert probes.masks.dtype == torch.bool


@pytest.mark.parametrize(
    ("arguments", "error", "pattern"),
    [
        ({"inputs": torch.rand(3, 4)}, ValueError, r"inputs has shape \(3, 4\)"),
        ({"inputs": "x.png"}, TypeError, "inputs='x.png' is a str"),
        ({"labels": [0]}, ValueError, r"labels has shape \(1,\)"),
        ({"names": ["one"]}, ValueError, r"names=\['one'\] has 1 entries"),
        ({"names": 3}, TypeError, "names=3 is a int"),
        ({"class_names": {0: "cat"}}, TypeError, "class_names={0: 'cat'} is a dict"),
        ({"inputs": []}, TypeError, "not one of tensors; expected a tensor of shape"),
        ({"inputs": [[1, 2]]}, TypeError, "not one of tensors"),
        ({"labels": ["a", "b"]}, TypeError, r"labels=\['a', 'b'\]; expected whole numbers"),
        ({"labels": [0, None]}, TypeError, r"labels=\[0, None\]"),
        ({"mean": "a"}, TypeError, "mean='a'; expected a number"),
        ({"masks": torch.rand(2, 3, 3)}, ValueError, r"expected \(2, 4, 4\)"),
        ({"mean": [0.5, 0.5]}, ValueError, "mean=.* has 2 numbers; expected 1 or 3"),
        ({"std": [1, 1, 1, 1]}, ValueError, "std=.* has 4 numbers; expected 1 or 3"),
        ({"std": 0}, ValueError, "std=0; expected positive numbers"),
        ({"mean": float("nan")}, ValueError, "mean=nan; expected finite numbers"),
        ({"shown": "image"}, ValueError, "shown='image', but inputs is a single tensor"),
        ({"shown": 0}, TypeError, "shown=0; expected the path of one of the inputs"),
        (
            {"inputs": {"a": torch.rand(2, 3, 4, 4)}, "shown": "b"},
            ValueError,
            "shown='b' is not among the inputs: 'a'",
        ),
        ({"inputs": {"n": 3}}, TypeError, "inputs={'n': 3}; expected a tensor"),
        ({"inputs": {"a": torch.rand(2, 5)}}, ValueError, r"inputs\['a'\] has shape \(2, 5\)"),
        (
            {"inputs": {"image": torch.rand(2, 3, 4, 4), "age": torch.rand(3)}},
            ValueError,
            "different numbers of rows",
        ),
        (
            {"inputs": {"image": torch.rand(2, 3, 4, 4).to_sparse()}},
            TypeError,
            r"inputs\['image'\]=.*sparse",
        ),
        (
            {"inputs": [torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)]},
            ValueError,
            "list of 2 tensors of shape .* if they are volumes, stack them first.*shown='0'",
        ),
        ({"inputs": [torch.rand(3, 4, 4), torch.rand(1, 4, 4)]}, ValueError, "shown='0'"),
        ({"batch": torch.rand(2, 3)}, TypeError, "batch=.* is a Tensor; expected a dict, tuple"),
        ({"batch": {"a": 1}}, ValueError, "with a row for each of the 2 images"),
        ({"batch": (torch.rand(3), 1)}, ValueError, "with a row for each of the 2 images"),
        ({"bands": [0, 1]}, ValueError, "bands=.*; expected one, or three for red, green and"),
        ({"bands": 3}, ValueError, "bands=3; expected .* of the channels 0 to 2"),
        ({"bands": -1}, ValueError, "bands=-1; expected"),
        ({"bands": [[0]]}, TypeError, "bands=.*; expected"),
        ({"bands": 0.5}, TypeError, "bands=0.5 has dtype torch.float32; expected one"),
    ],
)
def test_bad_probe_sets_name_the_argument(arguments, error, pattern):
    with pytest.raises(error, match=pattern):
        ProbeSet(**{"inputs": torch.rand(2, 3, 4, 4), **arguments})


def batch_of(labels, start=0):
    values = torch.arange(start, start + len(labels)).float().view(-1, 1, 1, 1)
    return values, torch.tensor(labels)


def test_capture_balances_classes_in_the_order_they_come():
    capture = ProbeCapture(4)
    capture.offer(batch_of([0, 0, 0, 0, 0]))
    assert capture.samples.labels.tolist() == [0, 0, 0, 0]
    capture.offer(batch_of([1, 0, 2, 3, 1], start=10))
    assert sorted(capture.samples.labels.tolist()) == [0, 1, 2, 3]
    assert capture.samples.images[0].item() == 0
    capture.offer(batch_of([4, 4], start=20))
    assert sorted(capture.samples.labels.tolist()) == [0, 1, 2, 3]


def test_capture_takes_no_image_twice_and_copes_without_labels():
    capture = ProbeCapture(5)
    capture.offer(batch_of([0, 1]))
    capture.offer(batch_of([0, 1, 0]))
    assert capture.samples.images.flatten().tolist() == [0, 1, 2]
    unlabelled = ProbeCapture(2)
    with torch.inference_mode():
        unlabelled.offer(torch.arange(3.0).view(3, 1, 1, 1) * 1)
    assert unlabelled.samples.images.flatten().tolist() == [0, 1]
    assert unlabelled.samples.labels is None
    assert not unlabelled.samples.images.is_inference()


def test_capture_keeps_several_inputs_and_the_batch():
    capture = ProbeCapture(3)
    images = torch.rand(2, 1, 4, 4)
    for start in (0, 1):
        table = torch.arange(2.0) + start
        capture.offer({"image": images, "table": table, "y": torch.tensor([1, 0]), "n": ["a", "b"]})
    kept = capture.samples
    # The same image with another table is another probe.
    assert kept.inputs["table"].tolist() == [0, 1, 1]
    assert kept.batch.keys() == {"image", "table", "y"}
    assert kept.batch["table"] is kept.inputs["table"]
    capture.offer({"left": images, "right": images})
    assert "whose images cannot be found: inputs hold several tensors" in capture.problem
    capture.offer({"image": images.double(), "table": torch.arange(2.0), "y": torch.tensor([1, 0])})
    assert capture.problem == (
        "inputs of different shapes, 'image' (1, 4, 4) torch.float32, 'table' () torch.float32 and "
        "'image' (1, 4, 4) torch.float64, 'table' () torch.float32"
    )


def kept_by(batch):
    source = ProbeSource(2, "predicted")
    source.offer(batch)
    source.settle(source.found())
    return source.state_dict()["kept"]


def test_a_checkpoint_holds_each_tensor_once():
    images = torch.rand(2, 3, 64, 64)
    file = io.BytesIO()
    kept = kept_by({"image": images, "label": torch.tensor([0, 1])})
    torch.save(kept, file)
    assert images.nbytes < file.tell() < 1.5 * images.nbytes
    again = ProbeSource(2, "predicted")
    probes = ProbeSet(images, [0, 1])
    assert again.resume({"kept": kept, "fingerprint": probes.fingerprint})
    assert again.found().batch["image"] is again.found().inputs


def test_batches_of_the_users_own_classes_stay_out_of_checkpoints():
    Pair = namedtuple("Pair", "image label")
    images = torch.rand(2, 3, 4, 4)
    assert kept_by(Pair(images, torch.tensor([0, 1]))) is None
    assert kept_by({"x": images, "more": {"pair": Pair(torch.rand(2), torch.rand(2))}}) is None
    assert kept_by((images, torch.tensor([0, 1]))) is not None


def test_a_checkpoint_of_other_labels_is_not_gone_on_with():
    kept = kept_by((torch.rand(2, 3, 4, 4), torch.tensor([0.5, 1.5])))
    assert kept["labels"].tolist() == [0.5, 1.5]
    for change in ({"labels": torch.zeros(2, 9).bool()}, {"batch": torch.rand(2)}):
        state = {"kept": {**kept, **change}, "fingerprint": "f00d"}
        assert not ProbeSource(2, "predicted").resume(state)


def test_labels_that_cannot_be_read_are_shown():
    source = ProbeSource(2, "label")
    source.offer((torch.rand(2, 3, 8, 8), torch.rand(2, 5)))
    with pytest.raises(ValueError, match=r"no labels that can be read \(.*shape \(2, 5\)"):
        source.settle(source.found())
    free = ProbeSource(2, "label", has_labels=False)
    free.offer((torch.rand(2, 3, 8, 8), torch.rand(2, 5)))
    free.settle(free.found())
    assert free.probes.labels is None
