from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque

import numpy as np
import pytest
import torch
from torch import nn

from lightning_ablationcam import ablation_cam
from lightning_ablationcam.network import module_state
from lightning_ablationcam.network.module_state import forget_unwritten, kept_state
from tests.networks import Dropouts, images, seeded


class Holder(nn.Module):
    """Holds what a test gives it."""

    def __init__(self, **held):
        super().__init__()
        for name, value in held.items():
            setattr(self, name, value)


def quiet(message):
    raise AssertionError(message)


def copies_in(model, monkeypatch, write=lambda: None, tell=quiet):
    """The tensors that one pass copies."""
    copied = []

    def copy(tensor, original=module_state._copy):
        copied.append(tensor)
        return original(tensor)

    with monkeypatch.context() as patch:
        patch.setattr(module_state, "_copy", copy)
        with kept_state(model, tell):
            write()
    return copied


def test_a_later_pass_copies_only_the_parameters_that_are_written(monkeypatch):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))

    def write():
        model[2].weight.data.mul_(2)

    before = model[2].weight.clone()
    first = copies_in(model, monkeypatch, write)
    assert len(first) == len([*model.parameters(), *model.buffers()]) == 9
    for _ in range(2):
        assert [tensor is model[2].weight for tensor in copies_in(model, monkeypatch, write)] == [
            True
        ]
    assert torch.equal(model[2].weight, before)


def test_a_write_that_was_not_foreseen_is_told_and_kept_from_then_on(monkeypatch):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert len(copies_in(model, monkeypatch)) == 4

    def write():
        with torch.no_grad():
            model[1].bias.add_(1)

    told = []
    before = model[1].bias.clone()
    assert copies_in(model, monkeypatch, write, told.append) == []
    assert torch.equal(model[1].bias, before + 1)  # Could not be restored.
    assert len(told) == 1
    assert "wrote to 1.bias" in told[0]
    assert len(copies_in(model, monkeypatch, write)) == 1
    assert torch.equal(model[1].bias, before + 1)


def test_a_write_of_the_same_values_is_a_write(monkeypatch):
    model = nn.Linear(2, 2)

    def write():
        with torch.no_grad():
            model.weight.clamp_(-9, 9)

    copies_in(model, monkeypatch, write)
    assert [t is model.weight for t in copies_in(model, monkeypatch, write)] == [True]


def test_what_was_not_written_can_be_forgotten(monkeypatch):
    model = nn.Linear(2, 2)

    def write():
        model.weight.data.mul_(2)

    copies_in(model, monkeypatch, write)
    forget_unwritten(model)
    assert len(copies_in(model, monkeypatch)) == 2
    assert [t is model.weight for t in copies_in(model, monkeypatch)] == [True]
    forget_unwritten(nn.Linear(2, 2))


def test_what_is_in_an_array_of_objects_and_a_sparse_tensor_comes_back():
    model = Holder(objects=np.array([None, 1], dtype=object))
    model.objects[0] = [1]
    model.register_buffer("sparse", torch.eye(2).to_sparse())
    for _ in range(2):
        with kept_state(model, quiet):
            model.objects[0].append(2)
            model.objects[1] = 3
            model.sparse._values().mul_(2)
        assert model.objects.tolist() == [[1], 1]
        assert torch.equal(model.sparse.to_dense(), torch.eye(2))


def test_other_memory_is_noticed_as_a_write(monkeypatch):
    model = nn.Linear(2, 2)
    copies_in(model, monkeypatch)
    told = []

    def write():
        model.weight.data = torch.zeros(2, 2)

    copies_in(model, monkeypatch, write, told.append)
    assert ["wrote to weight" in message for message in told] == [True]


def test_a_pass_that_was_cut_short_does_not_say_what_is_never_written(monkeypatch):
    model = nn.Linear(2, 2)

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        copies_in(model, monkeypatch, fail)
    assert len(copies_in(model, monkeypatch)) == 2
    assert copies_in(model, monkeypatch) == []


def test_what_cannot_be_given_back_keeps_nothing_else_from_it():
    model = Holder(rate=nn.Parameter(torch.ones(2)), array=np.zeros(2), calls=0, numbers=[1])
    model.part = Holder(count=torch.zeros(()))
    told = []
    with kept_state(model, told.append):
        model.array += 1
        model.array.flags.writeable = False
        model.part.count += 1
        model.calls += 1
        model.numbers.append(2)
        model.rate.data.mul_(3)
    assert [message.split(" could not")[0] for message in told] == ["array"]
    assert (float(model.part.count), model.calls, model.numbers) == (0, 0, [1])
    assert torch.equal(model.rate, torch.ones(2))


def test_a_tensor_that_cannot_be_given_back_is_told_by_name():
    class Sealed(torch.Tensor):
        """Rejects ``copy_``, but no other write."""

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            if func is torch.Tensor.copy_:
                raise RuntimeError("sealed")
            return super().__torch_function__(func, types, args, kwargs or {})

    model = Holder(first=torch.zeros(2).as_subclass(Sealed), calls=0)
    model.register_buffer("second", torch.zeros(2))
    told = []
    with kept_state(model, told.append):
        model.first.add_(1)
        model.second.add_(1)
        model.calls += 1
    assert [message.split(" could not")[0] for message in told] == ["first"]
    assert (model.second.tolist(), model.calls) == ([0, 0], 0)


def test_a_buffer_of_another_size_does_not_keep_a_counter_from_coming_back():
    model = Holder()
    model.register_buffer("grows", torch.zeros(1))
    model.register_buffer("shrinks", torch.ones(4))
    model.register_buffer("count", torch.tensor(16))
    grows, address = model.grows, model.shrinks.data_ptr()
    with kept_state(model, quiet):
        for _ in range(7):
            model.grows.resize_(len(model.grows) + 1).fill_(5)
            model.shrinks.data = model.shrinks.data[1:].clone() if len(model.shrinks) > 1 else None
            model.count += 1
            if len(model.shrinks) == 1:
                break
    assert (model.grows.tolist(), model.shrinks.tolist(), int(model.count)) == ([0], [1] * 4, 16)
    assert model.grows is grows
    assert model.shrinks.data_ptr() == address


def test_containers_are_the_same_objects_with_the_same_contents_in_the_same_order():
    class Tally(Counter):
        """A subclass whose update does not set."""

    held = {
        "ordered": OrderedDict(a=1, b=2),
        "queue": deque([1, 2, 3], maxlen=3),
        "defaults": defaultdict(list, {"x": [1]}),
        "tally": Tally(a=2),
        "nested": {"list": [1, {"set": {1, 2}}], "pair": ([3], bytearray(b"ab"))},
    }
    model = Holder(**held)
    model.nested["itself"] = model.nested
    with kept_state(model, quiet):
        model.ordered.move_to_end("a")
        model.queue.append(4)
        model.defaults["y"].append(1)
        model.defaults["x"].append(2)
        model.tally["a"] += 1
        model.nested["list"][1]["set"].add(3)
        model.nested["pair"][0].clear()
        model.nested["pair"][1].extend(b"cd")
        model.queue, model.fresh = deque(), []
    assert all(getattr(model, name) is value for name, value in held.items())
    assert list(model.ordered.items()) == [("a", 1), ("b", 2)]
    assert (list(model.queue), model.queue.maxlen) == ([1, 2, 3], 3)
    assert model.defaults == {"x": [1]}
    assert model.tally == {"a": 2}
    assert model.nested.pop("itself") is model.nested
    assert model.nested == {"list": [1, {"set": {1, 2}}], "pair": ([3], bytearray(b"ab"))}
    assert not hasattr(model, "fresh")


def test_several_tensors_of_one_container_are_learned_together():
    model = Holder(several=[torch.zeros(2), torch.zeros(2)])
    for _ in range(2):
        with kept_state(model, quiet):
            model.several[1].add_(1)
        assert model.several[1].tolist() == [0, 0]


def test_flags_and_gradients_of_parameters_come_back():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].weight.requires_grad_(False)
    model(torch.ones(1, 2)).sum().backward()
    gradient, values = model[1].weight.grad, model[1].weight.grad.clone()
    bias = model[1].bias.grad
    with kept_state(model, quiet):
        model.requires_grad_(True)
        model[1].weight.grad.zero_()
        model[1].bias.grad = None
        model[0].bias.requires_grad_(False)
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True]
    assert model[1].weight.grad is gradient
    assert torch.equal(gradient, values)
    assert model[1].bias.grad is bias


def test_autograd_does_not_learn_of_it():
    model = nn.Linear(2, 2)
    loss = model(torch.ones(1, 2)).square().sum()
    versions = [p._version for p in model.parameters()]
    with kept_state(model, quiet):
        pass
    assert [p._version for p in model.parameters()] == versions
    loss.backward()


@pytest.mark.parametrize("outside", [False, True])
def test_tensors_made_in_inference_mode(outside):
    with torch.inference_mode():
        model = Holder(last=torch.ones(2), weight=nn.Parameter(torch.ones(2)))
    with torch.inference_mode(outside), kept_state(model, quiet), torch.inference_mode():
        model.last.add_(1)
        model.weight.add_(1)
    with kept_state(model, quiet):
        pass
    assert model.last.tolist() == model.weight.tolist() == [1, 1]


def test_tensors_whose_entries_share_their_memory():
    model = Holder(expanded=torch.ones(1).expand(3), plain=torch.zeros(()))
    with kept_state(model, quiet):
        model.plain.add_(1)
    assert float(model.plain) == 0


def test_tensors_without_values_or_that_cannot_be_compared():
    model = Holder(
        nan=torch.tensor(float("nan")),
        meta=torch.empty(2, device="meta"),
        sparse=torch.eye(2).to_sparse(),
        lazy=nn.LazyLinear(2),
    )
    with kept_state(model, quiet):
        model.nan.fill_(1)
    assert model.nan.isnan()
    assert model.lazy.has_uninitialized_params()


def test_a_great_many_tensors_in_a_container_are_watched_not_copied(monkeypatch):
    monkeypatch.setattr(module_state, "MAX_ATTRIBUTES", 8 * 100)
    model = Holder(samples=[torch.zeros(1, dtype=torch.float64) for _ in range(150)])
    told = []
    copied = copies_in(model, monkeypatch, lambda: model.samples[-1].add_(1), told.append)
    assert len(copied) == 100
    assert "samples[...]" in told[0]


@pytest.mark.parametrize("engine", ["propagate", "replay"])
def test_a_lazy_layer_is_not_initialised_by_a_pass(engine):
    network = seeded(Dropouts())
    network.hidden = nn.LazyLinear(8)
    for _ in range(2):
        with pytest.raises(
            RuntimeError, match=r"^hidden is a LazyLinear that has no parameters yet"
        ):
            ablation_cam(network, "conv", images(), engine=engine)
    assert isinstance(network.hidden, nn.LazyLinear)
    network(images())
    assert type(network.hidden) is nn.Linear
    assert ablation_cam(network, "conv", images(), engine=engine).engine == engine


def test_a_lazy_layer_that_is_not_reached_stays_as_it_is():
    network = seeded(Dropouts())
    network.unused = nn.LazyLinear(8)
    ablation_cam(network, "conv", images())
    assert isinstance(network.unused, nn.LazyLinear)
    assert len(network.unused._forward_pre_hooks) == 1  # Its own.
