"""What a model is fed: tensors in dicts, tuples and lists."""

from collections import UserDict, namedtuple

import pytest
import torch

from lightning_ablationcam.network.inputs import (
    check_inputs,
    copied,
    count_of,
    described,
    mapped,
    picture_of,
    picture_path,
    plain,
    repeated,
    rows_of,
    tensors,
)

Pair = namedtuple("Pair", "left right")


def test_structures_are_kept_and_other_leaves_pass_through() -> None:
    inputs = {"image": torch.ones(2, 3), "more": [torch.zeros(2), None], "pair": Pair(1, "a")}
    twice = mapped(inputs, lambda tensor: tensor * 2)
    assert torch.equal(twice["image"], torch.full((2, 3), 2.0))
    assert twice["more"][1] is None
    assert twice["pair"] == Pair(1, "a")
    assert [path for path, _ in tensors(inputs)] == ["image", "more.0"]


def test_any_mapping_becomes_a_dict() -> None:
    assert mapped(UserDict(x=torch.ones(1)), lambda t: t) == {"x": torch.ones(1)}


@pytest.mark.parametrize(
    ("inputs", "path"),
    [
        (torch.ones(1, 2, 3, 3), ""),
        ({"mask": torch.ones(1, 1, 3, 3), "pixel_values": torch.ones(1, 3, 3, 3)}, "pixel_values"),
        (
            {"batch": {"image": torch.ones(1, 3, 3, 3), "depth": torch.ones(1, 1, 3, 3)}},
            "batch.image",
        ),
        ((torch.ones(1, 3, 4, 4), torch.ones(1, 5)), "0"),
        ({"ids": torch.ones(1, 5, dtype=torch.long)}, "ids"),
    ],
)
def test_the_picture_is_found(inputs: object, path: str) -> None:
    assert picture_path(inputs) == path
    assert picture_of(inputs) is dict(tensors(inputs))[path]


def test_several_pictures_without_a_known_name_need_a_choice() -> None:
    two = {"left": torch.ones(1, 3, 4, 4), "right": torch.ones(1, 3, 4, 4)}
    with pytest.raises(ValueError, match=r"'left' \(1, 3, 4, 4\).*say with shown="):
        picture_path(two)
    assert picture_path(two, "right") == "right"
    with pytest.raises(ValueError, match="shown='up' is not among the inputs: 'left'"):
        picture_path(two, "up")


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ("image.png", TypeError, "inputs='image.png'; expected a tensor"),
        ({"n": 3}, TypeError, "expected a tensor"),
        (torch.ones(3), ValueError, "at least one image"),
        (torch.ones(0, 3, 4, 4), ValueError, "at least one image"),
        ({"x": torch.ones(2, 3), "y": torch.ones(3, 3, 4)}, ValueError, "'x' .*one row for each"),
        (torch.ones(2, 3).to_sparse(), TypeError, "sparse or has no values"),
        ({"x": torch.ones(2, 3, device="meta")}, TypeError, r"inputs\['x'\]=.*no values"),
    ],
)
def test_what_cannot_be_fed_is_refused(
    inputs: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        check_inputs(inputs)


def test_rows_are_taken_from_all_tensors_alike() -> None:
    inputs = {"x": torch.arange(6.0).view(3, 2), "scale": torch.tensor(2.0)}
    check_inputs(inputs)
    assert count_of(inputs) == 3
    assert rows_of(inputs, slice(1, 2))["x"].tolist() == [[2, 3]]
    assert rows_of(inputs, torch.tensor([2, 0]))["x"].tolist() == [[4, 5], [0, 1]]
    assert rows_of(inputs, slice(1))["scale"] is inputs["scale"]
    many = repeated(rows_of(inputs, slice(1)), 4)
    assert many["x"].shape == (4, 2)
    assert many["x"].stride()[0] == 0


def test_a_copy_is_the_models_to_write_into() -> None:
    inputs = [torch.zeros(2, 2)]
    copied(inputs)[0].fill_(1)
    assert not inputs[0].any()
    shared = torch.zeros(1, 2).expand(3, 2)
    assert copied(shared) is shared


def test_subclasses_and_inference_tensors_become_ordinary() -> None:
    class Tagged(torch.Tensor):
        pass

    with torch.inference_mode():
        inference = torch.ones(2, 2)
    found = plain({"a": torch.ones(2, 2).as_subclass(Tagged), "b": inference})
    assert type(found["a"]) is torch.Tensor
    assert not found["b"].is_inference()


def test_messages_describe_every_tensor() -> None:
    assert described({"x": torch.ones(2, 3)}) == "'x' (2, 3) torch.float32"
