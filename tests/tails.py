"""Tiny seeded networks whose channels all matter."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def alive(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give norms statistics and gains that are not trivial, so that ablation has an effect."""
    generator = torch.Generator().manual_seed(seed)

    def draw(tensor: Tensor, low: float, high: float) -> None:
        values = torch.rand(tensor.shape, generator=generator) * (high - low) + low
        tensor.data.copy_(values)

    for module in model.modules():
        if getattr(module, "running_mean", None) is not None:
            draw(module.running_mean, -0.3, 0.3)
            draw(module.running_var, 0.5, 1.5)
        if "Norm" in type(module).__name__ and getattr(module, "weight", None) is not None:
            draw(module.weight, 0.5, 1.5)
            if getattr(module, "bias", None) is not None:
                draw(module.bias, -0.3, 0.3)
    return model.eval()


class Residual(nn.Module):
    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + x


class DenseConcat(nn.Module):
    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], dim=1)


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, 3, 1)
        self.up = nn.Conv2d(3, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = x.mean((2, 3), keepdim=True)
        return x * self.up(self.down(scale).relu()).sigmoid()


class Shuffle(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class SplitAndJoin(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1)
        return torch.cat([second, first.relu()], dim=1)


class ChannelNorm(nn.Module):
    """Layer norm over the channels of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


def network(*tail: nn.Module, channels: int = 6, seed: int = 0) -> nn.Sequential:
    """Two layers, the second the target ("1"), and a tail."""
    first = nn.Conv2d(3, channels, 3, padding=1)
    model = nn.Sequential(first, nn.Softplus(), *copy.deepcopy(tail)).float()
    torch.manual_seed(seed)
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return model


def images(count: int = 2, size: int = 6, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
