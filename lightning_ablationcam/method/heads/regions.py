"""Outputs of one number for each class and place: the score is a mean over a region."""

from __future__ import annotations

from copy import copy
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from lightning_ablationcam.method.heads.base import (
    Activation,
    Head,
    Sayings,
    Task,
    best_but,
    in_float64,
)
from lightning_ablationcam.method.heads.values import NO_PROBABILITIES, NO_RIVALS, only_column
from lightning_ablationcam.method.scores import (
    Score,
    at_least_float32,
    check_classes,
    checked_logits,
)

BACKGROUND = 0
"""The class that is explained only where there is nothing else."""

LEAST_SHARE = 0.01
"""Share of an image that a class must cover to be explained before the background."""


class Segmentation(Head):
    """One column for each class at each place, (N, C, H, W).

    The score of a class is the mean of its logits over a region: the one given, else where the
    labels name the class, else where the intact model predicts it, else the whole image. Where the
    user names no class, it is the one that covers most of an image, but for class 0, which mostly
    is the background and is taken only where nothing else covers a hundredth of the image. One
    column is the logit of class 1.

    Args:
        given: (N, H, W) bool, the region; or int64, the class at each place, of which one below 0
            or of 255 is none. At any resolution.
        activation: What the model applies to its logits.
        several: Whether a place may have several classes, a sigmoid each: a class is then where its
            logit is positive, and none is the background.

    Attributes:
        region: (N, H, W) bool, True inside the region, once it is settled.

    Example:
        >>> output = torch.tensor([[[[1.0, 3.0]], [[2.0, -1.0]]]])  # Two classes, 1 x 2 places.
        >>> head = Segmentation()
        >>> head.predicted(output, 1)
        tensor([1])
        >>> head.settled(output, torch.tensor([1])).logits(output, torch.tensor([1]))
        tensor([2.])
    """

    task: ClassVar[Task] = "segmentation"

    def __init__(
        self,
        given: Tensor | None = None,
        activation: Activation = None,
        *,
        several: bool = False,
    ) -> None:
        self.given = given
        self.activation = activation
        self.several = several
        self.region: Tensor | None = None
        self._known: tuple[Tensor, Tensor] | None = None

    def predicted(self, output: Any, count: int) -> Tensor:
        """The class that covers most, by the labels where they are known."""
        logits = checked_logits(output, count, places=True)
        named = self.given is not None and self.given.dtype != torch.bool
        if self.several and not named:
            return (logits > self._boundary).flatten(2).double().mean(dim=2).argmax(dim=1)
        of_places = self._given_for(logits) if named else self._decided(logits)
        classes = max(2, logits.shape[1])
        known = (of_places >= 0) & (of_places < classes)
        flat = torch.where(known, of_places, classes).flatten(1)
        counts = logits.new_zeros(count, classes + 1, dtype=torch.int64)
        counts.scatter_add_(1, flat, torch.ones_like(flat))
        shares = counts[:, :classes] / flat.shape[1]
        others = shares.clone()
        others[:, BACKGROUND] = -1
        return torch.where(
            others.amax(dim=1) >= LEAST_SHARE, others.argmax(dim=1), shares.argmax(dim=1)
        )

    def settled(self, output: Any, classes: Tensor) -> Head:
        """The same with the region of each image's class."""
        logits = checked_logits(output, len(classes), places=True)
        check_classes(classes, max(2, logits.shape[1]))
        head = copy(self)
        region = self._region(logits, classes.view(-1, *[1] * (logits.ndim - 2)))
        empty = ~region.flatten(1).any(dim=1)
        region[empty] = True
        head.region = region
        return head

    def _region(self, logits: Tensor, classes: Tensor) -> Tensor:
        """(N, H, W) bool, where a class is; nowhere, where it is not found."""
        if self.given is None and self.several:
            return self._of_class(logits, classes.flatten()) > self._boundary
        if self.given is None:
            found: Tensor = self._decided(logits) == classes
            return found
        given = self._given_for(logits)
        return given.clone() if given.dtype == torch.bool else given == classes

    def _decided(self, logits: Tensor) -> Tensor:
        """(N, H, W) int64, the class that the model predicts at each place."""
        # Asked for several times of one output, and most of what reading it costs.
        if self._known is None or self._known[0] is not logits:
            one = logits.shape[1] == 1
            found = (logits[:, 0] > self._boundary).long() if one else logits.argmax(dim=1)
            self._known = (logits, found)
        return self._known[1]

    @property
    def _boundary(self) -> float:
        return 0.5 if self.activation else 0.0

    def _given_for(self, logits: Tensor) -> Tensor:
        """What was given, at the resolution of the output."""
        assert self.given is not None
        if self.given.shape[1:] == logits.shape[2:]:
            return self.given
        sizes = logits.shape[2:]
        shrinks = all(new <= old for new, old in zip(sizes, self.given.shape[1:], strict=True))
        if self.given.dtype == torch.bool and shrinks and len(sizes) == 2:
            # What is thin must not be lost.
            return functional.adaptive_max_pool2d(self.given.float(), sizes) > 0
        resized = functional.interpolate(self.given[:, None].double(), sizes, mode="nearest")
        return resized[:, 0].to(self.given.dtype)

    def rows(self, images: Tensor) -> Head:
        """The same with the regions of these images."""
        head = copy(self)
        assert self.region is not None
        head.region = self.region[images]
        return head

    def logits(self, output: Any, classes: Tensor) -> Tensor:
        """The mean of the class's column over the region."""
        logits = at_least_float32(checked_logits(output, len(classes), places=True))
        check_classes(classes, max(2, logits.shape[1]))
        return self._mean(self._of_class(logits, classes))

    def _of_class(self, logits: Tensor, classes: Tensor) -> Tensor:
        """(N, H, W) the logits of one class of each image."""
        if logits.shape[1] > 1:
            return _columns(logits, classes)
        is_one = (classes == 1).view(-1, *[1] * (logits.ndim - 2))
        column = logits[:, 0]
        return torch.where(is_one, column, (1 if self.activation else 0) - column)

    def _mean(self, of_places: Tensor) -> Tensor:
        assert self.region is not None
        # Not multiplied: outside there may be logits that are infinite.
        inside = torch.where(self.region, of_places, 0)
        return inside.flatten(1).sum(1) / self.region.flatten(1).sum(1)

    def probabilities(self, output: Any, classes: Tensor) -> Tensor:
        """The mean of the class's probability over the region."""
        everywhere = in_float64(checked_logits(output, len(classes), places=True))
        of_class = self._of_class(everywhere, classes)
        if not self.activation:
            one_of_many = everywhere.shape[1] > 1 and not self.several
            of_class = (
                (of_class - everywhere.logsumexp(dim=1)).exp()
                if one_of_many
                else of_class.sigmoid()
            )
        return self._mean(of_class)

    def rival(self, output: Any, taken: Tensor) -> Tensor:
        """The class with the largest mean logit over the same region."""
        return best_but(self._of_all(output, len(taken)), taken)

    def _of_all(self, output: Any, count: int) -> Tensor:
        """(N, C) the mean logit of every class over the region."""
        means = self._means(at_least_float32(checked_logits(output, count, places=True)))
        if means.shape[1] > 1:
            return means
        return torch.cat([(1 if self.activation else 0) - means, means], dim=1)

    def _means(self, of_places: Tensor) -> Tensor:
        """(N, C) the mean of every column over the region."""
        assert self.region is not None
        inside = self.region.flatten(1).to(of_places.dtype)
        inside = inside / inside.sum(dim=1, keepdim=True)
        return torch.bmm(of_places.flatten(2), inside[..., None])[..., 0]

    def _likely(self, output: Tensor) -> Tensor:
        """(N, C) the mean probability of every class over the region."""
        found = []
        for row in range(len(output)):  # All at once would double what the output takes.
            one = self.rows(torch.tensor([row], device=output.device))
            assert isinstance(one, Segmentation)
            shares = at_least_float32(output[row : row + 1])
            if not self.activation:
                one_of_many = shares.shape[1] > 1 and not self.several
                shares = shares.softmax(1) if one_of_many else shares.sigmoid()
            means = one._means(shares)
            found.append(means if means.shape[1] > 1 else torch.cat([1 - means, means], dim=1))
        return torch.cat(found).double()

    def says(self, output: Any, classes: Tensor, score: Score, most: int) -> Sayings:
        """What the model makes of the region: the class with the largest mean logit there."""
        count = len(classes)
        means = self._of_all(output, count)
        if callable(score):
            return Sayings(means.argmax(dim=1))
        top = means.topk(min(most, means.shape[1]), dim=1).indices
        likely = self._likely(output)
        mine = likely.gather(1, classes[:, None])[:, 0]
        return Sayings(means.argmax(dim=1), mine, top, likely.gather(1, top))


class DenseRegression(Segmentation):
    """Quantities at each place, (N, D, H, W): the score is the mean of one over a region.

    Args:
        given: (N, H, W) bool, the region; the whole image where there is none.
    """

    task: ClassVar[Task] = "regression"
    predicts = False

    def __init__(self, given: Tensor | None = None) -> None:
        super().__init__(given if given is not None and given.dtype == torch.bool else None)

    def predicted(self, output: Any, count: int) -> Tensor:
        """The only quantity."""
        return only_column(checked_logits(output, count, places=True))

    def _of_class(self, logits: Tensor, classes: Tensor) -> Tensor:
        check_classes(classes, logits.shape[1])
        return _columns(logits, classes)

    def _region(self, logits: Tensor, classes: Tensor) -> Tensor:
        if self.given is not None:
            return self._given_for(logits).clone()
        return torch.ones_like(logits[:, 0], dtype=torch.bool)

    def probabilities(self, output: Any, classes: Tensor) -> Tensor:
        """Raises."""
        raise ValueError(NO_PROBABILITIES)

    def rival(self, output: Any, taken: Tensor) -> Tensor:
        """Raises."""
        raise ValueError(NO_RIVALS)

    def says(self, output: Any, classes: Tensor, score: Score, most: int) -> Sayings:
        """Nothing but the value itself."""
        return Sayings()


def _columns(output: Tensor, classes: Tensor) -> Tensor:
    """(N, H, W) one column of each image, of (N, C, H, W)."""
    index = classes.view(-1, 1, *[1] * (output.ndim - 2))
    return output.gather(1, index.expand(-1, 1, *output.shape[2:]))[:, 0]
