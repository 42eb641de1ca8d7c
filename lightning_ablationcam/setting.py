"""What is asked of a network: which values and classes of which images, before any engine runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lightning_ablationcam.arguments import shown, whole_numbers
from lightning_ablationcam.engine.ending import last_activation
from lightning_ablationcam.engine.layer_search import resolve_target
from lightning_ablationcam.engine.pairs import changed_pairs
from lightning_ablationcam.engine.program import Program, PropagationError
from lightning_ablationcam.engine.question import Question
from lightning_ablationcam.engine.recorder import Recording, record_all
from lightning_ablationcam.engine.replay import bytes_per_image, uses_batch_statistics
from lightning_ablationcam.method.ablations import Moments, ablate, is_over_reference
from lightning_ablationcam.method.heads.base import Head, Task
from lightning_ablationcam.method.heads.meaning import Meaning, check_masks, masks_as_given
from lightning_ablationcam.method.reading import Reading
from lightning_ablationcam.method.scores import Classes, called_score
from lightning_ablationcam.method.wanted import EXPLAINED, Wanted
from lightning_ablationcam.network.declared import declared_task
from lightning_ablationcam.network.inputs import (
    Inputs,
    check_inputs,
    count_of,
    likeliest_picture,
    mapped,
    plain,
    rows_of,
)
from lightning_ablationcam.network.layers import (
    Layout,
    TargetLayer,
    check_target_layer,
    infer_layout,
    several,
)
from lightning_ablationcam.network.memory import in_batches
from lightning_ablationcam.network.targets import Target
from lightning_ablationcam.options import Groups, Options

T = TypeVar("T")

MAX_KEPT_BYTES = 256 * 2**20
"""Most bytes of channel maps that a result holds, of all layers; of more it holds none."""

REFERENCE_BATCH = 32
"""How many images of a reference set are run at once."""

IMAGES_SHARE = 0.5
"""Share of the memory budget that images may take; the rest is for their ablations."""


def checked_wanted(
    model: nn.Module,
    target_layer: TargetLayer,
    inputs: Inputs,
    classes: Classes,
    options: Options,
    labels: Mapping[str, Tensor] | None = None,
    masks: Tensor | None = None,
) -> Wanted:
    """The classes that are asked for, if all arguments are right as far as that needs no forward.

    Args:
        model: As in :func:`explain_classes`, and so are the others.
        target_layer: Likewise.
        inputs: Likewise.
        classes: Likewise.
        options: Likewise.
        labels: Likewise.
        masks: Likewise.
    """
    check_target_layer(target_layer)
    return wanted_of(model, inputs, classes, options, labels, masks)


def wanted_of(
    model: nn.Module,
    inputs: Inputs,
    classes: Classes,
    options: Options,
    labels: Mapping[str, Tensor] | None = None,
    masks: Tensor | None = None,
) -> Wanted:
    """:func:`checked_wanted` where no layer is named.

    Args:
        model: As in :func:`explain_classes`, and so are the others.
        inputs: Likewise.
        classes: Likewise.
        options: Likewise.
        labels: Likewise.
        masks: Likewise.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model={shown(model)}; expected an nn.Module")
    check_inputs(inputs)
    count = count_of(inputs)
    check_masks(masks, count)
    return Wanted.of(classes, options.also, count, likeliest_picture(inputs).device, labels)


def prepared(
    model: nn.Module,
    target_layer: TargetLayer,
    inputs: Inputs,
    wanted: Wanted,
    options: Options,
    masks: Tensor | None = None,
    declared: Task | None = None,
    largest_label: int | None = None,
) -> Setting:
    """Find the targets and what replaces channels: all that is the same for all images.

    Args:
        model: As in :func:`explain_classes`, and so are the others.
        target_layer: Likewise.
        inputs: Likewise.
        wanted: The classes that are asked for.
        options: Likewise.
        masks: Likewise.
        declared: Likewise.
        largest_label: Likewise.
    """
    meaning = meaning_of(model, inputs, options, masks, declared, largest_label)
    reader = partial(_reader, meaning, wanted, options)
    targets = [
        resolve_target(model, each, inputs, reader, layout=options.layout, forward=options.run)
        for each in several(target_layer)
    ]
    return _with_moments(Setting(model, targets, options, meaning, count_of(inputs)), inputs)


def meaning_of(
    model: nn.Module,
    inputs: Inputs,
    options: Options,
    masks: Tensor | None = None,
    declared: Task | None = None,
    largest_label: int | None = None,
) -> Meaning:
    """What is known of what the model does, before its output is seen.

    Args:
        model: As in :func:`explain_classes`, and so are the others.
        inputs: Likewise.
        options: Likewise.
        masks: Likewise.
        declared: Likewise.
        largest_label: Likewise.
    """
    said, by_loss = declared_task(model)
    device = likeliest_picture(inputs).device
    return Meaning(
        options.task,
        said or declared,
        by_loss,
        largest_label,
        options.embeddings,
        None if masks is None else masks_as_given(masks).to(device),
    )


def unused_masks_notice(task: str | None) -> str:
    """What the user is told where masks are given to a model that has no use for them."""
    return (
        f"masks is for outputs of a number at each place; the task is taken to be {task!r}, and "
        "they are not used"
    )


def tell_of_empty_masks(masks: Tensor, classes: Tensor, tell: Callable[[str], None]) -> None:
    """Tell of images in which masks say nowhere of the class.

    Args:
        masks: (N, H, W) the regions, or the class at each place.
        classes: (N,) int64, the classes explained, on the CPU.
        tell: Is told.
    """
    inside = masks.cpu()
    if masks.dtype != torch.bool:
        inside = inside == classes.view(-1, *[1] * (masks.ndim - 1))
    nowhere = ~inside.flatten(1).any(dim=1)
    if bool(nowhere.any()):
        tell(
            f"masks say nowhere of the class explained in {int(nowhere.sum())} of {len(nowhere)} "
            "images, where the mean is taken over the whole image"
        )


def _reader(
    meaning: Meaning, wanted: Wanted, options: Options, output: Any, count: int
) -> Callable[[Any], Tensor]:
    """Reads the scores of the first images off an output like this intact one."""
    first = slice(count)
    head = meaning.rows(first).head(output, count)
    classes = replace(wanted.known_for(head), also=()).rows(first).classes(head, output, count)
    score = "logit" if options.score == "contrast" else options.score
    reading = Reading.of(head, score, classes, output)
    images = torch.arange(count, device=classes.device)
    return lambda other: reading.scores(other, images)[:, 0]


@dataclass(frozen=True)
class Setting:
    """What is the same for all images.

    Attributes:
        model: The model.
        targets: The values that are explained.
        options: How.
        meaning: What the model's output means.
        images: How many images there are.
        moments: For each target those of its channels over a reference set, where they replace
            channels.
    """

    model: nn.Module
    targets: Sequence[Target]
    options: Options
    meaning: Meaning
    images: int
    moments: Sequence[Moments] = ()

    def kept(self, maps: Tensor) -> Tensor | None:
        """The maps of some images as the result holds them, if it does."""
        size = self.images * maps[0].numel() * torch.float32.itemsize
        fits = size <= MAX_KEPT_BYTES // len(self.targets)
        return maps.float().cpu() if self.options.keep_maps and fits else None

    def rows(self, rows: slice) -> Setting:
        """The same for some of the images."""
        return replace(self, meaning=self.meaning.rows(rows))

    def record(self, inputs: Inputs, wanted: Wanted | None = None) -> list[Recording]:
        """Run the model once on some images; scores of the user's own are recorded with it.

        Returns:
            A recording for each target.
        """
        score, read = self.options.score, None
        if callable(score) and wanted is not None:
            read = partial(_called_scores, score, wanted, self.meaning, count_of(inputs))
        return record_all(
            self.model,
            self.targets,
            inputs,
            self.options.run,
            # Also for replay: what the network ends in says what its output means.
            tail=True,
            read=read,
        )


def _with_moments(setting: Setting, inputs: Inputs) -> Setting:
    """The same with the channels' moments over the reference set, where they replace channels."""
    if not is_over_reference(setting.options.ablation):
        return setting
    reference, run = setting.options.reference_inputs, setting.options.run
    images = inputs if reference is None else _like(inputs, reference)
    many, picture = count_of(images), likeliest_picture(images)
    size = many if uses_batch_statistics(setting.model) else REFERENCE_BATCH
    found: list[list[Moments]] = [[] for _ in setting.targets]
    for start in range(0, many, size):
        rows = rows_of(images, slice(start, start + size))
        recordings = record_all(setting.model, setting.targets, rows, run, tail=False)
        for mine, recording in zip(found, recordings, strict=True):
            value = recording.activations
            where = infer_layout(setting.options.layout, value.shape, picture.shape)
            mine.append(Moments.of(value, where.channel_dim))
    return replace(setting, moments=[reduce(Moments.joined, mine) for mine in found])


def _like(inputs: Inputs, reference: Inputs) -> Inputs:
    """A reference set on the device of the inputs, and floats in their dtype."""
    picture = likeliest_picture(inputs)

    def moved(tensor: Tensor) -> Tensor:
        return tensor.to(picture.device, picture.dtype if tensor.is_floating_point() else None)

    return mapped(plain(reference), moved)


def _called_scores(
    score: Callable[[Any, Tensor], Tensor],
    wanted: Wanted,
    meaning: Meaning,
    count: int,
    output: Any,
) -> Tensor | None:
    """(N, Q) the user's scores; None where the output decides on classes, and cannot be asked.

    While the tail is recorded, a class that is read off the output would be a part of it.
    """
    known = wanted.known_for(meaning.head(output, count))
    if known.first is None or known.depends_on_output:
        return None
    given = [known.first, *(each for _, each in known.also if each is not None)]
    given = [each.masked_fill(known.missing(each), 0) for each in given]
    # Gradients of the user's own may be part of them.
    return torch.stack([called_score(score, output, each).detach() for each in given], dim=1)


def in_chunks(
    setting: Setting,
    inputs: Inputs,
    wanted: Wanted,
    explain: Callable[[Setting, Inputs, Wanted], T],
) -> list[T]:
    """Explain as many images at a time as the budget allows, half as many when memory runs out.

    Where the model normalises by the statistics of the batch, the images stay together.
    """
    count, budget = count_of(inputs), setting.options.memory_budget
    size, divisible = count, not uses_batch_statistics(setting.model)
    if budget is not None and size > 1 and divisible:
        size = max(1, min(size, int(budget * IMAGES_SHARE) // _bytes_of_image(setting, inputs)))
    return in_batches(
        count,
        size,
        lambda rows: explain(setting.rows(rows), rows_of(inputs, rows), wanted.rows(rows)),
        divisible=divisible,
    )


def _bytes_of_image(setting: Setting, inputs: Inputs) -> int:
    """What one more image costs before any group is ablated."""
    recordings = setting.record(rows_of(inputs, slice(1)))
    layers = sum(4 * recording.activations.nbytes for recording in recordings)
    intact = bytes_per_image(setting.model, inputs, setting.options.run)
    # Propagation keeps what the intact network computes in its tail.
    tails = [each.tail.nbytes for each in recordings if isinstance(each.tail, Program)]
    return layers + max(intact, *tails, 0)


@dataclass(frozen=True, eq=False)
class Asked:
    """What is asked of some images at one target.

    Attributes:
        recording: Their intact forward pass.
        where: Where the value holds channels and positions.
        reading: How the scores of Q classes are read.
        absent: (N, Q) where an image has no such class.
        roles: Q names of the classes.
        question: The question that the engines answer.
    """

    recording: Recording
    where: Layout
    reading: Reading
    absent: Tensor
    roles: Sequence[str]
    question: Question

    @property
    def tail(self) -> Program | PropagationError:
        """What is propagated through."""
        recording = self.recording
        return recording.tail if recording.scored is None else recording.scored


def ask(setting: Setting, inputs: Inputs, wanted: Wanted) -> list[Asked]:
    """Run the model once on some images, and say what is asked of them at each target."""
    recordings, count = setting.record(inputs, wanted), count_of(inputs)
    output = recordings[0].output
    head = _head(setting.meaning, recordings[0], count)
    wanted = wanted.known_for(head)
    classes = wanted.classes(head, output, count).to(recordings[0].activations.device)
    missing = wanted.missing(classes)
    classes = classes.masked_fill(missing, 0)
    reading = Reading.of(head, setting.options.score, classes, output, wanted.beside)
    roles = [EXPLAINED, *(name for name, _ in wanted.also)]
    asked = []
    for place, recording in enumerate(recordings):
        shape, picture = recording.activations.shape, likeliest_picture(inputs)
        where = infer_layout(setting.options.layout, shape, picture.shape)
        moments = setting.moments[place] if setting.moments else None
        question = _question(setting, inputs, recording, reading, where.channel_dim, moments)
        asked.append(Asked(recording, where, reading, missing, roles, question))
    return asked


def _question(
    setting: Setting,
    inputs: Inputs,
    recording: Recording,
    reading: Reading,
    channel_dim: int,
    moments: Moments | None,
) -> Question:
    options, activations = setting.options, recording.activations
    owners = _owners(options.groups, activations.shape[channel_dim], activations.device)
    ablated = ablate(activations, options.ablation, channel_dim, moments)
    scores, columns = recording.scores, reading.columns
    if scores is None:
        images = torch.arange(count_of(inputs), device=activations.device)
        scores = reading.scores(recording.output, images)
    elif recording.scored is not None:
        # The recorded tail ends in the scores: each is a column of its own.
        places = torch.arange(scores.shape[1], device=scores.device).expand(scores.shape)[..., None]
        columns = (places, torch.ones_like(places))
    return Question(
        model=setting.model,
        tap=recording.tap,
        forward=options.run,
        inputs=inputs,
        output=recording.output,
        activations=activations,
        ablated=ablated,
        channel_dim=channel_dim,
        owners=owners,
        changed=changed_pairs(activations, ablated, owners, channel_dim),
        score_of=reading.scores,
        scores=scores,
        columns=columns,
        precise=options.score == "probability",
        linear=reading.of_intact if columns is None and reading.is_affine else None,
        differentiable=reading.of_intact,
    )


def _head(meaning: Meaning, recording: Recording, count: int) -> Head:
    output, program = recording.output, recording.tail
    activation = last_activation(program) if isinstance(program, Program) else None
    return meaning.head(output, count, activation)


def _owners(groups: Groups, channels: int, device: torch.device) -> Tensor:
    """The group of each channel as (K,) int64 in 0 ... G-1."""
    if groups is None:
        return torch.arange(channels, device=device)
    expected = f"one integer label for each of the target layer's {channels} channels"
    labels = whole_numbers("groups", groups, expected)
    if labels.shape != (channels,):
        raise ValueError(f"groups has shape {tuple(labels.shape)}; expected {expected}")
    owners: Tensor = torch.unique(labels.to(device), return_inverse=True)[1]
    return owners
