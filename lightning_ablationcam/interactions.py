"""Pairs of channels that stand in for each other or need each other: ``interaction``."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from lightning_ablationcam.arguments import check_count, shown, whole_numbers
from lightning_ablationcam.cam import replay_notice
from lightning_ablationcam.engine.drops import find_drops
from lightning_ablationcam.engine.owners import NOBODY
from lightning_ablationcam.engine.pairs import along
from lightning_ablationcam.engine.question import Question
from lightning_ablationcam.engine.recorder import Forward, run
from lightning_ablationcam.engine.replay import uses_batch_statistics
from lightning_ablationcam.method.ablations import Ablation
from lightning_ablationcam.method.heads.meaning import AnyTask
from lightning_ablationcam.method.heads.vectors import Embeddings
from lightning_ablationcam.method.scores import Classes, Score
from lightning_ablationcam.method.wanted import Wanted
from lightning_ablationcam.network.inputs import Inputs, count_of, plain
from lightning_ablationcam.network.isolation import isolated, warn
from lightning_ablationcam.network.layers import check_target_layer
from lightning_ablationcam.options import Engine, Options
from lightning_ablationcam.setting import Asked, Setting, ask, checked_wanted, in_chunks, prepared

Channels: TypeAlias = int | Sequence[int] | Tensor | np.ndarray
"""How many of the most important channels, or the indices of some."""

_CHANNELS = "how many channels to pair, at least 2, or a list of their indices"

HALVES_SEED = 2020
"""What the generator that halves the channels for the ranking starts from: always the same."""

ROUNDING = 16
"""Rounding allowed in an interaction, in units of the last place of drops and score."""


def interaction(
    model: nn.Module,
    target_layer: str | nn.Module,
    inputs: Inputs,
    classes: Classes = None,
    *,
    channels: Channels = 16,
    top: int = 10,
    score: Score = "logit",
    ablation: Ablation = "zero",
    layout: str = "auto",
    engine: Engine = "auto",
    memory_budget: int | None = None,
    forward: Forward | None = None,
    reference: Any = None,
    output: str | int | None = None,
    task: AnyTask = "auto",
    embeddings: Embeddings = None,
    masks: Tensor | None = None,
) -> InteractionResult:
    """Find the pairs of channels whose joint drop differs most from the sum of their drops.

    Ablation-CAM removes channels one at a time. Of two that stand in for each other neither looks
    important, since the other is still there; of two that need each other each looks as important
    as both. Here pairs are removed together, y_ij being the score without i and j:
    interaction_ij = (y - y_ij) - (y - y_i) - (y - y_j). Removed together they matter more than
    their drops say where it is positive, and less where it is negative.

    All pairs of a few channels are computed by the engine of
    :func:`~lightning_ablationcam.ablation_cam`, exactly: disjoint pairs are ablated like groups, so
    that m channels take m - 1 questions to one recording of the network. Ranking all channels first
    costs three more of the questions that ``ablation_cam`` asks, and two forward passes; naming the
    channels saves that.

    Between two channels that the score is a sum of there is no interaction: where nothing but
    pooling and a linear layer follows, as after the last layer of most CNNs, all are zero for
    logits and contrasts. Ask there with ``score="probability"``, or at a layer with a nonlinear
    tail.

    Args:
        model: As in :func:`~lightning_ablationcam.ablation_cam`, and so are all arguments but the
            next two.
        target_layer: The value whose channels are paired.
        inputs: What the model is fed for N images.
        classes: None for each image's predicted class, an int for all, or N ints.
        channels: Which channels are paired: the indices of some, or how many of the most important
            ones, all if there are fewer. What is ranked is how much a channel changes the score, as
            |drop| with all others present, plus the mean of that with a random half of the others
            present and with the other half, summed over the images. Every other channel is present
            in one half and missing in the other, so that a channel that one other stands in for
            shows itself, though its drop may be zero. Of g that stand in for one another each does
            so with a chance of 2 ** (2 - g) only, and a channel that matters in rare combinations
            may be missed: name such channels. In small networks
            (``tests/benchmarks/bench_interactions.py``) 8 of 24 channels held 37 to 73 % of the ten
            strongest pairs; ranked by |drop| alone 27 to 67 %, and none where each channel had a
            copy that stood in for it.
        top: How many pairs :meth:`InteractionResult.pairs` lists.
        score: ``"logit"``, ``"probability"``, ``"contrast"`` or a callable.
        ablation: What takes a channel's place.
        layout: Where channels and positions are.
        engine: Which engine computes the drops.
        memory_budget: Bytes one batch may use. Where it makes batches of the images, each is
            recorded twice.
        forward: ``(model, inputs) -> output``.
        reference: The images over which ``ablation="mean"`` and ``"noise"`` take their means.
        output: Which part of what the model returns are the logits.
        task: What the logits mean.
        embeddings: What the model's embeddings are compared with.
        masks: For segmentation, the region over which the mean is taken.

    Returns:
        The result, on the CPU.

    Raises:
        TypeError: If an argument is of the wrong kind, or the model returns no tensor.
        ValueError: If an argument is out of range, or the layer does not exist, does not run or
            has no spatial map.
        RuntimeError: If the model rejects the inputs, or ``engine="propagate"`` cannot run.

    Example:
        >>> class EitherOr(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.edges = nn.Conv2d(1, 2, 3)
        ...         self.edges.weight.data[1] = self.edges.weight.data[0].fill_(1)
        ...         self.edges.bias.data.zero_()
        ...     def forward(self, x):
        ...         maps = self.edges(x).relu()
        ...         return torch.maximum(maps[:, :1], maps[:, 1:]).mean((2, 3))
        >>> result = interaction(EitherOr(), "edges", torch.ones(1, 1, 4, 4), 1)
        >>> result.drops, result.joint[0, 0, 1]
        (tensor([[0., 0.]]), tensor(9.))
        >>> print(*result.pairs(0))
        0 + 1: together 9, alone 0 and 0: stand in for each other
    """
    check_target_layer(target_layer)
    if not isinstance(target_layer, (str, nn.Module)):
        raise TypeError(f"target_layer={shown(target_layer)}; expected one layer, not several")
    _check_channels(channels)
    check_count("top", top)
    options = Options(
        score,
        ablation,
        None,
        layout,
        engine,
        memory_budget,
        forward,
        (),
        reference,
        output,
        task,
        embeddings,
    )
    wanted = checked_wanted(model, target_layer, inputs, classes, options, masks=masks)
    with isolated(model):
        inputs = plain(inputs)
        setting = prepared(model, target_layer, inputs, wanted, options, masks)
        result = _Interactions(setting, channels, int(top)).find(inputs, wanted)
    if result.fallback is not None:
        warn(replay_notice(result.fallback))
    return result


@dataclass(frozen=True, eq=False)
class InteractionResult:
    """What :func:`~lightning_ablationcam.interaction` found, for N images and m channels.

    Tensors are on the CPU, in the dtype of the drops of
    :func:`~lightning_ablationcam.ablation_cam`.

    Attributes:
        channels: (m,) int64, the layer's channels that were paired, the same for all images: the
            most important first, or as they were given.
        drops: (N, m) class score minus class score with the channel ablated.
        joint: (N, m, m) class score minus class score with both channels of a pair ablated;
            symmetric, on the diagonal ``drops``.
        interaction: (N, m, m) ``joint[n, i, j] - drops[n, i] - drops[n, j]``; symmetric, zero on
            the diagonal.
        rounding: (N, m, m) how large an interaction may be by rounding alone.
        scores: (N,) class score of the intact model.
        classes: (N,) int64, the classes explained.
        layer: The value whose channels were paired, as ``target_layer`` takes it.
        engine: ``"propagate"`` or ``"replay"``, the engine that computed the drops.
        fallback: Why ``engine="auto"`` had to replay, or None.
        top: How many pairs :meth:`pairs` lists.
    """

    channels: Tensor
    drops: Tensor
    joint: Tensor
    interaction: Tensor
    rounding: Tensor
    scores: Tensor
    classes: Tensor
    layer: str
    engine: str
    fallback: str | None
    top: int

    def pairs(self, image: int, top: int | None = None) -> list[ChannelPair]:
        """The pairs of an image with the largest interactions, of either sign.

        Args:
            image: Which image, 0 ... N-1.
            top: How many at most; default as the result was asked for.

        Returns:
            The pairs, the largest interaction first, without those that are rounding. They print
            as one line each.

        Raises:
            TypeError: If an argument is no whole number.
            ValueError: If one is out of range.
        """
        _check_image(image, len(self.drops))
        check_count("top", self.top if top is None else top)
        count = self.top if top is None else top
        found = self.interaction[image]
        first, second = torch.triu_indices(len(found), len(found), offset=1)
        sizes = found[first, second].abs()
        kept = sizes > self.rounding[image][first, second]  # Not where they are NaN.
        order = torch.argsort(torch.where(kept, sizes, 0), descending=True, stable=True)
        order = order[: min(int(kept.sum()), count)]
        return [self._pair(int(image), int(first[at]), int(second[at])) for at in order]

    def _pair(self, image: int, first: int, second: int) -> ChannelPair:
        drops = self.drops[image]
        return ChannelPair(
            (int(self.channels[first]), int(self.channels[second])),
            (float(drops[first]), float(drops[second])),
            float(self.joint[image, first, second]),
            float(self.interaction[image, first, second]),
        )


@dataclass(frozen=True)
class ChannelPair:
    """Two channels in one image.

    Attributes:
        channels: Their indices in the layer.
        drops: The class score's drop without the one, and without the other.
        joint: Its drop without both.
        interaction: ``joint - sum(drops)``.

    Example:
        >>> print(ChannelPair((3, 17), (0.5, 0.4), 0.55, -0.35))
        3 + 17: together 0.55, alone 0.5 and 0.4: need each other
    """

    channels: tuple[int, int]
    drops: tuple[float, float]
    joint: float
    interaction: float

    @property
    def kind(self) -> str | None:
        """How they go together.

        ``"stand in for each other"`` where they do more together than the sum of what each does,
        ``"need each other"`` where both act in one direction and do less; None where they act
        against each other, so that their sum says little.
        """
        one, other = self.drops
        if abs(self.joint) > abs(one) + abs(other):
            return "stand in for each other"
        return "need each other" if min(one * other, one * self.joint) >= 0 else None

    def __str__(self) -> str:
        alone = " and ".join(f"{drop:.3g}" for drop in self.drops)
        numbers_ = (
            f"{' + '.join(map(str, self.channels))}: together {self.joint:.3g}, alone {alone}"
        )
        return numbers_ if self.kind is None else f"{numbers_}: {self.kind}"


class _Interactions:
    """Asks the engine about one network.

    Args:
        setting: What is the same for all images.
        channels: Which channels are paired.
        top: How many pairs are listed.
    """

    def __init__(self, setting: Setting, channels: Channels, top: int) -> None:
        self._setting = setting
        self._wanted = int(channels) if isinstance(channels, numbers.Integral) else channels
        self._top = top
        self._engine: str = setting.options.engine
        self._fallback: str | None = None
        self._recorded: list[Asked] = []

    def find(self, inputs: Inputs, wanted: Wanted) -> InteractionResult:
        """Choose the channels, and pair them."""
        if isinstance(self._wanted, int):
            strengths = torch.cat(in_chunks(self._setting, inputs, wanted, self._strengths))
            # An image that is not finite says nothing of the others' channels.
            ranked = strengths.nan_to_num(0, 0, 0).sum(dim=0).argsort(descending=True, stable=True)
            channels = ranked[: min(self._wanted, len(ranked))]
        else:
            channels = _indices(self._wanted)

        def pair(setting: Setting, inputs: Inputs, wanted: Wanted) -> InteractionResult:
            return self._paired(self._ask(setting, inputs, wanted), channels)

        return _joined(in_chunks(self._setting, inputs, wanted, pair))

    def _ask(self, setting: Setting, inputs: Inputs, wanted: Wanted) -> Asked:
        """What is asked of some images; all of them are recorded once."""
        recorded = self._recorded
        if recorded and count_of(inputs) == setting.images:
            return recorded[0]
        recorded.clear()
        (asked,) = ask(setting, inputs, wanted)
        if count_of(inputs) == setting.images:
            recorded.append(asked)
        return asked

    def _strengths(self, setting: Setting, inputs: Inputs, wanted: Wanted) -> Tensor:
        """(N, K) float64, how much each channel changes the score among different others."""
        asked = self._ask(setting, inputs, wanted)
        question = asked.question
        strengths = self._drops(asked, question).abs()
        half = _half(len(question.owners)).to(question.activations.device)
        for present in (half, ~half):
            strengths += self._drops(asked, _with_only(question, present)).abs() / 2
        return strengths.double().cpu()

    def _paired(self, asked: Asked, channels: Tensor) -> InteractionResult:
        question, count = asked.question, len(channels)
        if int(channels.max()) >= len(question.owners):
            raise ValueError(
                f"channels={shown(self._wanted)} contains {int(channels.max())}, but the target "
                f"layer has {len(question.owners)} channels: choose 0 to {len(question.owners) - 1}"
            )
        changed = question.changed[:, channels.to(question.changed.device)]
        if uses_batch_statistics(question.model):
            changed = torch.ones_like(changed)  # By what is ablated in the other images.
        alone = [(place,) for place in range(count)]
        drops = self._drops(asked, _of_groups(question, channels, alone, changed))
        # Where ablation does not change one of the two, the other's drop is that of both.
        joint = drops[:, :, None] + drops[:, None, :]
        joint.diagonal(dim1=1, dim2=2).copy_(drops)
        for pairs in _rounds(count):
            first, second = torch.tensor(pairs, device=drops.device).T
            both = changed[:, first] & changed[:, second]
            if not both.any():
                continue
            found = self._drops(asked, _of_groups(question, channels, pairs, both))
            found = torch.where(both, found, joint[:, first, second])
            joint[:, first, second] = joint[:, second, first] = found
        effect = joint - (drops[:, :, None] + drops[:, None, :])
        effect.diagonal(dim1=1, dim2=2).zero_()
        return InteractionResult(
            channels=channels.cpu(),
            drops=drops.cpu(),
            joint=joint.cpu(),
            interaction=effect.cpu(),
            rounding=_rounding(question, drops, joint).cpu(),
            scores=question.scores[:, 0].cpu(),
            classes=asked.reading.classes[:, 0].cpu(),
            layer=str(asked.recording.tap),
            engine="propagate" if self._engine == "auto" else self._engine,
            fallback=self._fallback,
            top=self._top,
        )

    def _drops(self, asked: Asked, question: Question) -> Tensor:
        """(N, G) drops; once one has to be replayed, so are all that follow."""
        budget = self._setting.options.memory_budget
        found = find_drops(question, asked.tail, engine=self._engine, memory_budget=budget)
        if found.fallback is not None:
            self._engine, self._fallback = found.engine, found.fallback
        return found.drops[..., 0]


def _of_groups(
    question: Question, channels: Tensor, groups: Sequence[Sequence[int]], changed: Tensor
) -> Question:
    """The question about groups of chosen channels, all others left as they are.

    Args:
        question: The question about all channels.
        channels: (m,) the chosen ones.
        groups: Of each group, the places in ``channels`` of its members.
        changed: (N, G) which pairs of an image and a group to ask about.
    """
    owners = torch.full_like(question.owners, NOBODY)
    for index, places in enumerate(groups):
        owners[channels[list(places)].to(owners.device)] = index
    activations = question.activations
    mine = along(owners, activations.ndim, question.channel_dim) != NOBODY
    return replace(
        question,
        ablated=torch.where(mine, question.ablated, activations),
        owners=owners,
        changed=changed,
        alike=("groups", len(groups), len(groups[0])),
    )


def _with_only(question: Question, present: Tensor) -> Question:
    """The question in the network in which only some channels are not ablated.

    What is asked is how much the score drops when one channel is ablated there, or, if it is
    already, put back.
    """
    activations, ablated = question.activations, question.ablated
    mine = along(present, activations.ndim, question.channel_dim)
    start = torch.where(mine, activations, ablated)
    with question.tap.replaced(start):
        output = run(question.model, question.inputs, question.forward)
    images = torch.arange(len(activations), device=activations.device)
    return replace(
        question,
        activations=start,
        ablated=torch.where(mine, ablated, activations),
        output=output,
        computed=False,
        scores=question.score_of(output, images),
    )


def _half(count: int) -> Tensor:
    """(K,) bool, a random half of the channels, always the same."""
    generator = torch.Generator().manual_seed(HALVES_SEED)
    return torch.randperm(count, generator=generator, device="cpu") < count / 2


def _rounds(count: int) -> list[list[tuple[int, int]]]:
    """All pairs of some places, in as few rounds of disjoint pairs as there can be.

    Source:
        The circle method for round-robin tournaments: the first stays, the others move on by one.

    Example:
        >>> _rounds(4)
        [[(0, 3), (1, 2)], [(0, 2), (3, 1)], [(0, 1), (2, 3)]]
    """
    size = count + count % 2
    places, rounds = list(range(size)), []
    for _ in range(size - 1):
        pairs = [(places[at], places[-1 - at]) for at in range(size // 2)]
        rounds.append([pair for pair in pairs if max(pair) < count])
        places.insert(1, places.pop())
    return [pairs for pairs in rounds if pairs]


def _rounding(question: Question, drops: Tensor, joint: Tensor) -> Tensor:
    """(N, m, m) how large an interaction may be by rounding alone."""
    sizes = joint.abs().maximum(drops.abs()[:, :, None]).maximum(drops.abs()[:, None, :])
    scores = question.scores[:, :, None].abs()
    of_drops, of_scores = (torch.finfo(each.dtype).eps for each in (question.activations, scores))
    return ROUNDING * (of_drops * sizes + of_scores * scores)


def _joined(parts: Sequence[InteractionResult]) -> InteractionResult:
    """The results of some images after one another."""
    if len(parts) == 1:
        return parts[0]
    of_images = ("drops", "joint", "interaction", "rounding", "scores", "classes")
    tensors: dict[str, Any] = {
        name: torch.cat([getattr(part, name) for part in parts]) for name in of_images
    }
    # Once one has to be replayed, so are all that follow.
    return replace(parts[-1], **tensors)


def _check_channels(channels: Any) -> None:
    """Raise unless ``channels`` is a number of channels, or different indices.

    Raises:
        TypeError: If it is neither.
        ValueError: If there are fewer than two, one is negative, or one stands there twice.
    """
    expected = f"expected {_CHANNELS}"
    if isinstance(channels, bool):
        raise TypeError(f"channels={shown(channels)}; {expected}")
    if isinstance(channels, numbers.Integral):
        if int(channels) < 2:
            raise ValueError(f"channels={shown(channels)}; {expected}")
        return
    indices = _indices(channels)
    if indices.ndim != 1 or len(indices) < 2 or bool((indices < 0).any()):
        raise ValueError(f"channels={shown(channels)}; {expected}")
    if len(set(indices.tolist())) < len(indices):
        raise ValueError(f"channels={shown(channels)} names a channel twice; {expected}")


def _indices(channels: Any) -> Tensor:
    return whole_numbers("channels", channels, _CHANNELS).to("cpu", torch.int64)


def _check_image(image: object, count: int) -> None:
    expected = f"expected an image from 0 to {count - 1}"
    if isinstance(image, bool) or not isinstance(image, numbers.Integral):
        raise TypeError(f"image={shown(image)}; {expected}")
    if not 0 <= int(image) < count:
        raise ValueError(f"image={shown(image)}; {expected}")
