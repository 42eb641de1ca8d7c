"""Whether heatmaps show what class probabilities rest on: the function ``faithfulness``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lightning_ablationcam.arguments import check_count, is_dense, shown
from lightning_ablationcam.engine.ending import Endings
from lightning_ablationcam.engine.memory import default_budget
from lightning_ablationcam.engine.recorder import Forward, run
from lightning_ablationcam.engine.replay import bytes_per_image, uses_batch_statistics
from lightning_ablationcam.measures.baselines import Baseline, baseline_for, check_baseline
from lightning_ablationcam.measures.faithfulness import (
    area_under,
    average_drop,
    average_gain,
    blurred,
    changed_places,
    counts_of,
    explained_images,
    increase,
    places_by_heat,
    ranks_of,
)
from lightning_ablationcam.measures.registry import FORWARDS
from lightning_ablationcam.method.heads.base import Task
from lightning_ablationcam.method.heads.meaning import AnyTask, Meaning
from lightning_ablationcam.method.reading import Reading
from lightning_ablationcam.method.scores import Classes
from lightning_ablationcam.method.wanted import Wanted
from lightning_ablationcam.network.inputs import (
    Inputs,
    picture_path,
    plain,
    replaced,
    rows_of,
    tensors,
)
from lightning_ablationcam.network.isolation import isolated, warn
from lightning_ablationcam.network.memory import in_batches
from lightning_ablationcam.options import Options
from lightning_ablationcam.setting import (
    meaning_of,
    tell_of_empty_masks,
    unused_masks_notice,
    wanted_of,
)

STEPS = 32
"""In how many steps insertion and deletion change an image.

On seven photographs of 224 pixels and EfficientNet-Lite0 an area found so differs from that of the
published 224 steps by 0.005 at most, the mean of the seven by 0.0005. With 16 steps it is 0.007 and
0.002, with 8 steps 0.019 and 0.001.
"""

FASTEST_ON_CPU = 64 * 2**20
"""Bytes of a batch that a CPU runs fastest: EfficientNet-Lite0 takes a third less time for an image
in batches of four than in batches of twelve, ResNet-18 a sixth less than in batches of 32."""

_OF_ONE_IMAGE = {"average_drop": average_drop, "increase": increase, "average_gain": average_gain}
_CURVES = ("insertion", "deletion")


def faithfulness(
    model: nn.Module,
    inputs: Inputs,
    heatmaps: Tensor | np.ndarray,
    classes: Classes = None,
    *,
    measures: Sequence[str] = FORWARDS,
    steps: int = STEPS,
    baseline: Baseline = 0.0,
    memory_budget: int | None = None,
    forward: Forward | None = None,
    output: str | int | None = None,
    task: AnyTask = "auto",
    masks: Tensor | None = None,
    shown: str | None = None,
) -> FaithfulnessResult:
    """Measure how well heatmaps show what class probabilities rest on, on the network itself.

    Of any heatmaps, whatever made them. With y the probability of an image's class, and o that of
    what its map leaves of it, ``baseline + map * (image - baseline)``, the map being divided by its
    maximum and enlarged:

    ==============  ============================================  ========  ======================
    measure         of one image                                  better    published by
    ==============  ============================================  ========  ======================
    average_drop    max(0, y - o) / y                             lower     Grad-CAM++ (2018)
    increase        1 where o > y, else 0                         higher    Grad-CAM++ (2018)
    average_gain    max(0, o - y) / (1 - y)                       higher    Opti-CAM (2024)
    insertion       mean probability of the class while the       higher    RISE (2018)
                    blurred image becomes sharp, hottest places
                    first
    deletion        the same while the image becomes the          lower     RISE (2018)
                    baseline
    ==============  ============================================  ========  ======================

    All are shares; where they are published in per cent it is these times 100, as means over
    images. The definitions, sources, and what libraries do differently are in
    :mod:`lightning_ablationcam.measures.faithfulness`. An average drop alone rewards maps that are
    warm everywhere, which leave the image as it is; look at it beside insertion and deletion.

    The model is left as it was found: modes, hooks and random number generators.

    Args:
        model: As in :func:`~lightning_ablationcam.ablation_cam`, and so are ``inputs``,
            ``classes``, ``forward``, ``output``, ``task`` and ``masks``.
        inputs: What the model is fed for N images.
        heatmaps: (N, h, w) maps of the images at any resolution, (N, l) of signals, (N, d, h, w) of
            volumes; ``result.heatmaps``, or another library's. Negative heat, which speaks against
            the class, counts as cold for the first three measures, and is inserted and deleted
            last. A map that is cold everywhere leaves the baseline, and its places are taken row by
            row. One that is not finite is NaN in all measures.
        classes: None for each image's predicted class, an int for all, or N ints: the classes that
            the maps explain.
        measures: Which of these to measure.
        steps: In how many steps insertion and deletion change an image, each the same number of
            places; there are never more than places. Published are 224 for images of 224 pixels;
            :data:`STEPS` says how little 32 differ from them. Each costs a forward pass.
        baseline: What stands for nothing, in the space of ``inputs``: a number, one for each
            channel, or an image. 0 is the mean colour of images that are normalised, as in the
            authors' code and in other libraries.
        memory_budget: Bytes one batch may use, by estimate; default a quarter of the free memory
            of a CUDA device, 512 MiB elsewhere. Changes the speed only.
        forward: ``(model, inputs) -> output``.
        output: Which part of what the model returns are the logits.
        task: What the logits mean; it must be one that has class probabilities.
        masks: For segmentation, the region over which the mean probability is taken.
        shown: Where ``inputs`` hold several tensors, the one that the maps lie over, as
            ``ProbeSet(shown=...)`` takes it. The others stay as they are.

    Returns:
        The result, on the CPU.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument is out of range, the maps do not lie over the images, or the
            output has no class probability, as in regression.
        RuntimeError: If the model rejects the inputs.

    Example:
        >>> model = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 5))
        >>> result = faithfulness(model, torch.rand(2, 3, 8, 8), torch.rand(2, 4, 4), steps=4)
        >>> result.average_drop.shape, result.deletion_curve.shape, result.forwards
        (torch.Size([2]), torch.Size([2, 5]), 10)
        >>> sorted(result.means())
        ['average_drop', 'average_gain', 'deletion', 'increase', 'insertion']

    Source:
        Chattopadhay et al., WACV 2018; Zhang et al., CVIU 2024; Petsiuk et al., BMVC 2018.
    """
    options = Options("probability", memory_budget=memory_budget, forward=forward, output=output)
    if isinstance(task, str) and task in ("similarity", "regression"):
        raise ValueError(_no_probability(task))
    options = replace(options, task=task)
    wanted = wanted_of(model, inputs, classes, options, masks=masks)
    how = _How(measures, steps, baseline, shown)
    meaning = meaning_of(model, inputs, options, masks)
    result = _measured(model, inputs, heatmaps, wanted, options, meaning, how, warn)
    if masks is not None and result.task == "segmentation":
        tell_of_empty_masks(masks, result.classes, warn)
    elif masks is not None:
        warn(unused_masks_notice(result.task))
    return result


def measure_faithfulness(
    model: nn.Module,
    inputs: Inputs,
    heatmaps: Tensor,
    classes: Tensor,
    options: Options,
    measures: Sequence[str],
    tell: Callable[[str], None],
    *,
    steps: int = STEPS,
    baseline: Baseline = 0.0,
    masks: Tensor | None = None,
    declared: Task | None = None,
    largest_label: int | None = None,
    shown: str | None = None,
) -> dict[str, Tensor]:
    """:func:`faithfulness` of the probes of a pass.

    Args:
        model: As in :func:`faithfulness`.
        inputs: Likewise, as the model takes them.
        heatmaps: Likewise.
        classes: (N,) int64, the classes explained; -1 stands for the predicted one.
        options: How the maps were made; of these it takes what says how the model is called and
            what its output means.
        measures: Which measures.
        tell: Is told of what could not be given back to the model.
        steps: As in :func:`faithfulness`.
        baseline: Likewise.
        masks: Likewise.
        declared: What the labels say of the task, where the model itself says nothing.
        largest_label: The largest of labels that are classes.
        shown: As in :func:`faithfulness`.

    Returns:
        (N,) float64 by the name of the measure, on the CPU.

    Raises:
        ValueError: If the output has no class probability.
    """
    if callable(options.score):
        raise ValueError(
            "measures of faithfulness need class probabilities, and what a score of your own reads "
            "may be none; choose score='logit', 'probability' or 'contrast'"
        )
    options = replace(options, score="probability", also=())
    # With labels, even if there are none, -1 is the predicted class.
    wanted = wanted_of(model, inputs, classes, options, labels={}, masks=masks)
    meaning = meaning_of(model, inputs, options, masks, declared, largest_label)
    how = _How(measures, steps, baseline, shown)
    result = _measured(model, inputs, heatmaps, wanted, options, meaning, how, tell)
    return {name: getattr(result, name) for name in measures}


@dataclass(frozen=True, eq=False)
class FaithfulnessResult:
    """What :func:`~lightning_ablationcam.faithfulness` found, for N images and S steps.

    Tensors are float64 on the CPU; those that were not asked for are None.

    Attributes:
        probabilities: (N,) the probabilities y of the classes in the images.
        classes: (N,) int64, the classes.
        forwards: How many forward passes each image took; besides, one image took one more, to
            measure how many fit into a batch.
        average_drop: (N,) in 0 ... 1, the lower the better.
        increase: (N,) 0 or 1, the higher the better.
        average_gain: (N,) in 0 ... 1, the higher the better.
        insertion: (N,) in 0 ... 1, the higher the better.
        deletion: (N,) in 0 ... 1, the lower the better.
        explained_probabilities: (N,) the probabilities o of what the maps leave of the images.
        insertion_curve: (N, S + 1) the probabilities while the images appear; the last is y.
        deletion_curve: (N, S + 1) the probabilities while the images are deleted; the first is y.
        task: What the model's output was taken to mean, such as ``"multiclass"``.
    """

    probabilities: Tensor
    classes: Tensor
    forwards: int
    average_drop: Tensor | None = None
    increase: Tensor | None = None
    average_gain: Tensor | None = None
    insertion: Tensor | None = None
    deletion: Tensor | None = None
    explained_probabilities: Tensor | None = None
    insertion_curve: Tensor | None = None
    deletion_curve: Tensor | None = None
    task: str | None = None

    def means(self) -> dict[str, float]:
        """The mean of each measure over the images where it is known, by name; NaN if nowhere.

        Example:
            >>> known = torch.tensor([0.5, torch.nan, 0.25])
            >>> FaithfulnessResult(known, torch.zeros(3), 2, average_drop=known).means()
            {'average_drop': 0.375}
        """
        found = {name: getattr(self, name) for name in FORWARDS}
        return {
            name: float(values.nanmean()) for name, values in found.items() if values is not None
        }


@dataclass(frozen=True, eq=False)
class _How:
    """How is measured; checks itself as far as that needs no images.

    Attributes:
        measures: As in :func:`faithfulness`, and so are the others.
        steps: The number of steps.
        baseline: What stands for nothing.
        shown: The path of the picture among the inputs.
    """

    measures: Sequence[str]
    steps: int
    baseline: Baseline
    shown: str | None

    def __post_init__(self) -> None:
        check_faithfulness(self.measures)
        check_count("steps", self.steps)
        check_baseline(self.baseline)
        if self.shown is not None and not isinstance(self.shown, str):
            raise TypeError(
                f"shown={shown(self.shown)}; expected None or the name of one of the inputs"
            )

    @property
    def explains(self) -> bool:
        """Whether any measure needs what the map leaves of an image."""
        return any(name in _OF_ONE_IMAGE for name in self.measures)


def check_faithfulness(measures: object) -> None:
    """Raise unless ``measures`` is a list of names of measures of faithfulness.

    Raises:
        TypeError: If it is no list of names.
        ValueError: If it is empty, or a name is not known or stands in it twice.
    """
    expected = f"expected a list of {', '.join(map(repr, FORWARDS))}"
    if isinstance(measures, (str, bytes, bytearray)) or not isinstance(measures, Sequence):
        raise TypeError(f"measures={shown(measures)}; {expected}")
    if not measures:
        raise ValueError(f"measures={shown(measures)} is empty; {expected}")
    for name in measures:
        if not isinstance(name, str):
            raise TypeError(f"measures={shown(measures)} contains {shown(name)}; {expected}")
        if name not in FORWARDS:
            raise ValueError(f"measures={shown(measures)} contains {shown(name)}; {expected}")
    if len(set(measures)) < len(measures):
        raise ValueError(f"measures={shown(measures)} names a measure twice; {expected}")


@dataclass(frozen=True, eq=False)
class _Asked:
    """What is measured of some images.

    Attributes:
        model: The model.
        inputs: What it is fed.
        path: Where the picture is in it.
        heatmaps: (N, ...) on the picture's device.
        wanted: The classes.
        options: How the model is called, and its output read.
        meaning: What its output means.
        how: How is measured.
        budget: How many images may run at once.
    """

    model: nn.Module
    inputs: Inputs
    path: str
    heatmaps: Tensor
    wanted: Wanted
    options: Options
    meaning: Meaning
    how: _How
    budget: int

    @property
    def count(self) -> int:
        """The number of images, N."""
        return len(self.heatmaps)

    @property
    def divisible(self) -> bool:
        """Whether images may run without the others."""
        return not uses_batch_statistics(self.model)

    @property
    def picture(self) -> Tensor:
        """(N, C, ...) what the heatmaps lie over; of pictures without channels C is 1."""
        found = dict(tensors(self.inputs))[self.path]
        found = found if found.ndim > self.heatmaps.ndim else found[:, None]
        return found if found.is_floating_point() else found.float()

    def rows(self, rows: slice) -> _Asked:
        """The same for some of the images."""
        return replace(
            self,
            inputs=rows_of(self.inputs, rows),
            heatmaps=self.heatmaps[rows],
            wanted=self.wanted.rows(rows),
            meaning=self.meaning.rows(rows),
        )

    def fed(self, pictures: Tensor, images: Tensor) -> Inputs:
        """What the model is fed for changed pictures of some images, in the picture's own dtype."""
        like = dict(tensors(self.inputs))[self.path]
        pictures = pictures if like.is_floating_point() else pictures.round()
        pictures = pictures.view(-1, *like.shape[1:]).to(like.dtype)
        return replaced(rows_of(self.inputs, images), self.path, pictures)


def _measured(
    model: nn.Module,
    inputs: Inputs,
    heatmaps: Any,
    wanted: Wanted,
    options: Options,
    meaning: Meaning,
    how: _How,
    tell: Callable[[str], None],
) -> FaithfulnessResult:
    path = picture_path(inputs, how.shown)
    picture = dict(tensors(inputs))[path]
    maps = _checked_maps(heatmaps, picture).to(picture.device)
    with isolated(model, tell):
        asked = _Asked(model, plain(inputs), path, plain(maps), wanted, options, meaning, how, 1)
        _check_representable(baseline_for(asked.picture, how.baseline), picture.dtype)
        asked = replace(asked, budget=_images_within(asked))
        parts = in_batches(
            asked.count,
            asked.budget,
            lambda rows: _of_images(asked.rows(rows)),
            divisible=asked.divisible,
        )
    return _joined(parts)


def _images_within(asked: _Asked) -> int:
    """How many images may run at once: as many as the budget allows, or all that must."""
    if not asked.divisible:
        return asked.count
    device = asked.heatmaps.device
    budget = asked.options.memory_budget or default_budget(device)
    budget = min(budget, FASTEST_ON_CPU) if device.type == "cpu" else budget
    # Beside what the model takes, a changed picture is made of two others and the ranks of places.
    changed = 4 * asked.picture[:1].nbytes + 8 * asked.picture[0, 0].numel()
    each = bytes_per_image(asked.model, asked.inputs, asked.options.run) + changed
    return max(1, int(budget) // each)


def _of_images(asked: _Asked) -> FaithfulnessResult:
    """Measure some images: the intact ones first, since they say what the output means."""
    with Endings() as endings:
        output = run(asked.model, asked.inputs, asked.options.run)
    probed = _Probed(asked, _reading(asked, output, endings))
    images = torch.arange(asked.count, device=asked.heatmaps.device)
    intact = probed.reading.scores(output, images)[:, 0]
    del output
    curves = {name: probed.curve(name, intact) for name in _CURVES if name in asked.how.measures}
    found = {f"{name}_curve": curve.cpu().double() for name, curve in curves.items()}
    if asked.how.explains:
        found["explained_probabilities"] = probed.explained().cpu().double()
    intact = intact.cpu().double()
    measures = {
        name: area_under(found[f"{name}_curve"])
        if name in curves
        else _OF_ONE_IMAGE[name](intact, found["explained_probabilities"])
        for name in asked.how.measures
    }
    return FaithfulnessResult(
        probabilities=intact,
        classes=probed.reading.classes[:, 0].cpu(),
        task=probed.reading.heads[0].task,
        forwards=1 + asked.how.explains + sum(curve.shape[1] - 1 for curve in curves.values()),
        **measures,
        **found,
    )


def _reading(asked: _Asked, output: Any, endings: Endings) -> Reading:
    """How class probabilities are read off the intact output."""
    head = asked.meaning.head(output, asked.count, endings.activation_of(output))
    if head.task in ("regression", "similarity"):
        raise ValueError(_no_probability(head.task))
    classes = asked.wanted.known_for(head).classes(head, output, asked.count)
    return Reading.of(head, "probability", classes.to(asked.heatmaps.device), output)


class _Probed:
    """Runs changed pictures.

    Args:
        asked: What is measured.
        reading: How class probabilities are read.
    """

    def __init__(self, asked: _Asked, reading: Reading) -> None:
        self.asked = asked
        self.reading = reading
        self.picture = asked.picture
        self.baseline = baseline_for(self.picture, asked.how.baseline)
        self._broken = ~asked.heatmaps.flatten(1).isfinite().all(dim=1)
        self._ranks: Tensor | None = None

    def _probabilities(self, pictures: Tensor, images: Tensor) -> Tensor:
        """(rows,) the probability of the class of the image that each row is of."""
        asked = self.asked
        output = run(asked.model, asked.fed(pictures, images), asked.options.run)
        return self.reading.scores(output, images)[:, 0]

    def explained(self) -> Tensor:
        """(N,) with only what the maps leave."""
        pictures = explained_images(self.picture, self.asked.heatmaps, self.baseline)
        images = torch.arange(len(pictures), device=pictures.device)
        return self._probabilities(pictures, images).masked_fill(self._broken, torch.nan)

    def curve(self, name: str, intact: Tensor) -> Tensor:
        """(N, S + 1) while the pictures appear, or are deleted; intact they are not run again."""
        places = self.picture[0, 0].numel()
        counts = counts_of(min(self.asked.how.steps, places), places).to(intact.device)
        if name == "insertion":
            start = blurred(self.picture, self.baseline).to(self.picture.dtype)
            curve = [self._changed(start, self.picture, counts[:-1]), intact[:, None]]
        else:
            end = self.baseline.expand_as(self.picture)
            curve = [intact[:, None], self._changed(self.picture, end, counts[1:])]
        return torch.cat(curve, dim=1).masked_fill(self._broken[:, None], torch.nan)

    def _changed(self, start: Tensor, end: Tensor, counts: Tensor) -> Tensor:
        """(N, len(counts)) with so many of the hottest places changed.

        At each step all images come in turn, so that where they must run together, they do.
        """
        asked, count = self.asked, len(start)
        if self._ranks is None:
            self._ranks = ranks_of(places_by_heat(asked.heatmaps, tuple(start.shape[2:])))
        ranks = self._ranks

        def of_rows(rows: slice) -> Tensor:
            each = torch.arange(rows.start, rows.stop, device=start.device)
            images, step = each % count, each // count
            changed = changed_places(start[images], end[images], ranks[images], counts[step])
            return self._probabilities(changed, images)

        found = in_batches(len(counts) * count, asked.budget, of_rows, divisible=asked.divisible)
        return torch.cat(found).view(len(counts), count).T


def _check_representable(baseline: Tensor, dtype: torch.dtype) -> None:
    """Raise unless images of whole numbers can hold the baseline."""
    if dtype.is_floating_point or dtype == torch.bool:
        return
    least, most = torch.iinfo(dtype).min, torch.iinfo(dtype).max
    if bool(((baseline < least) | (baseline > most)).any()):
        raise ValueError(
            f"baseline={shown(baseline)} does not fit inputs of {dtype}; expected {least} to {most}"
        )


def _no_probability(task: str) -> str:
    return (
        f"faithfulness is measured by class probabilities, which task={task!r} has none of; pass "
        "forward= that returns the logits of classes, or task= if they are such"
    )


def _joined(parts: Sequence[FaithfulnessResult]) -> FaithfulnessResult:
    """The results of some images after one another."""
    columns = {each.name: [getattr(part, each.name) for part in parts] for each in fields(parts[0])}
    tensors_of: dict[str, Any] = {
        name: torch.cat(values) for name, values in columns.items() if torch.is_tensor(values[0])
    }
    return replace(parts[0], **tensors_of)


def _checked_maps(heatmaps: Any, picture: Tensor) -> Tensor:
    """The maps as floats, if they lie over the pictures.

    Raises:
        TypeError: If they are of the wrong kind.
        ValueError: If their shape does not fit.
    """
    spatial = max(1, picture.ndim - 2)
    expected = (
        f"expected one map of {spatial} dimension{'s' if spatial > 1 else ''} for each of the "
        f"{len(picture)} rows of inputs, which are of shape {tuple(picture.shape)}"
    )
    if isinstance(heatmaps, np.ndarray) and heatmaps.dtype.kind in "fiub":
        # A copy: torch takes no array of another byte order or direction, or read-only.
        heatmaps = torch.from_numpy(heatmaps.astype(heatmaps.dtype.newbyteorder("="), order="C"))
    if not isinstance(heatmaps, Tensor) or not is_dense(heatmaps) or heatmaps.is_complex():
        raise TypeError(f"heatmaps={shown(heatmaps)}, no tensor or array of numbers; {expected}")
    fits = heatmaps.ndim >= 2 and heatmaps.ndim in (picture.ndim - 1, picture.ndim)
    # Of one slice it rather is a channel.
    is_channel = heatmaps.ndim == picture.ndim and heatmaps.ndim > 2 and heatmaps.shape[1] == 1
    if not fits or is_channel or heatmaps.ndim > 4 or len(heatmaps) != len(picture):
        raise ValueError(f"heatmaps={shown(heatmaps)}; {expected}")
    if not heatmaps.numel():
        raise ValueError(f"heatmaps={shown(heatmaps)} is empty; {expected}")
    maps: Tensor = heatmaps.detach()
    return maps if maps.is_floating_point() else maps.float()
