"""Ablation-CAM of any ``nn.Module``: the function ``ablation_cam``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_ablationcam.arguments import shown, whole_numbers
from lightning_ablationcam.engine.drops import find_drops
from lightning_ablationcam.engine.ending import last_activation
from lightning_ablationcam.engine.layer_search import resolve_target
from lightning_ablationcam.engine.pairs import changed_pairs
from lightning_ablationcam.engine.program import Program
from lightning_ablationcam.engine.question import Question
from lightning_ablationcam.engine.recorder import Forward, Recording, record_all
from lightning_ablationcam.engine.replay import bytes_per_image, uses_batch_statistics
from lightning_ablationcam.method.ablations import Ablation, ablate, channel_sums
from lightning_ablationcam.method.balance import balance_of
from lightning_ablationcam.method.heads.base import Head, Task
from lightning_ablationcam.method.heads.meaning import AnyTask, Meaning, check_masks, masks_as_given
from lightning_ablationcam.method.heads.vectors import Embeddings
from lightning_ablationcam.method.heatmaps import weighted_heatmaps
from lightning_ablationcam.method.reading import Reading
from lightning_ablationcam.method.scores import Classes, Score, called_score
from lightning_ablationcam.method.wanted import EXPLAINED, Also, Wanted
from lightning_ablationcam.method.weights import channel_weights
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
from lightning_ablationcam.network.isolation import isolated, warn
from lightning_ablationcam.network.layers import (
    TargetLayer,
    check_target_layer,
    infer_layout,
    several,
)
from lightning_ablationcam.network.memory import is_out_of_memory
from lightning_ablationcam.network.targets import Target
from lightning_ablationcam.options import Engine, Groups, Options
from lightning_ablationcam.result import AblationResult, joined

MAX_TOP = 5
"""How many of the classes with the highest scores a result holds."""

REFERENCE_BATCH = 32
"""How many images of a reference set are run at once."""

VANISHING = 8
"""Drops of so many units in the last place of the score are its rounding, and no map."""

IMAGES_SHARE = 0.5
"""Share of the memory budget that images may take; the rest is for their ablations."""


def ablation_cam(
    model: nn.Module,
    target_layer: TargetLayer,
    inputs: Inputs,
    classes: Classes = None,
    *,
    score: Score = "logit",
    ablation: Ablation = "zero",
    groups: Groups = None,
    layout: str = "auto",
    engine: Engine = "auto",
    memory_budget: int | None = None,
    forward: Forward | None = None,
    also: Also = (),
    reference: Any = None,
    output: str | int | None = None,
    task: AnyTask = "auto",
    embeddings: Embeddings = None,
    masks: Tensor | None = None,
) -> AblationResult:
    """Explain class scores by ablating every channel of one layer.

    For each image, class score y and channel k of the target layer's output A, the score y_k is
    computed with channel k ablated. The channel's weight is its relative drop
    (y - y_k) / max(|y|, floor) and the heatmap is ReLU(sum_k w_k A_k). The floored |y| equals the
    paper's y wherever y is positive; see
    :func:`~lightning_ablationcam.method.weights.channel_weights`.

    The model is left as it was found: modes, hooks and random number generators.

    Args:
        model: Any module that makes class scores of ``inputs``; see ``task``.
        target_layer: The value that is explained: dotted name of a module (``"layer4"``) or the
            module itself, for what it returns; ``"bn:activation"`` for what the pointwise
            operations after it make of that, ``"pool:input"`` for what it is given, ``"act#-1"``
            for one of several calls; or ``"auto"``, the last spatial value that still reaches the
            score, after its activation (for a transformer with a class token the last block's
            first norm). ``result.layer`` says which it was. A list of such is explained in one
            recording: ``result.layers`` holds what was found for each, and ``result.fused()`` is
            one finer map of them all.
        inputs: (N, ...) tensor the model is fed, on the model's device and in its dtype; or a dict,
            tuple or list of such, with a row for each image in all of them. A dict is handed to
            ``forward`` by name where that has parameters of these names.
        classes: None for each image's predicted class, an int for all images, or N ints. Where
            ``task`` has no classes, the column.
        score: ``"logit"``, ``"probability"`` (see :class:`AblationResult`), ``"contrast"`` (the
            class's logit minus its rival's: why this and not that), or a callable
            ``(output, classes) -> (N,)``. A network of one logit has the classes 0 and 1, and the
            logit of class 0 is its negative.
        ablation: What takes a channel's place: ``"zero"``, ``"mean"`` (the channel's mean over
            ``reference``), a number that the channel is scaled by, or a callable ``(activations) ->
            activations``.
        groups: (K,) integer labels; channels of one label are ablated together and share their
            drop and weight.
        layout: Where channels and positions are in the layer's output: ``"auto"``, ``"NCHW"``,
            ``"NHWC"``, ``"tokens"``, or spelled out with prefix tokens and grid as in
            ``"tokens:1+14x14"``.
        engine: ``"propagate"`` carries all ablations through one recorded pass, ``"replay"`` runs
            one forward pass for each channel, in batches; ``"auto"`` propagates and, with a
            warning that says why, replays what cannot be propagated.
        memory_budget: Bytes one batch may use, by estimate; default a quarter of the free memory
            of a CUDA device, 512 MiB elsewhere. Changes the speed only.
        forward: ``(model, inputs) -> output``, where calling the model is not what gives logits.
        also: Further classes to explain from the same recording, in ``result.also``: ``"rival"``
            (the class with the highest score other than the first), ``"predicted"``, an int, or
            one int for each image. On a tail that ends linearly they cost next to nothing.
        reference: The images over which ``ablation="mean"`` takes means, default ``inputs``: a
            tensor or a :class:`~lightning_ablationcam.ProbeSet`.
        output: Which part of what the model returns are the logits, where that is a dict, tuple,
            dataclass or ``ModelOutput``: a name, a place, or both joined by dots (``"0.logits"``).
            Default what is called ``logits``, ``logits_per_image``, ``out``, ``preds``, ``pred`` or
            ``output``, else the only tensor of shape (N, C). A callable score reads it all.
        task: What the logits mean. ``"multiclass"``: (N, C), one class for each image, a softmax.
            ``"multilabel"``: (N, C), several classes, a sigmoid each. ``"binary"``: (N,) or (N, 1),
            the class is the side that the network takes. ``"regression"``: the score is the value.
            ``"segmentation"``: (N, C, H, W), the score is the mean logit of a class over its
            region. ``"similarity"``: embeddings (N, D), see ``embeddings``. ``"auto"`` goes by what
            the model declares (``hparams["task"]``, ``config.problem_type``, its loss) and the
            shape of its output; ``result.task`` says what it took.
        embeddings: (C, D) vectors to compare embeddings with, such as those of C captions: the
            score is the cosine, and the class the row; or ``"own"``, the image's own embedding: the
            drop is how much of it is lost.
        masks: (N, H, W) for segmentation: bool, the region over which the mean is taken, or int,
            the class at each place. Default where the model predicts the class.

    Returns:
        The result, on the CPU; of a list of layers that of the first, and all in its ``layers``.

    Raises:
        TypeError: If an argument is of the wrong kind, or the model returns no tensor.
        ValueError: If an argument is out of range, or the layer does not exist, does not run or
            has no spatial map.
        RuntimeError: If the model rejects the inputs, or ``engine="propagate"`` cannot run.

    Example:
        >>> model = nn.Sequential(
        ...     nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 6 * 6, 5)
        ... )
        >>> result = ablation_cam(model, "1", torch.rand(2, 3, 8, 8))
        >>> result.heatmaps.shape, result.drops.shape, result.layer
        (torch.Size([2, 6, 6]), torch.Size([2, 8]), '1')

    Source:
        Desai, S. & Ramaswamy, H. G. "Ablation-CAM: Visual Explanations for Deep Convolutional
        Network via Gradient-free Localization", WACV 2020, pp. 972-980,
        doi 10.1109/WACV45572.2020.9093360.
    """
    options = Options(
        score,
        ablation,
        groups,
        layout,
        engine,
        memory_budget,
        forward,
        also,
        reference,
        output,
        task,
        embeddings,
    )
    result = explain_classes(model, target_layer, inputs, classes, options, warn, masks=masks)
    if result.fallback is not None:
        warn(replay_notice(result.fallback))
    return result


def replay_notice(reason: str) -> str:
    """What the user is told where ``engine="auto"`` had to replay."""
    return f"replays the network for every channel, which is slow: {reason}"


def explain_classes(
    model: nn.Module,
    target_layer: TargetLayer,
    inputs: Inputs,
    classes: Classes,
    options: Options,
    tell: Callable[[str], None],
    *,
    labels: Mapping[str, Tensor] | None = None,
    masks: Tensor | None = None,
    declared: Task | None = None,
) -> AblationResult:
    """:func:`ablation_cam` without a warning: that it had to replay is in ``fallback``.

    Args:
        model: As in :func:`ablation_cam`.
        target_layer: Likewise.
        inputs: Likewise.
        classes: Likewise; -1 stands for the predicted class of an image.
        options: The other arguments.
        tell: Is told of what could not be given back to the model.
        labels: (N,) what ``also="label"`` and ``also="label 2"`` stand for; -1 for none.
        masks: As in :func:`ablation_cam`.
        declared: What the labels say of the task, where the model itself says nothing.

    Returns:
        The result, on the CPU; those of further layers are in its ``further``.
    """
    check_target_layer(target_layer)
    _check_model_and_inputs(model, inputs)
    count = count_of(inputs)
    check_masks(masks, count)
    device = likeliest_picture(inputs).device
    wanted = Wanted.of(classes, options.also, count, device, labels)
    with isolated(model, tell):
        inputs = plain(inputs)
        meaning = Meaning(
            options.task,
            declared_task(model) or declared,
            options.embeddings,
            None if masks is None else masks_as_given(masks).to(device),
        )
        reader = partial(_reader, meaning, wanted, options)
        targets = [
            resolve_target(model, each, inputs, reader, layout=options.layout, forward=options.run)
            for each in several(target_layer)
        ]
        task = _with_means(_Task(model, targets, options, meaning), inputs)
        result = joined(_in_chunks(task, inputs, wanted))
    _tell_what_is_missing(result, options, tell)
    return result


def _reader(
    meaning: Meaning, wanted: Wanted, options: Options, output: Any, count: int
) -> Callable[[Any], Tensor]:
    """Reads the scores of the first images off an output like this intact one."""
    first = slice(count)
    head = meaning.rows(first).head(output, count)
    classes = Wanted(wanted.first).rows(first).classes(head, output, count)
    score = "logit" if options.score == "contrast" else options.score
    reading = Reading.of(head, score, classes, output)
    images = torch.arange(count, device=classes.device)
    return lambda other: reading.scores(other, images)[:, 0]


def _tell_what_is_missing(
    result: AblationResult, options: Options, tell: Callable[[str], None]
) -> None:
    vanished = 0 if result.vanished is None else int(result.vanished.sum())
    if vanished:
        tell(
            f"no channel moves the score by more than its rounding in {vanished} of "
            f"{len(result.scores)} images at {result.layer!r}, so their maps are empty"
        )
    # That quantities have no rivals needs no saying.
    if result.task is None and len(result.also) < len(options.also):
        tell(
            f"also={options.also!r}: the output has no column for each class, so nothing but the "
            "classes that are given can be explained"
        )


def _check_model_and_inputs(model: nn.Module, inputs: Inputs) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model={shown(model)}; expected an nn.Module")
    check_inputs(inputs)


@dataclass(frozen=True)
class _Task:
    """What is the same for all images."""

    model: nn.Module
    targets: Sequence[Target]
    options: Options
    meaning: Meaning
    means: Sequence[Tensor | None] = ()

    def rows(self, rows: slice) -> _Task:
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
            tail=self.options.engine != "replay",
            read=read,
        )


def _with_means(task: _Task, inputs: Inputs) -> _Task:
    """The task with what it replaces channels by, where that is their mean over a reference set."""
    if task.options.ablation != "mean" or callable(task.options.ablation):
        return task
    reference = task.options.reference_inputs
    images = inputs if reference is None else _like(inputs, reference)
    many, picture = count_of(images), likeliest_picture(images)
    size = many if uses_batch_statistics(task.model) else REFERENCE_BATCH
    nothing = torch.zeros((), dtype=torch.float64, device=picture.device)
    totals, counts = [nothing for _ in task.targets], [0 for _ in task.targets]
    for start in range(0, many, size):
        rows = rows_of(images, slice(start, start + size))
        recordings = record_all(task.model, task.targets, rows, task.options.run, tail=False)
        for place, recording in enumerate(recordings):
            activations = recording.activations
            where = infer_layout(task.options.layout, activations.shape, picture.shape)
            sums, numbers = channel_sums(activations, where.channel_dim)
            totals[place], counts[place] = totals[place] + sums, counts[place] + numbers
    means = [total / count for total, count in zip(totals, counts, strict=True)]
    return replace(task, means=means)


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
    given = [known.first, *(each.clamp(min=0) for _, each in known.also if each is not None)]
    return torch.stack([called_score(score, output, each) for each in given], dim=1)


def _in_chunks(task: _Task, inputs: Inputs, wanted: Wanted) -> list[AblationResult]:
    """Explain as many images at a time as the budget allows, half as many when memory runs out.

    Where the model normalises by the statistics of the batch, the images stay together.
    """
    count, budget = count_of(inputs), task.options.memory_budget
    size = count
    if budget is not None and size > 1 and not uses_batch_statistics(task.model):
        size = max(1, min(size, int(budget * IMAGES_SHARE) // _bytes_of_image(task, inputs)))
    results: list[AblationResult] = []
    done = 0
    while done < count:
        rows = slice(done, done + size)
        try:
            results.append(_explain(task.rows(rows), rows_of(inputs, rows), wanted.rows(rows)))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or size == 1 or uses_batch_statistics(task.model):
                raise
            size = (size + 1) // 2
        else:
            done += size
    return results


def _bytes_of_image(task: _Task, inputs: Inputs) -> int:
    """What one more image costs before any group is ablated."""
    recordings = task.record(rows_of(inputs, slice(1)))
    layers = sum(4 * recording.activations.nbytes for recording in recordings)
    intact = bytes_per_image(task.model, inputs, task.options.run)
    # Propagation keeps what the intact network computes in its tail.
    tails = [each.tail.nbytes for each in recordings if isinstance(each.tail, Program)]
    return layers + max(intact, *tails, 0)


def _explain(task: _Task, inputs: Inputs, wanted: Wanted) -> AblationResult:
    """Explain some images: the first target, and in ``further`` the others."""
    recordings, count = task.record(inputs, wanted), count_of(inputs)
    output = recordings[0].output
    head = _head(task.meaning, recordings[0], count)
    wanted = wanted.known_for(head)
    classes = wanted.classes(head, output, count).to(recordings[0].activations.device)
    absent = classes < 0
    reading = Reading.of(head, task.options.score, classes.clamp(min=0), output, wanted.beside)
    roles = [EXPLAINED, *(name for name, _ in wanted.also)]
    results = []
    for place, recording in enumerate(recordings):
        means = task.means[place] if task.means else None
        found = _explain_one(task, inputs, recording, reading, means)
        of_roles = [_of_role(found, reading, place, absent) for place in range(len(roles))]
        named = [replace(each, role=role) for each, role in zip(of_roles, roles, strict=True)]
        results.append(replace(named[0], also=tuple(named[1:])))
    return replace(results[0], further=tuple(results[1:]))


@dataclass(frozen=True)
class _Found:
    """The drops of all classes at one target."""

    recording: Recording
    question: Question
    maps: Tensor
    drops: Tensor
    engine: str
    fallback: str | None


def _explain_one(
    task: _Task, inputs: Inputs, recording: Recording, reading: Reading, means: Tensor | None
) -> _Found:
    options, activations = task.options, recording.activations
    where = infer_layout(options.layout, activations.shape, likeliest_picture(inputs).shape)
    question = _question(task, inputs, recording, reading, where.channel_dim, means)
    drops, engine, fallback = find_drops(
        question,
        recording.tail if recording.scored is None else recording.scored,
        engine=options.engine,
        memory_budget=options.memory_budget,
    )
    return _Found(recording, question, where.maps(activations), drops, engine, fallback)


def _of_role(found: _Found, reading: Reading, place: int, absent: Tensor) -> AblationResult:
    """The result for one of the classes; of images that do not have it, it is not known."""
    missing = absent[:, place]
    scores = found.question.scores[:, place].masked_fill(missing, torch.nan)
    drops = found.drops[..., place].masked_fill(missing[:, None], torch.nan)
    return AblationResult(
        **_found(drops, found.question.owners, scores, found.maps),
        **_sayings(reading, place, found.recording.output),
        classes=reading.classes[:, place].masked_fill(missing, -1).cpu(),
        layer=str(found.recording.tap),
        engine=found.engine,
        fallback=found.fallback,
        task=reading.heads[place].task,
    )


def _question(
    task: _Task,
    inputs: Inputs,
    recording: Recording,
    reading: Reading,
    channel_dim: int,
    means: Tensor | None,
) -> Question:
    options, activations = task.options, recording.activations
    owners = _owners(options.groups, activations.shape[channel_dim], activations.device)
    ablated = ablate(activations, options.ablation, channel_dim, means)
    scores, columns = recording.scores, reading.columns
    if scores is None:
        images = torch.arange(count_of(inputs), device=activations.device)
        scores = reading.scores(recording.output, images)
    elif recording.scored is not None:
        # The recorded tail ends in the scores: each is a column of its own.
        places = torch.arange(scores.shape[1], device=scores.device).expand(scores.shape)[..., None]
        columns = (places, torch.ones_like(places))
    return Question(
        model=task.model,
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
        linear=reading.linear if columns is None and reading.is_affine else None,
    )


def _found(drops: Tensor, owners: Tensor, scores: Tensor, maps: Tensor) -> dict[str, Any]:
    """What follows from the (N, G) drops of one class, on the CPU."""
    balance = balance_of(drops)
    drops = drops[:, owners]
    weights = channel_weights(drops, scores)
    # Of rounding, weights would make a map like any other: it is relative to the largest.
    rounding = VANISHING * torch.finfo(scores.dtype).eps * scores.abs()
    largest = drops.abs().amax(dim=1)
    vanish = (largest > 0) & (largest <= rounding)
    weights = torch.where(vanish[:, None], 0, weights)
    return {
        "heatmaps": weighted_heatmaps(weights, maps).float().cpu(),
        "weights": weights.cpu(),
        "drops": drops.cpu(),
        "scores": scores.cpu(),
        "ablated_scores": (scores[:, None] - drops).cpu(),
        "balance": balance.cpu(),
        "vanished": vanish.cpu(),
    }


def _head(meaning: Meaning, recording: Recording, count: int) -> Head:
    output, program = recording.output, recording.tail
    activation = last_activation(program) if isinstance(program, Program) else None
    return meaning.head(output, count, activation)


def _sayings(reading: Reading, place: int, output: Any) -> dict[str, Any]:
    """What captions say of an output, and the region that is explained, on the CPU."""
    head = reading.heads[place]
    said = head.says(output, reading.classes[:, place], reading.score, MAX_TOP)
    found = {name: None if value is None else value.cpu() for name, value in vars(said).items()}
    region = getattr(head, "region", None)
    return {**found, "regions": None if region is None else region.cpu()}


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
