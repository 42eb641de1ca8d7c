"""Ablation-CAM of any ``nn.Module``: the function ``ablation_cam``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_ablationcam.arguments import is_dense, shown, whole_numbers
from lightning_ablationcam.engine.drops import find_drops
from lightning_ablationcam.engine.ending import last_activation
from lightning_ablationcam.engine.layer_search import resolve_target
from lightning_ablationcam.engine.pairs import changed_pairs
from lightning_ablationcam.engine.program import Program
from lightning_ablationcam.engine.question import Question
from lightning_ablationcam.engine.recorder import Forward, Recording, record
from lightning_ablationcam.engine.replay import bytes_per_image, uses_batch_statistics
from lightning_ablationcam.method.ablations import Ablation, ablate, channel_sums
from lightning_ablationcam.method.balance import balance_of
from lightning_ablationcam.method.head import Head, head_of
from lightning_ablationcam.method.heatmaps import signed_heatmaps
from lightning_ablationcam.method.reading import Reading
from lightning_ablationcam.method.scores import Classes, Score, called_score, has_class_columns
from lightning_ablationcam.method.wanted import EXPLAINED, Also, Wanted
from lightning_ablationcam.method.weights import channel_weights
from lightning_ablationcam.network.isolation import isolated, warn
from lightning_ablationcam.network.layers import check_target_layer, infer_layout
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
    target_layer: str | nn.Module,
    inputs: Tensor,
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
) -> AblationResult:
    """Explain class scores by ablating every channel of one layer.

    For each image, class score y and channel k of the target layer's output A, the score y_k is
    computed with channel k ablated. The channel's weight is its relative drop
    (y - y_k) / max(|y|, floor) and the heatmap is ReLU(sum_k w_k A_k). The floored |y| equals the
    paper's y wherever y is positive; see
    :func:`~lightning_ablationcam.method.weights.channel_weights`.

    The model is left as it was found: modes, hooks and random number generators.

    Args:
        model: Any module that maps ``inputs`` to logits of shape (N, C).
        target_layer: The value that is explained: dotted name of a module (``"layer4"``) or the
            module itself, for what it returns; ``"bn:activation"`` for what the pointwise
            operations after it make of that, ``"pool:input"`` for what it is given, ``"act#-1"``
            for one of several calls; or ``"auto"``, the last spatial value that still reaches the
            score, after its activation (for a transformer with a class token the last block's
            first norm). ``result.layer`` says which it was.
        inputs: (N, ...) tensor the model is fed, on the model's device and in its dtype.
        classes: None for each image's predicted class, an int for all images, or N ints.
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

    Returns:
        The result, on the CPU.

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
        score, ablation, groups, layout, engine, memory_budget, forward, also, reference
    )
    result = explain_classes(model, target_layer, inputs, classes, options, warn)
    if result.fallback is not None:
        warn(replay_notice(result.fallback))
    return result


def replay_notice(reason: str) -> str:
    """What the user is told where ``engine="auto"`` had to replay."""
    return f"replays the network for every channel, which is slow: {reason}"


def explain_classes(
    model: nn.Module,
    target_layer: str | nn.Module,
    inputs: Tensor,
    classes: Classes,
    options: Options,
    tell: Callable[[str], None],
    labels: Tensor | None = None,
) -> AblationResult:
    """:func:`ablation_cam` without a warning: that it had to replay is in ``fallback``.

    Args:
        model: As in :func:`ablation_cam`.
        target_layer: Likewise.
        inputs: Likewise.
        classes: Likewise.
        options: The other arguments.
        tell: Is told of what could not be given back to the model.
        labels: (N,) what ``also="label"`` stands for.

    Returns:
        The result, on the CPU.
    """
    check_target_layer(target_layer)
    _check_inputs(model, inputs)
    wanted = Wanted.of(classes, options.also, len(inputs), inputs.device, labels)
    with isolated(model, tell):
        if inputs.is_inference():
            inputs = inputs.clone()

        def score_of(output: Any, first: int) -> Tensor:
            head = head_of(output, first)
            mine = Wanted(wanted.first).rows(slice(first)).classes(head, output, first)
            reading = Reading.of(head, options.score, mine, output)
            return reading.scores(output, torch.arange(first, device=mine.device))[:, 0]

        target = resolve_target(
            model, target_layer, inputs, score_of, layout=options.layout, forward=options.run
        )
        task = _with_means(_Task(model, target, options), inputs)
        result = joined(_in_chunks(task, inputs, wanted))
    vanished = 0 if result.vanished is None else int(result.vanished.sum())
    if vanished:
        tell(
            f"no channel moves the score by more than its rounding in {vanished} of {len(inputs)} "
            f"images at {result.layer!r}, so their maps are empty"
        )
    if len(result.also) < len(options.also):
        tell(
            f"also={options.also!r}: the output has no column for each class, so nothing but the "
            "classes that are given can be explained"
        )
    return result


def _check_inputs(model: nn.Module, inputs: Tensor) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model={shown(model)}; expected an nn.Module")
    if not isinstance(inputs, Tensor):
        raise TypeError(
            f"inputs={shown(inputs)}; expected a tensor of shape (N, ...). If the "
            "model takes something else, build it from the tensor in forward=(model, inputs)"
        )
    if not is_dense(inputs):
        raise TypeError(f"inputs={shown(inputs)} is sparse or has no values; expected a tensor")
    if inputs.ndim < 2 or not len(inputs):
        raise ValueError(
            f"inputs has shape {tuple(inputs.shape)}; expected at least one image, (N, C, H, W)"
        )


@dataclass(frozen=True)
class _Task:
    """What is the same for all images."""

    model: nn.Module
    target: Target
    options: Options
    means: Tensor | None = None

    def record(self, inputs: Tensor, wanted: Wanted | None = None) -> Recording:
        """Run the model once on some images; scores of the user's own are recorded with it."""
        score, read = self.options.score, None
        if callable(score) and wanted is not None:
            read = partial(_called_scores, score, wanted, len(inputs))
        return record(
            self.model,
            self.target,
            inputs,
            self.options.run,
            tail=self.options.engine != "replay",
            read=read,
        )


def _with_means(task: _Task, inputs: Tensor) -> _Task:
    """The task with what it replaces channels by, where that is their mean over a reference set."""
    if task.options.ablation != "mean" or callable(task.options.ablation):
        return task
    reference = task.options.reference_inputs
    images = inputs if reference is None else reference.to(inputs)
    size = len(images) if uses_batch_statistics(task.model) else REFERENCE_BATCH
    total, count = torch.zeros((), dtype=torch.float64, device=inputs.device), 0
    for start in range(0, len(images), size):
        rows = images[start : start + size]
        activations = record(
            task.model, task.target, rows, task.options.run, tail=False
        ).activations
        where = infer_layout(task.options.layout, activations.shape, rows.shape)
        sums, many = channel_sums(activations, where.channel_dim)
        total, count = total + sums, count + many
    return replace(task, means=total / count)


def _called_scores(
    score: Callable[[Any, Tensor], Tensor], wanted: Wanted, count: int, output: Any
) -> Tensor | None:
    """(N, Q) the user's scores; None where the output decides on classes, and cannot be asked.

    While the tail is recorded, a class that is read off the output would be a part of it.
    """
    known = wanted.known_for(output, count)
    if known.first is None or known.depends_on_output:
        return None
    given = [known.first, *(each for _, each in known.also if each is not None)]
    return torch.stack([called_score(score, output, each) for each in given], dim=1)


def _in_chunks(task: _Task, inputs: Tensor, wanted: Wanted) -> list[AblationResult]:
    """Explain as many images at a time as the budget allows, half as many when memory runs out.

    Where the model normalises by the statistics of the batch, the images stay together.
    """
    size, budget = len(inputs), task.options.memory_budget
    if budget is not None and size > 1 and not uses_batch_statistics(task.model):
        size = max(1, min(size, int(budget * IMAGES_SHARE) // _bytes_of_image(task, inputs)))
    results: list[AblationResult] = []
    done = 0
    while done < len(inputs):
        rows = slice(done, done + size)
        try:
            results.append(_explain(task, inputs[rows], wanted.rows(rows)))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or size == 1 or uses_batch_statistics(task.model):
                raise
            size = (size + 1) // 2
        else:
            done += size
    return results


def _bytes_of_image(task: _Task, inputs: Tensor) -> int:
    """What one more image costs before any group is ablated."""
    recording = task.record(inputs[:1])
    layer = 4 * recording.activations.nbytes
    intact = bytes_per_image(task.model, inputs, task.options.run)
    # Propagation keeps what the intact network computes in its tail.
    kept = recording.tail.nbytes if isinstance(recording.tail, Program) else 0
    return layer + max(intact, kept)


def _explain(task: _Task, inputs: Tensor, wanted: Wanted) -> AblationResult:
    options, recording = task.options, task.record(inputs, wanted)
    activations, count = recording.activations, len(inputs)
    where = infer_layout(options.layout, activations.shape, inputs.shape)
    wanted = wanted.known_for(recording.output, count)
    head = _head(recording, count)
    classes = wanted.classes(head, recording.output, count).to(activations.device)
    reading = Reading.of(head, options.score, classes, recording.output)
    question = _question(task, inputs, recording, reading, where.channel_dim)
    drops, engine, fallback = find_drops(
        question,
        recording.tail if recording.scored is None else recording.scored,
        engine=options.engine,
        memory_budget=options.memory_budget,
    )
    maps = where.maps(activations)
    results = [
        AblationResult(
            **_found(drops[..., place], question.owners, question.scores[:, place], maps),
            **_sayings(head, recording.output, classes[:, place], options.score),
            classes=classes[:, place].cpu(),
            layer=str(recording.tap),
            engine=engine,
            fallback=fallback,
            role=role,
        )
        for place, role in enumerate([EXPLAINED, *(name for name, _ in wanted.also)])
    ]
    return replace(results[0], also=tuple(results[1:]))


def _question(
    task: _Task, inputs: Tensor, recording: Recording, reading: Reading, channel_dim: int
) -> Question:
    options, activations = task.options, recording.activations
    owners = _owners(options.groups, activations.shape[channel_dim], activations.device)
    ablated = ablate(activations, options.ablation, channel_dim, task.means)
    scores, columns = recording.scores, reading.columns
    if scores is None:
        images = torch.arange(len(inputs), device=activations.device)
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
    signed = signed_heatmaps(weights, maps)
    return {
        "heatmaps": signed.relu().float().cpu(),
        "signed": signed.float().cpu(),
        "weights": weights.cpu(),
        "drops": drops.cpu(),
        "scores": scores.cpu(),
        "ablated_scores": (scores[:, None] - drops).cpu(),
        "balance": balance.cpu(),
        "vanished": vanish.cpu(),
    }


def _head(recording: Recording, count: int) -> Head:
    output, program = recording.output, recording.tail
    if not isinstance(program, Program) or not has_class_columns(output, count):
        return head_of(output, count)
    return head_of(output, count, last_activation(program))


def _sayings(head: Head, output: Any, classes: Tensor, score: Score) -> dict[str, Any]:
    """What captions say of an output, on the CPU; nothing where it is no (N, C) tensor."""
    count = len(classes)
    if not has_class_columns(output, count):
        return {}
    predicted, probabilities = head.says(output, classes, score)
    if probabilities is None:
        return {"predicted": predicted.cpu()}
    top = head.top(output, count, MAX_TOP)
    likely = [head.probabilities(output, column) for column in top.T]
    return {
        "predicted": predicted.cpu(),
        "probabilities": probabilities.cpu(),
        "top_classes": top.cpu(),
        "top_probabilities": torch.stack(likely, dim=1).cpu(),
    }


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
