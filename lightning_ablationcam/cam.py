"""Ablation-CAM of any ``nn.Module``: the function ``ablation_cam``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lightning_ablationcam.engine.drops import Found, Within, find_drops, predicts
from lightning_ablationcam.engine.experience import experience_of
from lightning_ablationcam.engine.recorder import Forward
from lightning_ablationcam.method.ablations import Ablation
from lightning_ablationcam.method.balance import balance_of
from lightning_ablationcam.method.heads.base import Task
from lightning_ablationcam.method.heads.meaning import AnyTask
from lightning_ablationcam.method.heads.vectors import Embeddings
from lightning_ablationcam.method.heatmaps import signed_heatmaps
from lightning_ablationcam.method.reading import Reading
from lightning_ablationcam.method.scores import Classes, Score
from lightning_ablationcam.method.wanted import Also, Wanted
from lightning_ablationcam.method.weights import channel_weights
from lightning_ablationcam.network.inputs import (
    Inputs,
    count_of,
    likeliest_picture,
    plain,
    rows_of,
    shapes_of,
)
from lightning_ablationcam.network.isolation import isolated, warn
from lightning_ablationcam.network.layers import TargetLayer
from lightning_ablationcam.network.memory import in_batches, is_out_of_memory
from lightning_ablationcam.options import Engine, Groups, Options
from lightning_ablationcam.result import AblationResult, joined
from lightning_ablationcam.setting import (
    Asked,
    Setting,
    ask,
    checked_wanted,
    in_chunks,
    prepared,
    tell_of_empty_masks,
    unused_masks_notice,
)

MAX_TOP = 5
"""How many of the classes with the highest scores a result holds."""

SAME = 1e-4
"""Rounding allowed between an image alone and among others, as a share of the largest value."""

VANISHING = 8
"""Drops of so many units in the last place of the score are its rounding, and no map."""


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
    tolerance: float | None = None,
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
        classes: None for each image's predicted class, an int for all images, or N ints. None is,
            for segmentation, the class that covers most of an image but for class 0, which mostly
            is the background; for embeddings the most similar one. Where ``task`` has no classes,
            the column.
        score: ``"logit"``, ``"probability"`` (see :class:`AblationResult`), ``"contrast"`` (the
            class's logit minus its rival's: why this and not that), or a callable
            ``(output, classes) -> (N,)``. A network of one logit has the classes 0 and 1, and the
            logit of class 0 is its negative.
        ablation: What takes a channel's place: ``"zero"``, ``"mean"`` (the channel's mean over
            ``reference``), ``"noise"`` (Gaussian noise of the channel's mean and standard deviation
            over ``reference``, always the same, for all images alike), a number that the channel is
            scaled by, or a callable ``(activations) -> activations``.
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
        reference: The images over which ``ablation="mean"`` and ``"noise"`` take means and
            deviations, default ``inputs``: a tensor or a :class:`~lightning_ablationcam.ProbeSet`.
            An image that is not finite at the layer is left out.
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
            score is the cosine, and ``classes`` are rows of them; or ``"own"``, the image's own
            embedding: the drop is how much of it is lost, so that hardly any channel speaks
            against it, and the balance is near 1.
        masks: (N, H, W), at any resolution, for segmentation: bool, the region over which the mean
            is taken, or int, the class at each place. Default where the model predicts the class.
            Where that is nowhere, the region is the whole image.
        tolerance: What a heatmap may be off by anywhere, as a share of its maximum, such as 0.02;
            None computes every channel. Far from the output, where every channel needs much of the
            network run again, only those channels are then computed that the bound needs; the
            drops of the others are predicted, from their first order or, on a GPU, in TF32, and
            corrected by those that were computed. ``result.error`` is the bound of the heatmap
            (none is known for single drops and weights, and the balance that is made of them);
            ``result.computed`` says which channels were computed: all where predicting would spare
            nothing or is not possible. Where drops are predicted on a CPU each image is run alone,
            if that is nothing else to the model, and stops when its own map is within the
            tolerance; on a GPU the images share the channels that are computed.

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
        keep_maps=True,
        tolerance=tolerance,
    )
    result = explain_classes(model, target_layer, inputs, classes, options, warn, masks=masks)
    if result.fallback is not None:
        warn(replay_notice(result.fallback))
    if masks is not None and result.regions is None:
        warn(unused_masks_notice(result.task))
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
    largest_label: int | None = None,
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
        largest_label: The largest of labels that are classes.

    Returns:
        The result, on the CPU; those of further layers are in its ``further``.
    """
    wanted = checked_wanted(model, target_layer, inputs, classes, options, labels, masks)
    with isolated(model, tell):
        inputs = plain(inputs)
        setting = prepared(
            model, target_layer, inputs, wanted, options, masks, declared, largest_label
        )
        result = joined(in_chunks(setting, inputs, wanted, _explain))
    _tell_what_is_missing(result, options, tell)
    if masks is not None and result.task == "segmentation":
        tell_of_empty_masks(masks, result.classes, tell)
    return result


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


def _explain(setting: Setting, inputs: Inputs, wanted: Wanted) -> AblationResult:
    """Explain some images: the first target, and in ``further`` the others."""
    if not _may_be_apart(setting, inputs):
        return _together(setting, ask(setting, inputs, wanted))
    known = experience_of(setting.model, ("apart", *map(str, setting.targets), shapes_of(inputs)))
    if not known.apart:
        everything = ask(setting, inputs, wanted)
        engine = setting.options.engine
        spares = any(predicts(asked.question, asked.tail, engine=engine) for asked in everything)
        known.apart = spares and _is_divisible(setting, inputs, wanted, everything)
        if not known.apart:
            return _together(setting, everything)
        del everything  # Memory for the images one by one.
    return joined(
        in_batches(
            count_of(inputs),
            1,
            lambda rows: _together(
                setting.rows(rows),
                ask(setting.rows(rows), rows_of(inputs, rows), wanted.rows(rows)),
            ),
        )
    )


def _together(setting: Setting, everything: Sequence[Asked]) -> AblationResult:
    results = [_of_target(setting, asked) for asked in everything]
    return replace(results[0], further=tuple(results[1:]))


def _may_be_apart(setting: Setting, inputs: Inputs) -> bool:
    """Whether each image is explained alone, where drops are predicted.

    Each then stops when its own map is within the tolerance. One image alone would leave most of a
    GPU idle: there, they share the channels that are computed.
    """
    on_cpu = likeliest_picture(inputs).device.type == "cpu"
    wanted = setting.options.tolerance is not None and setting.options.engine != "replay"
    return wanted and on_cpu and count_of(inputs) > 1


def _is_divisible(
    setting: Setting, inputs: Inputs, wanted: Wanted, everything: Sequence[Asked]
) -> bool:
    """Whether an image alone is to the model, and to the ablation, what it is among the others."""
    one = slice(1)
    try:
        alone = ask(setting.rows(one), rows_of(inputs, one), wanted.rows(one))
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return False  # Among the others, it was taken: so it is left among them.
    return all(
        _same(mine.question.scores, whole.question.scores[one])
        and _same(mine.question.ablated, whole.question.ablated[one])
        for mine, whole in zip(alone, everything, strict=True)
    )


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two results of a network are the same up to rounding."""
    if one.shape != other.shape:
        return False
    finite = other[other.isfinite()]
    within = SAME * float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(one, other, rtol=SAME, atol=within, equal_nan=True)


def _of_target(setting: Setting, asked: Asked) -> AblationResult:
    """The result for one of the targets; for further classes in ``also``."""
    options, tolerance = setting.options, setting.options.tolerance
    maps = asked.where.maps(asked.recording.activations)
    found = find_drops(
        asked.question,
        asked.tail,
        engine=options.engine,
        memory_budget=options.memory_budget,
        within=None if tolerance is None else Within(tolerance, maps, asked.absent),
    )
    named = [_of_role(asked, place, found, maps) for place in range(len(asked.roles))]
    return replace(named[0], also=tuple(named[1:]), channel_maps=setting.kept(maps))


def _of_role(asked: Asked, place: int, found: Found, maps: Tensor) -> AblationResult:
    """The result for one of the classes; of images that do not have it, it is not known."""
    question, reading, missing = asked.question, asked.reading, asked.absent[:, place]
    scores = question.scores[:, place].masked_fill(missing, torch.nan)
    drops = found.drops[..., place].masked_fill(missing[:, None], torch.nan)
    return AblationResult(
        **_found(drops, question.owners, scores, maps),
        **_sayings(reading, place, asked.recording.output),
        classes=reading.classes[:, place].masked_fill(missing, -1).cpu(),
        layer=str(asked.recording.tap),
        role=asked.roles[place],
        engine=found.engine,
        fallback=found.fallback,
        task=reading.heads[place].task,
        error=found.error[:, place].masked_fill(missing.cpu(), torch.nan),
        computed=found.computed[:, question.owners.cpu()],
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


def _sayings(reading: Reading, place: int, output: Any) -> dict[str, Any]:
    """What captions say of an output, and the region that is explained, on the CPU."""
    head = reading.heads[place]
    said = head.says(output, reading.classes[:, place], reading.score, MAX_TOP)
    found = {name: None if value is None else value.cpu() for name, value in vars(said).items()}
    region = getattr(head, "region", None)
    return {**found, "regions": None if region is None else region.cpu()}
