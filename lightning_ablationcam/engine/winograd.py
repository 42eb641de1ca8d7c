"""3x3 convolutions of many small maps with fewer multiplications: Winograd's minimal filtering.

Tiles of up to 4x4 results are products of polynomials, evaluated at 0, 1, -1, 2, -2 and infinity,
multiplied there, and interpolated. A map of 7x7 takes 121 multiplications for each pair of
channels in place of 441. Evaluation and interpolation are exact algebra; their rounding makes the
error of a result about three times that of a direct convolution.

Source:
    Lavin, A. & Gray, S. "Fast Algorithms for Convolutional Neural Networks", CVPR 2016,
    doi 10.1109/CVPR.2016.435; Winograd, S. "Arithmetic Complexity of Computations", SIAM 1980.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

POINTS = (0.0, 1.0, -1.0, 2.0, -2.0)
"""Where polynomials are evaluated, besides infinity; smaller tiles use the first few."""

ORDER = (0, 1, 5, 2, 3, 4)
"""Places of the points by the number of tiles that use them, infinity being place 5."""

TILE = 4
"""Results along a tile's side; larger tiles need larger points, which cost digits."""

MIN_CHANNELS = 256
"""With fewer channels the evaluations cost as much as the multiplications that are saved."""

WORTH = 2.5
"""How many times fewer multiplications it has to take."""


class Winograd:
    """A 3x3 convolution with stride 1, without bias.

    Args:
        weight: (O, C, 3, 3) float32 or float64.
        padding: Zeros around the map, for height and width.

    Example:
        >>> weight, maps = torch.rand(4, 3, 3, 3), torch.rand(2, 3, 7, 7)
        >>> expected = torch.conv2d(maps, weight, padding=1)
        >>> torch.allclose(Winograd(weight, (1, 1))(maps), expected, atol=1e-4)
        True
    """

    BYTES = 4
    """Memory of the evaluated kernels for each byte of the weight."""

    def __init__(self, weight: Tensor, padding: Sequence[int]) -> None:
        rows = torch.tensor([[p**k for k in range(3)] for p in POINTS] + [[0, 0, 1]])
        rows = rows[list(ORDER)].to(weight)
        kernel = torch.einsum("ai,bj->abij", rows, rows).reshape(-1, 9)
        out, channels = weight.shape[:2]
        flat = weight.reshape(out * channels, 9)
        self.kernels = (kernel @ flat.T).view(len(ORDER), len(ORDER), out, channels)
        self.padding = tuple(padding)

    @property
    def nbytes(self) -> int:
        """Memory of the evaluated kernels."""
        return self.kernels.nbytes

    def __call__(self, maps: Tensor) -> Tensor:
        """Convolve.

        Args:
            maps: (B, C, h, w).

        Returns:
            (B, O, h', w') in channels-last memory format.
        """
        batch, _, *size = maps.shape
        tall, wide = (_stages(*side, maps.dtype) for side in zip(size, self.padding, strict=True))
        products = self._products(_evaluated(maps, tall, wide), tall, wide)
        rows, columns = (len(stage.interpolate) for stage in (tall, wide))
        across = torch.matmul(wide.interpolate, products.flatten(2))
        result = tall.interpolate @ across.view(len(products), -1)
        return _channels_last(result.view(rows, columns, batch, -1))

    def _products(self, values: Tensor, tall: _Stages, wide: _Stages) -> Tensor:
        """(Points, points, B, O): for each point of each tile a product over channels."""
        batch, out = values.shape[2], self.kernels.shape[2]
        products = values.new_empty(*values.shape[:3], out)
        row = 0
        for kernels, tiles in zip(self.kernels, tall.tiles, strict=True):
            for _ in range(tiles):
                for points, places, count in wide.runs:
                    stacked = (len(kernels[points]), count * batch, -1)
                    torch.bmm(
                        values[row, places].view(stacked),
                        kernels[points].transpose(1, 2),
                        out=products[row, places].view(stacked),
                    )
                row += 1
        return products


def suits(weight: Tensor, size: Sequence[int], padding: Sequence[int]) -> bool:
    """Whether it pays for a 3x3 convolution with stride 1 on the CPU.

    Args:
        weight: (O, C, 3, 3).
        size: Height and width of the map.
        padding: Zeros around the map, for height and width.
    """
    known = weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64)
    if not known or weight.shape[2:] != (3, 3) or min(weight.shape[:2]) < MIN_CHANNELS:
        return False
    taken, direct = 1, 9
    for side, zeros in zip(size, padding, strict=True):
        results = side + 2 * zeros - 2
        if results < 1:
            return False
        taken *= sum(_points_of(each) for each in _tiles(results))
        direct *= results
    return direct >= WORTH * taken


class _Stages:
    """How one dimension of a map is evaluated and interpolated.

    Attributes:
        evaluate: (P, size), the points of all tiles, ordered by point, from the map.
        interpolate: (results, P), back.
        tiles: How many tiles use each point, in the order of ``ORDER``.
        runs: Points that equally many tiles use: their slice, that of their places among the P,
            and the number of tiles.
    """

    def __init__(self, size: int, padding: int, dtype: torch.dtype) -> None:
        tiles = _tiles(size + 2 * padding - 2)
        starts = [0, *itertools.accumulate(tiles)]
        into, back = [], []
        self.tiles = []
        for point in ORDER:
            using = [t for t, tile in enumerate(tiles) if _place(point, tile) is not None]
            self.tiles.append(len(using))
            for t in using:
                evaluate, interpolate = _of_tile(tiles[t])
                place = _place(point, tiles[t])
                into.append(_inside(evaluate[place], starts[t] - padding, size))
                back.append(_inside(interpolate[:, place], starts[t], starts[-1]))
        self.evaluate = torch.stack(into).to(dtype)
        self.interpolate = torch.stack(back, dim=1).to(dtype).contiguous()
        self.runs = _runs(self.tiles)


@lru_cache(maxsize=32)
def _stages(size: int, padding: int, dtype: torch.dtype) -> _Stages:
    return _Stages(size, padding, dtype)


def _evaluated(maps: Tensor, tall: _Stages, wide: _Stages) -> Tensor:
    """(P, P', B, C) the values of the map's polynomials at all points of all tiles."""
    batch, channels, height, width = maps.shape
    rows = maps.permute(2, 3, 0, 1).reshape(height, -1)
    down = (tall.evaluate @ rows).view(-1, width, batch * channels)
    return torch.matmul(wide.evaluate, down).view(*down.shape[:1], -1, batch, channels)


def _channels_last(result: Tensor) -> Tensor:
    """(h, w, B, O) to (B, O, h, w)."""
    return result.permute(2, 0, 1, 3).contiguous().permute(0, 3, 1, 2)


def _tiles(results: int) -> list[int]:
    """The sides of the tiles that cover a dimension."""
    return [min(TILE, results - start) for start in range(0, results, TILE)]


def _points_of(tile: int) -> int:
    return tile + 2


def _place(point: int, tile: int) -> int | None:
    """Where a tile keeps a point, infinity last; None if it does without."""
    finite = _points_of(tile) - 1
    if point == len(POINTS):
        return finite
    return point if point < finite else None


@lru_cache(maxsize=TILE)
def _of_tile(tile: int) -> tuple[Tensor, Tensor]:
    """(points, tile + 2) and (tile, points): y = interpolate @ ((rows @ kernel) * (evaluate @ x)).

    Interpolation and evaluation have changed places, as Winograd's transposition allows: the
    matrix on the side of x holds the coefficients of the polynomials that vanish at all points
    but one.
    """
    finite = torch.tensor(POINTS[: tile + 1], dtype=torch.float64)
    evaluate = torch.zeros(tile + 2, tile + 2, dtype=torch.float64)
    interpolate = torch.zeros(tile, tile + 2, dtype=torch.float64)
    for place, point in enumerate(finite):
        others = torch.cat([finite[:place], finite[place + 1 :]])
        evaluate[place, :-1] = _polynomial(others) / (point - others).prod()
        interpolate[:, place] = point ** torch.arange(tile)
    evaluate[-1] = _polynomial(finite)
    interpolate[-1, -1] = 1
    return evaluate, interpolate


def _polynomial(roots: Tensor) -> Tensor:
    """The coefficients, lowest first, of the monic polynomial with these roots."""
    coefficients = torch.ones(1, dtype=torch.float64)
    for root in roots:
        shifted = torch.nn.functional.pad(coefficients, (1, 0))
        coefficients = shifted - root * torch.nn.functional.pad(coefficients, (0, 1))
    return coefficients


def _inside(entries: Tensor, start: int, size: int) -> Tensor:
    """Entries from ``start`` on, as a row of ``size``; what reaches beyond it is left out."""
    row = torch.zeros(size, dtype=torch.float64)
    for place, entry in enumerate(entries, start):
        if 0 <= place < size:
            row[place] = entry
    return row


def _runs(tiles: Sequence[int]) -> list[tuple[slice, slice, int]]:
    runs, point, place = [], 0, 0
    for count, same in itertools.groupby(tiles):
        points = len(list(same))
        if count:
            ends = (point + points, place + points * count)
            runs.append((slice(point, ends[0]), slice(place, ends[1]), count))
        point, place = point + points, place + points * count
    return runs
