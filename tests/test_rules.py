"""The rules one by one: owner maps, factors, closed forms, narrowing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lightning_ablationcam.engine import owners
from lightning_ablationcam.engine.narrowing import Pick, narrowed
from lightning_ablationcam.engine.program import run_node
from lightning_ablationcam.engine.recorder import record
from lightning_ablationcam.engine.rules import RULES
from lightning_ablationcam.engine.rules.reducing import summed_product
from lightning_ablationcam.engine.rules.tables import Rules
from lightning_ablationcam.engine.values import Channelwise, Dense, Factored, written_out
from lightning_ablationcam.network.calling import call
from lightning_ablationcam.network.isolation import isolated
from lightning_ablationcam.network.targets import Target

SIZES = st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=4)


@settings(max_examples=100, derandomize=True)
@given(old=SIZES, new=SIZES, data=st.data())
def test_reshaping_what_broadcasts_equals_reshaping_what_is_written_out(old, new, data):
    total = torch.Size(old).numel()
    if torch.Size(new).numel() != total:
        new = [total]
    kept = [data.draw(st.sampled_from([1, size])) for size in old]
    small = torch.randn(2, *kept)
    moved = owners.reshaped(small, old, new, lead=1)
    assert all(a in (1, b) for a, b in zip(moved.shape[1:], new, strict=True))
    assert torch.equal(moved.expand(2, *new), small.expand(2, *old).reshape(2, *new))


def test_reshaping_keeps_small_what_it_can():
    heads = owners.reshaped(torch.zeros(5, 7, 2, 1), (7, 2, 12), (7, 8, 3), lead=1)
    assert heads.shape == (5, 7, 8, 1)


def test_joined_owners():
    first = torch.tensor([0, 1, -1])
    assert owners.combined([first, torch.tensor([0, -1, 2])], 1).tolist() == [0, 1, 2]
    assert owners.combined([first, torch.tensor([1, 1, 2])], 1) is None


def test_reduced_owners():
    owner = torch.tensor([[0, 0, -1], [2, 2, 2]])
    assert owners.reduced(owner, [1]).tolist() == [[0], [2]]
    assert owners.reduced(owner, [0]) is None
    assert owners.compressed(torch.tensor([[3, 3], [3, 3]])).shape == (1, 1)


@pytest.mark.parametrize(
    ("groups", "index", "valid"),
    [
        ([0, 1, 2], [[0], [1], [2]], None),
        ([2, 0], [[2], [0]], None),
    ],
)
def test_entries_one_for_each_group(groups, index, valid):
    value = Channelwise(torch.zeros(1, 3), torch.ones(1, 3), torch.tensor([[0, 1, 2]]))
    entries = value.entries(torch.tensor(groups))
    assert entries.index.tolist() == index
    assert entries.valid is valid


def test_entries_are_filled_up():
    value = Channelwise(torch.zeros(1, 4), torch.ones(1, 4), torch.tensor([[1, 0, 1, -1]]))
    entries = value.entries(torch.tensor([0, 1, 2]))
    taken = entries.masked(entries.take(torch.tensor([[10.0, 20.0, 30.0, 40.0]]), 1), 1)
    assert taken.shape == (3, 1, 2)
    assert taken[:, 0].sort(descending=True).values.tolist() == [[20, 0], [30, 10], [0, 0]]


def test_entries_of_two_dimensions_are_written_out():
    owner = torch.tensor([[[0, 1], [2, 3]]])
    value = Channelwise(torch.zeros(1, 2, 2), torch.ones(1, 2, 2), owner)
    assert value.entries(torch.tensor([0])) is None
    assert written_out(value, torch.tensor([1])).tolist() == [[[[0, 1], [0, 0]]]]


def test_kinds_agree_when_written_out():
    coefficient, direction = torch.randn(3, 4, 1), torch.randn(3, 1, 5)
    base = torch.randn(4, 5)
    value = Factored(((coefficient, direction),), torch.Size((4, 5)))
    product = coefficient * direction
    torch.testing.assert_close(value.dense().delta, product)
    torch.testing.assert_close(value.counterfactuals(base), base + product)
    two = Factored(value.terms * 2, value.shape)
    torch.testing.assert_close(two.counterfactuals(base), base + 2 * product)
    assert isinstance(value.dense(), Dense)


@pytest.mark.parametrize("over", [[0], [1], [0, 2], [0, 1, 2]])
def test_summed_product(over):
    factors = (torch.randn(3, 2, 1, 4), torch.randn(1, 1, 5, 4), torch.randn(3, 1, 1, 1))
    product = factors[0] * factors[1] * factors[2]
    expected = product.sum([dim + 1 for dim in over], keepdim=True)
    torch.testing.assert_close(summed_product(factors, (2, 5, 4), over), expected)


def test_a_product_that_changes_along_nothing_is_still_summed_as_often():
    factors = (torch.ones(2, 1, 1),)
    assert summed_product(factors, (3, 4), [0, 1]).flatten().tolist() == [12, 12]


def test_every_rule_is_for_an_op_without_side_effects():
    for op in {*RULES.of_owners, *RULES.of_linear_parts, *RULES.of_changes}:
        assert not op._schema.is_mutable


@pytest.mark.parametrize(("outer", "inner"), [(1, 1), (2, 1), (1, 3)])
def test_pick(outer, inner):
    tensor = torch.arange(outer * 4 * inner * 2).view(1, outer * 4 * inner, 2)
    pick = Pick(1, outer, 4, inner, 2)
    picked = pick.of(tensor)
    assert list(picked.shape) == pick.shape(tensor.shape)
    assert torch.equal(picked, tensor.view(1, outer, 4, inner, 2)[:, :, 2].reshape(picked.shape))


class Tokens(nn.Module):
    """Two pre-norm blocks and a classifier that reads the first token."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Linear(3, 8)
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8))
        self.head = nn.Linear(8, 5)

    def forward(self, images):
        x = self.embed(images.flatten(2).transpose(1, 2))
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.head((x + self.mlp(x))[:, 0])


def test_narrowing_computes_the_same_from_fewer_tokens():
    model, images = Tokens().eval(), torch.rand(2, 3, 3, 3)
    with isolated(model):
        recording = record(model, Target(model.norm, "norm"), images, call)
        program = narrowed(recording.tail)
        values = {0: recording.activations}
        for node in program.nodes:
            results = run_node(node, values.__getitem__)
            values.update(zip(node.outputs, results, strict=True))
    torch.testing.assert_close(values[program.output], recording.output)
    for index in values:
        if index is not None:
            assert values[index].shape == program.shapes[index]
    work = [program.shapes[i].numel() for node in program.nodes for i in node.defined()]
    before = [recording.tail.shapes[i].numel() for n in recording.tail.nodes for i in n.defined()]
    assert sum(work) < sum(before)
    gelu = next(node for node in program.nodes if "gelu" in str(node.op))
    assert program.shapes[gelu.defined()[0]].numel() == 2 * 12


def test_a_second_rule_of_one_kind_for_an_op_is_refused():
    one, other = Rules(), Rules()
    one.owners(torch.ops.aten.relu.default)(lambda bound: None)
    with pytest.raises(ValueError, match=r"two rules of one kind for aten\.relu\.default"):
        one.owners(torch.ops.aten.relu.default)(lambda bound: None)
    other.owners(torch.ops.aten.relu.default)(lambda bound: None)
    with pytest.raises(ValueError, match="two rules of one kind"):
        Rules(one, other)
