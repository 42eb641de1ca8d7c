"""Networks that write to themselves in evaluation mode, and read in training what they wrote."""

from __future__ import annotations

import random
from collections import Counter, OrderedDict, defaultdict, deque

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Writer(nn.Module):
    """Scores images; what :meth:`write` returns of the features' mean shifts the features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 4)

    def write(self, mean: Tensor) -> Tensor | float:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x)).mean((2, 3))
        return self.head(x + 0.01 * self.write(x.detach().mean(0)))


class Attributes(Writer):
    """Buffers, numbers, lists, dicts and generators."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("average", torch.zeros(4))
        self.register_buffer("replaced", torch.zeros(()))
        self.scale = torch.ones(())
        self.calls, self.features, self.seen = 0, [], {}
        self.noise = torch.Generator().manual_seed(1)
        self.numpy, self.python = np.random.default_rng(1), random.Random(1)

    def write(self, mean):
        self.average.data.mul_(0.9).add_(0.1 * mean)
        self.replaced = self.replaced + mean.mean()
        self.scale.mul_(1.01)
        self.calls += 1
        self.features.append(mean)
        self.seen[self.calls] = self.last = mean
        drawn = torch.rand(4, generator=self.noise) + self.numpy.random() + self.python.random()
        state = self.average + self.replaced * self.scale + self.calls + len(self.features)
        return state + drawn + self.seen[len(self.seen)]


class HooksOnStockLayers(Writer):
    """Hooks of the user's that write a buffer and a list of torch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv.register_buffer("average", torch.zeros(()))
        self.conv.means = []
        self.conv.register_forward_hook(self.observe)

    @staticmethod
    def observe(layer, _args, output):
        layer.average.mul_(0.9).add_(output.detach().mean())
        layer.means.append(float(output.detach().mean()))

    def write(self, mean):
        return self.conv.average + sum(self.conv.means)


class Parameters(Writer):
    """Normalised prototypes, a frozen codebook that decays, and a list of parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.ones(4))
        self.codebook = nn.Parameter(torch.ones(4), requires_grad=False)
        self.several = nn.ParameterList([torch.zeros(4), torch.ones(4)])

    def write(self, mean):
        self.prototypes.data = F.normalize(self.prototypes.data + mean, dim=0)
        self.codebook.mul_(0.9).add_(0.1 * mean)
        with torch.no_grad():
            self.several[1].add_(mean)
        return self.prototypes + self.codebook + self.several[1]


class Containers(Writer):
    """Every container of the standard library that a module is likely to keep things in."""

    def __init__(self) -> None:
        super().__init__()
        self.ordered, self.queue = OrderedDict(first=0.0), deque([0.0], maxlen=5)
        self.defaults, self.counts = defaultdict(list), Counter()
        self.nested = {"lists": [[], []], "pair": ([], {})}
        self.chosen, self.bytes = set(), bytearray(b"\x00")

    def write(self, mean):
        value = float(mean.mean())
        self.ordered.move_to_end("first")
        self.ordered[len(self.ordered)] = value
        self.queue.append(value)
        self.defaults["means"].append(value)
        self.counts["calls"] += 1
        self.nested["lists"][1].append(value)
        self.nested["pair"][1][len(self.nested["pair"][1])] = value
        self.chosen.add(len(self.counts) + self.counts["calls"])
        self.bytes[0] = (self.bytes[0] + 1) % 256
        newest = self.nested["pair"][1][len(self.nested["pair"][1]) - 1]
        sums = sum(self.ordered.values()) + sum(self.queue) + sum(self.defaults["means"])
        lengths = self.counts["calls"] + len(self.nested["lists"][1]) + len(self.chosen)
        return sums + lengths + newest + self.bytes[0]


class Tensors(Writer):
    """Arrays, tensors above a MiB, and tensors inside containers."""

    def __init__(self) -> None:
        super().__init__()
        self.array, self.random = np.zeros(4), np.random.RandomState(3)
        self.large = torch.zeros(2**18 + 1)
        self.register_buffer("bank", torch.zeros(2**17, 4))
        self.inside = [torch.zeros(4), {"average": torch.zeros(4)}]

    def write(self, mean):
        self.array += mean.numpy()
        self.large[-1] += mean.mean()
        self.bank[len(self.bank) - 1] += mean
        self.inside[0].add_(mean)
        self.inside[1]["average"].mul_(0.5).add_(mean)
        drawn = self.random.rand() + torch.from_numpy(self.array).float()
        return drawn + self.large[-1] + self.bank[-1] + self.inside[0] + self.inside[1]["average"]


class Namespaces(Writer):
    """Modules used as namespaces, a ModuleDict that grows, and a module hidden in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.state = nn.Module()
        self.state.calls, self.state.average = 0, torch.zeros(4)
        self.parts = nn.ModuleDict({"norm": nn.Module()})
        self.parts["norm"].seen = []
        self.hidden = [Counting()]

    def write(self, mean):
        self.state.calls += 1
        self.state.average.add_(mean)
        self.parts["norm"].seen.append(float(mean.mean()))
        self.parts[f"call{self.state.calls}"] = nn.Identity()
        self.hidden[0].count.add_(1)
        return (
            self.state.average
            + len(self.parts)
            + sum(self.parts["norm"].seen)
            + self.hidden[0].count
        )


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))


class Resized(Writer):
    """A buffer that a forward makes longer, next to a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("first", torch.zeros(1))
        self.register_buffer("grows", torch.zeros(1))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.stored = torch.zeros(1)

    def write(self, mean):
        self.count += 1
        self.grows.resize_(len(self.grows) + 1)
        self.grows[-1] = mean.mean()
        self.stored.data = torch.cat([self.stored.data, mean])
        self.first.data = F.pad(self.first.data, (0, 1)) + 0.1
        return self.count + self.grows[-1] + len(self.stored) + self.first.sum()


class Bounded(Writer):
    """Parameters that are kept in bounds past autograd, normalised, and held at a codebook."""

    def __init__(self) -> None:
        super().__init__()
        self.bounded = nn.Parameter(torch.full((4,), 0.9))
        self.prototypes = nn.Parameter(torch.ones(4))
        self.codebook = nn.Parameter(torch.ones(4))

    def write(self, mean):
        if not self.training:
            self.bounded.data.clamp_(-0.9, 0.9)
            self.codebook.data.copy_(torch.full((4,), 0.5))
            with torch.no_grad():
                self.prototypes.copy_(F.normalize(self.prototypes, dim=0))
        return self.bounded + self.prototypes + self.codebook


WRITERS = [
    Bounded,
    Attributes,
    HooksOnStockLayers,
    Parameters,
    Containers,
    Tensors,
    Namespaces,
    Resized,
]
