"""What an explanation found."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_ablationcam.archive import read_archive, write_archive
from lightning_ablationcam.method.fusion import fused_heatmaps

_KIND = "AblationResult"
_VERSION = 1
"""Of the files of results: to be raised when an older reader would misread a new file."""

_WORDS = ("layer", "engine", "fallback", "role", "task")
_NESTED = ("also", "further")

_ORDINALS = ("second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")


@dataclass(frozen=True, eq=False)
class AblationResult:
    """What :func:`~lightning_ablationcam.ablation_cam` found, for N images and K channels.

    Tensors are on the CPU.

    Attributes:
        heatmaps: (N, h, w) float32, after the ReLU, at the layer's own resolution, not normalised;
            (N, d, h, w) for a layer of three spatial dimensions.
        weights: (N, K) channel weights, ``drops / max(|scores|, floor)``.
        drops: (N, K) class score minus class score with the channel ablated.
        scores: (N,) class score of the intact model.
        ablated_scores: (N, K) ``scores - drops``.
        classes: (N,) int64, the classes explained.
        layer: The value explained, as ``target_layer`` takes it, such as ``"bn:activation"``.
        engine: ``"propagate"`` or ``"replay"``, the engine that computed the drops.
        predicted: (N,) int64 class that the model predicts: the one with the largest logit (of
            several labels the likeliest one; of a segmentation the largest mean logit over the
            region), or, where it returns one logit, 1 if that is positive and else 0. None where
            the output has no classes.
        probabilities: (N,) probability of ``classes``: the softmax, the sigmoid of one logit or of
            each of several labels, their mean over the region of a segmentation, or what the model
            returns where it ends in one of them. None likewise, and where a score of your own
            leaves open what logits mean.
        fallback: Why ``engine="auto"`` had to replay, or None.
        balance: (N,) float64 in 0 ... 1, the share of the channels' influence on the score that
            speaks for the class: the sum of the positive drops over the sum of all drops' sizes.
            0.5 is as much for it as against it. How strong a map is, as a number that may be
            compared over time: neither the score nor the scale of the activations moves it.
        vanished: (N,) bool, whether there are drops, but none exceeds the score's rounding. Their
            weights and maps are set to zero, since a map of rounding would look like any other.
        role: What is explained here: ``"explained"`` for the class that was asked for first, and
            the entry of ``also`` for each further one.
        top_classes: (N, T) int64, the classes with the highest scores, the highest first; None
            where ``probabilities`` is. T is 5, or the number of classes.
        top_probabilities: (N, T) their probabilities.
        task: What the model's output was taken to mean, such as ``"multiclass"``; None where only a
            score of your own can read it.
        regions: (N, H, W) bool, where the mean logit of a segmentation was taken, at the resolution
            of the model's output; None for anything else.
        also: What was found for the further classes, from the same recording.
        further: What was found for further layers, from the same recording; see :attr:`layers`.
        channel_maps: (N, K, h, w) float32, the channels' own maps, for
            :func:`~lightning_ablationcam.group_channels`; (N, K, d, h, w) for three spatial
            dimensions. None where they would take more than 256 MiB, in the monitor's results, and
            in those of ``also``, whose maps are the same.
        signed: (N, h, w) float32, likewise: the maps before the ReLU. Below 0 is what speaks
            against the class; ``heatmaps`` is ``signed.relu()``.
        error: (N,) float64, what ``heatmaps`` may be off by anywhere, as a share of its maximum:
            0 where every channel was computed; where some were predicted, because a ``tolerance``
            allowed it, a bound that holds at 99 % confidence, if the predictions' errors scatter as
            those that were seen. Of a map without any heat, a share of the largest value against
            the class. NaN where nothing is explained.
        computed: (N, K) bool, which channels' drops were computed; the others are predicted.

    ``drops``, ``weights`` and ``scores`` are float32, or float64 where the model computes in
    float64 and for ``score="probability"``.
    """

    heatmaps: Tensor
    weights: Tensor
    drops: Tensor
    scores: Tensor
    ablated_scores: Tensor
    classes: Tensor
    layer: str
    engine: str
    predicted: Tensor | None = None
    probabilities: Tensor | None = None
    fallback: str | None = None
    balance: Tensor | None = None
    vanished: Tensor | None = None
    role: str = "explained"
    top_classes: Tensor | None = None
    top_probabilities: Tensor | None = None
    task: str | None = None
    regions: Tensor | None = None
    also: tuple[AblationResult, ...] = ()
    further: tuple[AblationResult, ...] = ()
    channel_maps: Tensor | None = None
    signed: Tensor | None = None
    error: Tensor | None = None
    computed: Tensor | None = None

    @property
    def layers(self) -> tuple[AblationResult, ...]:
        """The results of all layers that were asked for, in their order; of one layer itself."""
        return (replace(self, further=()), *self.further)

    def fused(self) -> Tensor:
        """One map of the maps of all layers, on the finest of their grids.

        Their geometric mean; see :func:`~lightning_ablationcam.method.fusion.fused_heatmaps`.

        Returns:
            (N, H, W) float32 between 0 and 1.

        Example:
            >>> from lightning_ablationcam import ablation_cam
            >>> model = torch.nn.Sequential(
            ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3, stride=2),
            ...     torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 4, 2),
            ... )
            >>> result = ablation_cam(model, ["1", "3"], torch.rand(2, 3, 8, 8))
            >>> [tuple(each.heatmaps.shape) for each in result.layers], result.fused().shape
            ([(2, 6, 6), (2, 2, 2)], torch.Size([2, 6, 6]))
        """
        return fused_heatmaps([each.heatmaps for each in self.layers])

    def save(self, file: str | os.PathLike[str]) -> Path:
        """Write all of it into one ``.npz``, which ``numpy.load`` reads without pickle.

        Its arrays are called as the attributes are; those of ``also`` and ``further`` are called
        ``"also/0/heatmaps"`` and so on. The words are JSON in ``"about"``.

        Args:
            file: Where; ``.npz`` is added where it lacks. It replaces what was there once it is
                complete.

        Returns:
            The file, with its suffix.

        Raises:
            OSError: If it cannot be written.

        Example:
            >>> import tempfile
            >>> from lightning_ablationcam import AblationResult, ablation_cam
            >>> model = torch.nn.Sequential(
            ...     torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 2)
            ... )
            >>> result = ablation_cam(model, "0", torch.rand(2, 3, 8, 8))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     file = result.save(f"{folder}/cats")
            ...     again = AblationResult.load(file)
            ...     names = np.load(file).files
            >>> file.name, again.heatmaps.equal(result.heatmaps), "heatmaps" in names
            ('cats.npz', True, True)
        """
        arrays: dict[str, NDArray[Any]] = {}
        about = _packed(self, "", arrays)
        return write_archive(file, _KIND, _VERSION, arrays, about)

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> AblationResult:
        """Read what :meth:`save` has written, with the same types and to the last bit.

        Args:
            file: The file; nothing in it is run.

        Raises:
            OSError: If it cannot be read.
            ValueError: If it holds something else, is damaged, or was written by a later version.
        """
        arrays, about = read_archive(file, _KIND, _VERSION)
        try:
            return _unpacked(arrays, about, "")
        except (KeyError, TypeError) as error:
            raise ValueError(f"{os.fspath(file)!r} holds no whole {_KIND}: {error}") from error

    def draw(
        self,
        pictures: NDArray[np.uint8],
        class_names: Sequence[str] | None = None,
        *,
        signed: bool = False,
    ) -> NDArray[np.uint8]:
        """Draw each picture above the same with its heat, each map on a scale of its own.

        The region that is explained, where there is one, is outlined.

        Args:
            pictures: (N, H, W, 3) uint8, RGB: the images as they look, for example
                ``ProbeSet(...).pictures()``; for a layer of three spatial dimensions
                ``ProbeSet(...).pictures(result.heatmaps.shape[1:])``, the slices beside each other.
            class_names: Name of each class index.
            signed: Whether to draw what speaks against the class too, in colours of its own and
                on the same scale.

        Returns:
            (H', W', 3) uint8, RGB, ready for ``PIL.Image.fromarray``.

        Raises:
            TypeError: If ``pictures`` is no uint8 array.
            ValueError: If there are not N of them, their slices are not those of the maps, or
                ``signed`` maps are asked for and there are none.

        Example:
            >>> from lightning_ablationcam import ablation_cam
            >>> model = torch.nn.Sequential(
            ...     torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 2)
            ... )
            >>> result = ablation_cam(model, "0", torch.rand(2, 3, 8, 8))
            >>> result.draw(np.zeros((2, 32, 32, 3), np.uint8), ["cat", "dog"]).dtype
            dtype('uint8')
        """
        if signed and self.signed is None:
            raise ValueError("signed=True: this result holds no signed maps")
        # Here, so that whoever draws nothing needs no Pillow.
        from lightning_ablationcam.render.gallery import gallery
        from lightning_ablationcam.render.mosaic import Mosaic, flat_maps

        chosen = self.signed if signed and self.signed is not None else self.heatmaps
        maps = torch.from_numpy(flat_maps(chosen.numpy()))
        if self.heatmaps.ndim > 3:
            depth, height, width = self.heatmaps.shape[1:]
            if not Mosaic(depth, height, width).fits(np.asarray(pictures)):
                raise ValueError(
                    f"pictures, of shape {np.shape(pictures)}, do not show the slices of the "
                    f"maps, which are {depth}x{height}x{width}; give "
                    "ProbeSet(...).pictures(result.heatmaps.shape[1:])"
                )
        peaks = maps.abs().amax(dim=(1, 2), keepdim=True)
        shares = (maps / torch.where(peaks > 0, peaks, 1)).numpy()
        captions = [self._caption(row, class_names) for row in range(len(shares))]
        what = "largest value of each map" if signed else "maximum of each map"
        drawable = self.regions is not None and self.regions.ndim == 3
        regions = self.regions.bool().numpy() if drawable and self.regions is not None else None
        return gallery(pictures, shares, captions, what, signed=signed, regions=regions)

    def _caption(self, row: int, class_names: Sequence[str] | None) -> list[str]:
        def name(index: int) -> str:
            known = class_names or ()
            return known[index] if 0 <= index < len(known) else f"class {index}"

        explained = int(self.classes[row])
        if explained < 0:  # An image with fewer labels than others.
            return [_none_of(self.role)]
        value = f"{float(self.scores[row]):.3g}"
        if self.task == "regression":
            return [name(explained), value] if class_names else [value]
        if self.task == "similarity":
            # A caption is one of several also where it has no name.
            named = class_names or self.predicted is not None
            return [*([name(explained)] if named else []), f"similarity {value}"]
        lines = [name(explained)]
        if self.probabilities is not None:
            lines.append(f"probability {float(self.probabilities[row]):.0%}")
        # Of several labels the likeliest is no prediction of one.
        said = explained if self.predicted is None else int(self.predicted[row])
        if said != explained and self.task != "multilabel":
            lines.append(f"predicted {name(said)}")
        return lines


def _packed(result: AblationResult, path: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Put the tensors of a result among arrays; what is left of it is returned."""
    about: dict[str, Any] = {}
    for name in (field.name for field in fields(result)):
        value = getattr(result, name)
        if isinstance(value, Tensor):
            arrays[path + name] = value.detach().cpu().numpy()
        elif name in _NESTED:
            about[name] = [
                _packed(each, f"{path}{name}/{i}/", arrays) for i, each in enumerate(value)
            ]
        elif name in _WORDS:
            about[name] = value
    return about


def _unpacked(
    arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any], path: str
) -> AblationResult:
    found: dict[str, Any] = {name: about[name] for name in _WORDS}
    for name in _NESTED:
        found[name] = tuple(
            _unpacked(arrays, each, f"{path}{name}/{i}/") for i, each in enumerate(about[name])
        )
    for name in (field.name for field in fields(AblationResult)):
        if path + name in arrays:
            found[name] = torch.from_numpy(arrays[path + name])
    return AblationResult(**found)


def _none_of(role: str) -> str:
    """That an image has nothing under a role.

    Example:
        >>> _none_of("label 2"), _none_of("rival")
        ('no second label', 'no rival')
    """
    name, _, place = role.partition(" ")
    if name == "label" and place.isdecimal() and 2 <= int(place) < 2 + len(_ORDINALS):
        return f"no {_ORDINALS[int(place) - 2]} label"
    return "no label" if role == "explained" else f"no {role}"


def joined(parts: Sequence[AblationResult]) -> AblationResult:
    """The results of some images after one another; replayed, if any of them was.

    Args:
        parts: At least one result, all of one model and layer.
    """
    if len(parts) == 1:
        return parts[0]
    columns = {
        field.name: [getattr(part, field.name) for part in parts] for field in fields(parts[0])
    }
    tensors: dict[str, Any] = {
        name: None if any(value is None for value in values) else torch.cat(values)
        for name, values in columns.items()
        if name not in ("layer", "engine", "fallback", "role", "task", "also", "further")
    }
    return AblationResult(
        **tensors,
        layer=parts[0].layer,
        engine="replay" if "replay" in columns["engine"] else "propagate",
        fallback=next((reason for reason in columns["fallback"] if reason is not None), None),
        role=parts[0].role,
        task=parts[0].task,
        also=tuple(joined(each) for each in zip(*columns["also"], strict=True)),
        further=tuple(joined(each) for each in zip(*columns["further"], strict=True)),
    )
