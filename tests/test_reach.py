"""Which values are worth a try: of the picture, and on the way to the score."""

from __future__ import annotations

import torch
from torch import nn

from lightning_ablationcam import ablation_cam
from lightning_ablationcam.engine.reach import Reach, alive
from tests.networks import ConvBN, images, seeded


class Branching(nn.Module):
    """A decoder that leads nowhere, positions of no picture, and a view that is written to."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.decoder = nn.Conv2d(6, 3, 3)
        self.positions = nn.Conv2d(1, 6, 3)
        self.head = nn.Linear(6, 4)
        self.grid = torch.ones(1, 1, 8, 8)

    def forward(self, x):
        x = self.conv(x).relu()
        total = torch.zeros(len(x), 6)
        total[:, :3].add_(x[:, :3].mean((2, 3)))
        total[:, 3:] += x[:, 3:].amax((2, 3))
        total = total + self.positions(self.grid).mean((2, 3))
        self.dense = self.decoder(x)
        return self.head(total)


def test_only_what_is_of_the_picture_and_leads_to_the_score_is_alive():
    model, x = seeded(Branching()), images(1)
    names = ["decoder", "positions", "conv"]
    with torch.no_grad():
        assert alive(model, names, lambda: model(x), lambda: model(x.flip(-1) + 1)) == ["conv"]
        assert alive(model, names[:1], lambda: model(x), lambda: model(x + 1)) == ["decoder"]
        assert alive(model, ["positions"], lambda: model(x), lambda: model(x + 1)) == ["positions"]
    assert not any(part._forward_hooks for part in model.modules())


def test_a_search_takes_few_passes():
    model, runs = seeded(ConvBN()), []
    result = ablation_cam(model, "auto", images(1), forward=lambda m, x: runs.append(1) or m(x))
    assert result.layer == "bn:activation"
    # One for the candidates' shapes, two to see which are alive, two to try the first, one to
    # explain, two to check.
    assert len(runs) <= 8


def test_sources_are_followed_through_views_and_writes():
    with Reach() as reach:
        a, b, c = torch.ones(2, 2), torch.zeros(2, 2), torch.zeros(3)
        reach.mark(a, "a")
        row = b[0]
        row.add_(a[1])
        assert reach.sources([b.t()]) == {"a"}
        reach.mark(c, "c")
        assert reach.sources({"x": torch.cat([b.flatten(), c])}) == {"a", "c"}
        assert reach.sources(torch.ones(1)) == set()


def test_a_picture_may_change_little():
    class Faint(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3)
            self.norm = nn.Identity()

        def forward(self, x):
            return self.norm(self.conv(x) * 1e-6 + 1)

    model, x = seeded(Faint()), images(1)
    with torch.no_grad():
        names = ["norm", "conv"]
        assert alive(model, names, lambda: model(x), lambda: model(x.flip(-1))) == names


def test_where_no_picture_changes_the_score_none_is_asked_for():
    class Deaf(nn.Module):
        def __init__(self):
            super().__init__()
            self.early, self.late = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3)

        def forward(self, x):
            return self.late(self.early(x) * 0 + 1).mean((2, 3))

    model, x = seeded(Deaf()), images(1)
    with torch.no_grad():
        names = ["late", "early"]
        assert alive(model, names, lambda: model(x), lambda: model(x.flip(-1))) == names
    assert ablation_cam(model, "auto", images()).layer == "late"
