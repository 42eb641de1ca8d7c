from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_ablationcam.network.layers import check_layout, find_layer, infer_layout
from tests.networks import ConvBN


@pytest.mark.parametrize(
    ("shape", "image", "expected"),
    [
        ((2, 512, 7, 7), (2, 3, 224, 224), "NCHW"),
        ((2, 7, 7, 768), (2, 3, 224, 224), "NHWC"),
        ((2, 4, 6, 6), (2, 3, 6, 6), "NCHW"),
        ((2, 6, 6, 6), (2, 3, 24, 24), "NCHW"),
        ((2, 7, 10, 64), (2, 3, 224, 320), "NHWC"),
        ((2, 64, 7, 10), (2, 3, 224, 320), "NCHW"),
        ((2, 64, 8, 10), (2, 3, 230, 310), "NCHW"),
        ((2, 196, 192), (2, 3, 224, 224), "tokens:0+14x14"),
        ((2, 197, 192), (2, 3, 224, 224), "tokens:1+14x14"),
        ((2, 198, 192), (2, 3, 224, 224), "tokens:2+14x14"),
        ((2, 1374, 384), (2, 3, 518, 518), "tokens:5+37x37"),
        ((2, 1 + 14 * 20, 192), (2, 3, 224, 320), "tokens:1+14x20"),
        ((2, 32, 100), (2, 1, 400), "NCHW"),
        ((2, 32, 4, 7, 7), (2, 3, 16, 56, 56), "NCHW"),
        ((2, 2, 2, 2, 768), (2, 3, 4, 64, 64), "NHWC"),
        ((2, 8, 7, 10, 96), (2, 3, 16, 224, 320), "NHWC"),
        ((2, 1 + 8 * 7 * 7, 768), (2, 3, 16, 224, 224), "tokens:1+8x7x7"),
        ((2, 8 * 14 * 14, 384), (2, 3, 16, 224, 224), "tokens:0+8x14x14"),
        ((2, 2 * 4 * 4, 32), (2, 4, 3, 32, 32), "tokens:0+2x4x4"),
    ],
)
def test_auto_layout(shape, image, expected):
    assert str(infer_layout("auto", shape, image)) == expected


def test_explicit_layouts_and_their_errors():
    assert str(infer_layout("NCHW", (2, 7, 7, 768), (2, 3, 224, 224))) == "NCHW"
    assert str(infer_layout("tokens:3x4", (2, 12, 8), (2, 3, 9, 9))) == "tokens:0+3x4"
    with pytest.raises(ValueError, match=r"'tokens:1\+3x4' has 13 tokens.*\(2, 12, 8\)"):
        infer_layout("tokens:1+3x4", (2, 12, 8), (2, 3, 9, 9))
    with pytest.raises(ValueError, match=r"spell out.*tokens:1\+14x14"):
        infer_layout("auto", (2, 7, 8), (2, 3, 224, 224))
    with pytest.raises(ValueError, match="'NHWC' does not fit"):
        infer_layout("NHWC", (2, 7, 8), (2, 3, 224, 224))
    assert str(infer_layout("NHWC", (2, 2, 3, 4, 8), (2, 3, 9, 9, 9))) == "NHWC"
    solid = infer_layout("tokens:1+2x3x4", (2, 25, 8), (2, 3, 9, 9, 9))
    assert solid.maps(torch.rand(2, 25, 8)).shape == (2, 8, 2, 3, 4)
    for layout in ("auto", "tokens", "tokens:2x2", "tokens:1+2x2", "tokens:1+4x2x2"):
        check_layout(layout)
    with pytest.raises(ValueError, match="layout='tokens:2'"):
        check_layout("tokens:2")
    with pytest.raises(ValueError, match="layout='tokens:2x2x2x2'"):
        check_layout("tokens:2x2x2x2")


def test_maps_put_channels_second_and_drop_the_prefix():
    tokens = torch.arange(2 * 7 * 3).view(2, 7, 3)
    maps = infer_layout("tokens:1+2x3", tokens.shape, (2, 3, 4, 6)).maps(tokens)
    assert maps.shape == (2, 3, 2, 3)
    assert maps[1, 2, 1, 0] == tokens[1, 1 + 3, 2]
    rows = torch.rand(2, 4, 5, 3)
    assert torch.equal(infer_layout("NHWC", rows.shape, rows.shape).maps(rows)[:, 1], rows[..., 1])
    assert infer_layout("NCHW", (2, 3, 9), (2, 1, 9)).maps(torch.rand(2, 3, 9)).shape == (
        2,
        3,
        1,
        9,
    )


def test_names_suggest_the_path_that_ends_alike():
    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = ConvBN()

    with pytest.raises(ValueError, match=r"closest names: 'model\.conv'"):
        find_layer(Module(), "conv")
    with pytest.raises(ValueError, match="model itself"):
        find_layer(module := Module(), module)


def test_a_module_is_found_by_each_of_its_names():
    class Aliased(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = ConvBN()
            self.backbone = self.net.conv

    model = Aliased()
    for name in ("backbone", "net.conv"):
        assert find_layer(model, name) == (name, model.net.conv)


def test_torchscript_is_refused(recwarn):
    traced = torch.jit.trace(nn.Conv2d(3, 2, 1), torch.rand(1, 3, 4, 4))
    with pytest.raises(TypeError, match="TorchScript"):
        find_layer(nn.Sequential(traced, nn.Flatten()), "0")
