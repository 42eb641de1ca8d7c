"""``explain``: what a network sees in image files, as pictures and numbers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_ablationcam.cli.parsing import add_module, parser_of

if TYPE_CHECKING:
    from torch import nn

    from lightning_ablationcam.result import AblationResult

IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]

_DESCRIPTION = """\
Explains one class of each image, by default the one that the network predicts, and
writes for each file:

  NAME.png  the picture as the network sees it, above the same with its heatmap, with
            the class and its probability
  NAME.npz  heatmap (h, w) float32, weights (K,) of the layer's channels, score,
            probability, class and layer, as numpy.load reads them, without pickle

Examples:

  lightning-ablationcam explain photos/*.jpg --model resnet18 --init.weights DEFAULT
  lightning-ablationcam explain a.png --model nets:Net --checkpoint last.ckpt --class 3

Pictures are scaled to cover a square of --size pixels, cut to its middle, brought to
0 ... 1, and normalised; with what, is said in the output. It must be what the network was
trained with.
"""


def arguments() -> Any:
    """The parser of this command."""
    parser = parser_of("explain", _DESCRIPTION)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="the image files")
    add_module(parser, "--model", required=True)
    parser.add_argument(
        "--checkpoint",
        type=str | None,
        default=None,
        help="the file of the network's weights: a state dict, or a Lightning checkpoint of it or "
        "of what holds it (default: the weights that it is made with)",
    )
    parser.add_argument(
        "--unsafe_pickle",
        action="store_true",
        help="read the checkpoint also if it holds Python objects other than tensors and plain "
        "values. Reading such a file runs whatever code is in it: only for files that you trust",
    )
    parser.add_argument("--out", default="explained", help="the folder to write to")
    parser.add_argument(
        "--layer",
        default="auto",
        help="the layer that is explained: a dotted name such as layer4, or auto for the last "
        "spatial one",
    )
    parser.add_argument(
        "--class",
        dest="explained",
        type=int | None,
        default=None,
        help="the index of the class (default: the predicted one of each image)",
    )
    parser.add_argument(
        "--class_names", nargs="+", default=None, metavar="NAME", help="the name of each class"
    )
    parser.add_argument(
        "--tolerance",
        type=float | None,
        default=None,
        help="what a map may be off by anywhere, as a share of its maximum, such as 0.02; faster "
        "at layers far from the output (default: maps are exact)",
    )
    parser.add_argument("--size", type=int, default=224, help="the side of the square, in pixels")
    for name, default, what in (
        ("mean", IMAGENET_MEAN, "subtracted from values in 0 ... 1"),
        ("std", IMAGENET_STD, "divided by after that"),
    ):
        parser.add_argument(
            f"--{name}",
            type=float,
            nargs="+",
            default=default,
            help=f"what is {what}: one number, or one for each of red, green and blue; ImageNet's "
            "by default",
        )
    return parser


def run(given: Any) -> int:
    """Explain the files, and say what was found."""
    import torch

    from lightning_ablationcam.cam import ablation_cam
    from lightning_ablationcam.outputs.folder import file_stems

    files = [Path(each) for each in given.images]
    pictures = [_read(file, given.size) for file in files]
    mean, std = _channels("mean", given.mean), _channels("std", given.std)
    model = _model(given).eval()
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    spelled = (" ".join(f"{value:g}" for value in values) for values in (mean, std))
    sys.stdout.write("normalised with mean {} and std {}\n".format(*spelled))
    for file, stem, picture in zip(files, file_stems(f.stem for f in files), pictures, strict=True):
        image = torch.from_numpy(picture[None].copy()).permute(0, 3, 1, 2).contiguous() / 255
        shift, scale = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
        inputs = (image - shift) / scale
        result = ablation_cam(
            model, given.layer, inputs, given.explained, tolerance=given.tolerance
        )
        _write(out / stem, picture, result, given.class_names)
        said = _said(result, given.class_names)
        sys.stdout.write(f"{file}: {said}, layer {result.layer}: {out / stem}.png, .npz\n")
    return 0


def _read(file: Path, size: int) -> Any:
    from PIL import UnidentifiedImageError

    from lightning_ablationcam.arguments import check_count, shown
    from lightning_ablationcam.probes.probe_set import read_rgb

    check_count("size", size)
    if not file.is_file():
        raise FileNotFoundError(f"{shown(str(file))}: there is no such file")
    try:
        return read_rgb(file, (size, size))
    except UnidentifiedImageError as error:
        raise ValueError(f"{shown(str(file))} is no picture that can be read") from error


def _channels(name: str, values: list[float]) -> list[float]:
    """One number for each of the three channels."""
    found = values * 3 if len(values) == 1 else values
    if len(found) != 3 or (name == "std" and min(found) <= 0):
        above = " above 0" if name == "std" else ""
        raise ValueError(f"--{name}={values}; expected one number or three{above}")
    return found


def _model(given: Any) -> nn.Module:
    from lightning_ablationcam.cli.importing import made, maker_of
    from lightning_ablationcam.network.weights import (
        CheckpointError,
        load_weights,
        read_checkpoint,
        weights_of,
    )

    model: nn.Module = made("--model", maker_of("--model", given.model), given.init)
    if given.checkpoint is not None:
        try:
            content = read_checkpoint(
                Path(given.checkpoint), allow_unsafe_pickle=given.unsafe_pickle
            )
            load_weights(model, weights_of(content))
        except CheckpointError as error:
            raise ValueError(f"--checkpoint={given.checkpoint}: {error}") from error
    return model


def _write(place: Path, picture: Any, result: AblationResult, names: list[str] | None) -> None:
    import numpy as np
    from PIL import Image

    from lightning_ablationcam.files import replaced

    probability = result.probabilities
    arrays: dict[str, Any] = {
        "heatmap": result.heatmaps[0].numpy(),
        "weights": result.weights[0].numpy(),
        "score": result.scores[0].numpy(),
        "probability": np.float32("nan") if probability is None else probability[0].numpy(),
        "class": result.classes[0].numpy(),
        "layer": np.str_(result.layer),
    }
    with replaced(place.with_name(f"{place.name}.npz")) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
    with replaced(place.with_name(f"{place.name}.png")) as partial:
        drawn = result.draw(picture[None], names)
        Image.fromarray(drawn).save(partial, format="PNG")


def _said(result: AblationResult, names: list[str] | None) -> str:
    index = int(result.classes[0])
    name = names[index] if names is not None and 0 <= index < len(names) else f"class {index}"
    score = f"score {float(result.scores[0]):.3g}"
    if result.probabilities is None:
        return f"{name}, {score}"
    return f"{name}, probability {float(result.probabilities[0]):.1%}, {score}"
