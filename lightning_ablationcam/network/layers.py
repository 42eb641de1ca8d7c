"""The target layer: which module it is, and where its channels and positions are."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from lightning_ablationcam.arguments import shown

LAYOUTS = ("auto", "NCHW", "NHWC", "tokens")
_TOKEN_FORM = re.compile(r"tokens:(?:(\d{1,6})\+)?(\d{1,6}(?:x\d{1,6}){1,2})", re.ASCII)
_LAYOUT_HELP = (
    "'auto', 'NCHW', 'NHWC', 'tokens' or, with the number of prefix tokens and the grid spelled "
    "out, 'tokens:1+14x14', 'tokens:1+8x14x14' in three dimensions"
)
# None; class; class and distillation; registers with and without a class token. A longer list would
# find a grid in any number of tokens.
_PREFIXES = (0, 1, 2, 4, 5, 8, 9)


TargetLayer: TypeAlias = str | nn.Module | Sequence[str | nn.Module]
"""What is explained: a layer by name or itself, or several."""

MAX_LAYERS = 8
"""How many layers are explained at once at most: each has maps that are kept and written."""


class LayerError(ValueError):
    """The target layer is not in the model, did not run once, or has no map."""


@dataclass(frozen=True)
class Layout:
    """Where a layer's output holds its channels and its positions.

    Attributes:
        kind: ``"NCHW"`` (channels first, one to three spatial dimensions), ``"NHWC"`` (channels
            last, two or three of them) or ``"tokens"`` (images, tokens, channels).
        prefix: How many leading tokens belong to no position (class and register tokens).
        grid: (h, w) or (d, h, w) of the remaining tokens, row by row. Tokens only.
    """

    kind: str
    prefix: int = 0
    grid: tuple[int, ...] | None = None

    @property
    def channel_dim(self) -> int:
        """The dimension of the layer's output that holds the channels."""
        return 1 if self.kind == "NCHW" else -1

    def maps(self, activations: Tensor) -> Tensor:
        """View a layer's output as (N, K, h, w) maps, without prefix tokens.

        (N, K, 1, w) where there is one spatial dimension, (N, K, d, h, w) where there are three.
        """
        if self.kind == "NCHW":
            return activations.unsqueeze(2) if activations.ndim == 3 else activations
        if self.kind == "tokens":
            assert self.grid is not None
            positions = activations[:, self.prefix :]
            activations = positions.view(len(positions), *self.grid, positions.shape[-1])
        return activations.movedim(-1, 1)

    def __str__(self) -> str:
        if self.kind != "tokens" or self.grid is None:
            return self.kind
        return f"tokens:{self.prefix}+{'x'.join(map(str, self.grid))}"


def check_layout(layout: str) -> None:
    """Raise a ``ValueError`` unless ``layout`` is one of the documented forms."""
    if not isinstance(layout, str) or not (layout in LAYOUTS or _TOKEN_FORM.fullmatch(layout)):
        raise ValueError(f"layout={shown(layout)} is not known; choose {_LAYOUT_HELP}")


def several(target_layer: TargetLayer) -> list[str | nn.Module]:
    """The target layers as a list; a module that is itself a sequence of modules is one layer."""
    return [target_layer] if isinstance(target_layer, (str, nn.Module)) else list(target_layer)


def check_target_layer(target_layer: object) -> None:
    """Raise unless ``target_layer`` is a name or a module, or a list of such.

    Raises:
        TypeError: If it is of another kind.
        ValueError: If a list is empty, too long, or names one of them twice.
    """
    is_list = isinstance(target_layer, (list, tuple))
    layers: list[Any] = list(target_layer) if is_list else [target_layer]  # type: ignore[call-overload]
    for layer in layers:
        if not isinstance(layer, (str, nn.Module)):
            raise TypeError(
                f"target_layer={shown(layer)} is a {type(layer).__name__}; expected 'auto', a "
                "dotted name or an nn.Module, or a list of such"
            )
    if not 1 <= len(layers) <= MAX_LAYERS:
        raise ValueError(
            f"target_layer={shown(target_layer)} has {len(layers)} entries; expected 1 to "
            f"{MAX_LAYERS}"
        )
    keys = [layer if isinstance(layer, str) else id(layer) for layer in layers]
    twice = [layer for layer, key in zip(layers, keys, strict=True) if keys.count(key) > 1]
    if twice:
        raise ValueError(
            f"target_layer={shown(target_layer)} names {shown(twice[0])} twice; once is enough"
        )


def find_layer(model: nn.Module, target_layer: str | nn.Module) -> tuple[str, nn.Module]:
    """Find the target layer in a model by dotted name or by identity.

    Args:
        model: The module to look in.
        target_layer: A dotted name as in ``model.named_modules()``, or the module itself.

    Returns:
        Its dotted name and the module.

    Raises:
        TypeError: If ``target_layer`` is neither a name nor a module, or is a ScriptModule.
        LayerError: If the model has no such layer; the message lists the closest names.
    """
    if isinstance(target_layer, nn.Module):
        for name, module in model.named_modules():
            if module is target_layer:
                return _hookable(name, module)
        raise LayerError(
            f"target_layer is a {type(target_layer).__name__} that is not part of the model "
            f"({type(model).__name__}); choose one of its modules or a dotted name, for example "
            f"{example_names([name for name, _ in model.named_modules()])}"
        )
    check_target_layer(target_layer)
    try:
        if target_layer:
            return _hookable(target_layer, model.get_submodule(target_layer))
    except AttributeError:
        pass
    # A module may have two names, as a backbone that is also an attribute of its own.
    names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    raise LayerError(
        f"target_layer={shown(target_layer)} is not a layer of {type(model).__name__}; "
        f"{closest_names(target_layer, names)}"
    )


def closest_names(wanted: str, names: Sequence[str]) -> str:
    """A sentence that offers the names most like ``wanted``: same ending first, then spelling."""
    same_end = [name for name in names if wanted and name.endswith("." + wanted)]
    spelled = difflib.get_close_matches(wanted, names, n=5, cutoff=0.5)
    close = list(dict.fromkeys(same_end + spelled))[:5]
    if close:
        return "closest names: " + ", ".join(repr(name) for name in close)
    return f"choose 'auto' or a name from model.named_modules(), for example {example_names(names)}"


def check_value(name: str, value: Any, count: int) -> Tensor:
    """The tensor that is to be explained, or a clear error.

    Args:
        name: What the user calls it, for the message.
        value: What was found there in a forward pass.
        count: The number of images.

    Returns:
        The value.

    Raises:
        LayerError: If it is no tensor, or has no spatial map.
    """
    if not isinstance(value, Tensor):
        raise LayerError(
            f"target_layer={name!r} returned a {type(value).__name__}, not a tensor; choose a "
            "layer inside or after it that returns one tensor"
        )
    if not value.is_floating_point() or value.ndim < 3 or len(value) != count:
        raise LayerError(
            f"target_layer={name!r} has no spatial map: it returned shape {tuple(value.shape)} of "
            f"dtype {value.dtype} for {count} images; choose an earlier layer that returns "
            "(N, K, h, w), (N, h, w, K) or (N, tokens, K), or target_layer='auto'"
        )
    return value


def infer_layout(layout: str, shape: Sequence[int], image_shape: Sequence[int]) -> Layout:
    """Decide where channels and positions are in a layer's output.

    Args:
        layout: The user's choice, see :func:`check_layout`.
        shape: Shape of the layer's output, images first.
        image_shape: Shape of the model's input; its last two sizes are taken for height and width.

    Returns:
        The layout.

    Raises:
        ValueError: If the shape does not fit the choice, or tokens form no grid.

    Example:
        >>> str(infer_layout("auto", (2, 197, 768), (2, 3, 224, 224)))
        'tokens:1+14x14'
    """
    explicit = _TOKEN_FORM.fullmatch(layout)
    if explicit:
        prefix, grid = int(explicit[1] or 0), tuple(map(int, explicit[2].split("x")))
        positions = math.prod(grid)
        if len(shape) != 3 or positions == 0 or shape[1] != prefix + positions:
            raise ValueError(
                f"layout={layout!r} has {prefix + positions} tokens, but the target layer "
                f"returned shape {tuple(shape)}; expected (N, tokens, K)"
            )
        return Layout("tokens", prefix, grid)
    if layout == "NHWC" and len(shape) in (4, 5):
        return Layout("NHWC")
    if layout == "NCHW" and len(shape) in (3, 4, 5):
        return Layout("NCHW")
    if layout == "auto" and len(shape) in (4, 5):
        return Layout(_channels_first_or_last(shape, image_shape))
    if layout == "auto" and len(shape) == 3 and len(image_shape) == 3:
        return Layout("NCHW")
    if layout in ("auto", "tokens") and len(shape) == 3:
        return _token_layout(shape, image_shape)
    raise ValueError(
        f"layout={layout!r} does not fit the target layer's output of shape {tuple(shape)}; "
        f"choose {_LAYOUT_HELP}"
    )


def last_spatial_layer(
    run: Callable[[], object], model: nn.Module, image_shape: Sequence[int], layout: str = "auto"
) -> list[str]:
    """Candidates for ``target_layer="auto"``, best first.

    Every module that ran once and returned a map with more than one position, the last to finish
    first. Modules that only pool, drop or pass on are left out: they hold no features of their
    own. Where the tokens have a prefix (a class token), only norms and what has norms inside (a
    block) count. Where the class token alone reaches the score, the last block's output for the
    other tokens does not, and the norm in front of its attention is the last place where they
    still do; the queries and keys behind it are no features. What runs between such norms and has
    no prefix, as the heads of an attention, comes last.

    Args:
        run: Runs one forward pass of the model.
        model: The module to look in.
        image_shape: Shape of the model's input.
        layout: The user's choice of layout.

    Returns:
        Dotted names. Whether a candidate reaches the score is for the caller to try.
    """
    finished: list[tuple[str, nn.Module, tuple[int, ...]]] = []
    handles = []
    for name, module in model.named_modules():
        if name and not isinstance(module, (*_PASSING_ON, torch.jit.ScriptModule)):
            handles.append(module.register_forward_hook(_note_shape(name, finished)))
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    names = [name for name, _, _ in finished]
    normed = {shape for _, module, shape in finished if _is_norm(module)}
    found = [
        (name, where.prefix)
        for name, module, shape in reversed(finished)
        if names.count(name) == 1
        and (where := _layout_of_candidate(shape, image_shape, layout))
        # A block returns what its norms do; other shapes only look like a prefix and a grid.
        and (not where.prefix or (shape in normed and any(map(_is_norm, module.modules()))))
    ]
    tokens = [place for place, (_, prefix) in enumerate(found) if prefix]
    between = range(tokens[0], tokens[-1]) if tokens else ()
    inside = {name for place, (name, prefix) in enumerate(found) if place in between and not prefix}
    return sorted((name for name, _ in found), key=inside.__contains__)


_PASSING_ON = (
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.dropout._DropoutNd,
    nn.Identity,
    nn.Flatten,
)


def _note_shape(
    name: str, finished: list[tuple[str, nn.Module, tuple[int, ...]]]
) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, _args: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.is_floating_point() and output.ndim in (3, 4, 5):
            finished.append((name, module, tuple(output.shape)))
        else:
            finished.append((name, module, ()))

    return hook


def _is_norm(module: nn.Module) -> bool:
    return "Norm" in type(module).__name__


def _layout_of_candidate(
    shape: Sequence[int], image_shape: Sequence[int], layout: str
) -> Layout | None:
    if not shape or shape[0] != image_shape[0]:
        return None
    try:
        found = infer_layout(layout, shape, image_shape)
    except ValueError:
        return None
    positions = torch.Size(shape).numel() // shape[0] // shape[found.channel_dim]
    return found if positions - found.prefix > 1 else None


def _channels_first_or_last(shape: Sequence[int], image_shape: Sequence[int]) -> str:
    """Channels-last where the first two of (h, w, K) look like the picture and the last two do not.

    A layer's map keeps the picture's aspect ratio, up to rounding of odd sizes. The depth of three
    dimensions is not looked at: a film's frames are often reduced by another factor.
    """
    if len(image_shape) < 2:
        return "NCHW"
    height, width = image_shape[-2:]

    def keeps_aspect(h: int, w: int) -> bool:
        return h <= height and w <= width and abs(h * width - w * height) <= max(height, width)

    *_, first, second, third = shape
    last = keeps_aspect(first, second) and not keeps_aspect(second, third)
    return "NHWC" if last else "NCHW"


def _token_layout(shape: Sequence[int], image_shape: Sequence[int]) -> Layout:
    """Split T tokens into prefix and grid: square patches of the picture first, then any square."""
    tokens = shape[1]
    height, width = image_shape[-2:] if len(image_shape) >= 2 else (0, 0)
    splits = [(prefix, tokens - prefix) for prefix in _PREFIXES if tokens - prefix > 1]
    for prefix, positions in splits:
        if len(image_shape) == 5:
            solid = _grid_of_volume(positions, image_shape)
            if solid:
                return Layout("tokens", prefix, solid)
        elif grid := _grid_of_picture(positions, height, width):
            return Layout("tokens", prefix, grid)
    for prefix, positions in splits:
        side = math.isqrt(positions)
        if side * side == positions:
            return Layout("tokens", prefix, (side, side))
    raise ValueError(
        f"layout: {tokens} tokens form no grid for inputs of {height}x{width}; spell out the "
        "number of prefix tokens and the grid, for example layout='tokens:1+14x14'"
    )


def _grid_of_picture(positions: int, height: int, width: int) -> tuple[int, int] | None:
    """(h, w) of square patches that cover a picture."""
    for rows in range(1, positions + 1):
        columns = positions // rows
        square_patches = height % rows == width % columns == 0 < height // rows
        if rows * columns == positions and square_patches:
            if height // rows == width // columns:
                return rows, columns
    return None


def _grid_of_volume(positions: int, image_shape: Sequence[int]) -> tuple[int, int, int] | None:
    """(d, h, w) of patches that cover a volume or a film, (N, C, D, H, W) or (N, D, C, H, W).

    Several depths may fit; patches are mostly two deep, so that the one nearest to half of the
    frames is taken.
    """
    _, first, second, height, width = image_shape
    depth = first if second in (1, 3) and first not in (1, 3) else second
    fitting = [
        (size, *grid)
        for size in range(1, depth + 1)
        if positions % size == 0 and (grid := _grid_of_picture(positions // size, height, width))
    ]
    return min(fitting, key=lambda grid: abs(grid[0] - depth / 2), default=None)


def _hookable(name: str, module: nn.Module) -> tuple[str, nn.Module]:
    if isinstance(module, torch.jit.ScriptModule):
        raise TypeError(
            f"target_layer={name!r} is a TorchScript module, which takes no hooks; pass the "
            "original nn.Module"
        )
    if not name:
        raise ValueError("target_layer is the model itself; choose a layer inside it")
    return name, module


def example_names(names: Sequence[str]) -> str:
    """The last of some layers' names, for a message."""
    return ", ".join(repr(name) for name in [n for n in names if n][-4:])
