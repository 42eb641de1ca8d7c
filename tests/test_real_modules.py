"""Exactness with other people's modules; each test needs a package of the extra ``benchmark``."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lightning_ablationcam import AblationCAMMonitor, ablation_cam
from tests.plain_passes import brute_force, exact_error, explain, in_float64
from tests.real_modules import FAMILIES, PACKAGES, Brought, small_detector

# Of other people's imports.
pytestmark = pytest.mark.filterwarnings("ignore::Warning")

PROPAGATED = {
    ("torchvision", "deeplabv3_mobilenet_v3_large"): "classifier.3",
    ("torchvision", "lraspp_mobilenet_v3_large"): "classifier.cbr:activation",
    ("video", "swin3d, small"): "norm",
    ("timm", "convnext: convnext_atto"): "stages",
    ("huggingface", "ViT"): "vit.layers.1.layernorm_before",
    ("huggingface", "Swin"): "swin.layernorm",
    ("huggingface", "ConvNeXt"): "convnext.encoder.stages.3",
    ("huggingface", "SegFormer"): "decode_head.activation",
    ("clip", "CLIP classifier"): "vision_model.encoder.layers.1",
    ("clip", "CLIP image tower"): "vision_model.encoder.layers.1.layer_norm1",
    ("clip", "CLIP, prompts"): "vision_model.encoder.layers.1.layer_norm1",
    ("open_clip", "ViT, embeddings"): "visual.transformer.resblocks.1.ln_1",
    ("segmentation", "Unet"): "decoder",
    ("torchgeo", "ClassificationTask multiclass"): "model.layer4",
    ("torchgeo", "ClassificationTask multilabel"): "model.layer4",
    ("torchgeo", "SemanticSegmentationTask multiclass"): "model.decoder",
    ("torchgeo", "RegressionTask"): "model.layer4",
    ("monai", "DenseNet121 2-D, MetaTensor"): "class_layers.relu",
    ("monai", "DenseNet 3-D"): "class_layers.relu",
    ("monai", "DenseNet 3-D, MetaTensor"): "class_layers.relu",
    ("lightly", "SimCLR"): "backbone.7",
}
"""What "auto" takes of each."""


def build(family: str, name: str) -> Brought:
    pytest.importorskip(PACKAGES[family])
    return FAMILIES[family]()[name]()


@pytest.mark.parametrize(("family", "name"), PROPAGATED)
def test_defaults_propagate_and_are_exact(family, name):
    error, result = exact_error(build(family, name), 4)
    assert result.layer == PROPAGATED[family, name]
    assert (result.engine, result.fallback) == ("propagate", None)
    assert error <= 1e-9


@pytest.mark.parametrize("name", ["FasterRCNN", "RetinaNet"])
def test_detectors_are_replayed_exactly(name):
    """Boxes are chosen by their scores, which nothing but replay can follow."""
    brought = in_float64(small_detector(name))
    result = explain(brought)
    channels = torch.arange(8)
    expected = brute_force(brought, result, channels)
    assert result.engine == "replay"
    assert "depends on the target layer" in result.fallback
    assert expected.abs().amax() > 0
    torch.testing.assert_close(result.drops, expected, rtol=0, atol=1e-9)


def test_metadata_of_medical_images_does_not_get_into_results():
    brought = build("monai", "DenseNet 3-D, MetaTensor")
    result = explain(brought)
    for value in (result.heatmaps, result.drops, result.scores, result.classes):
        assert type(value) is Tensor
    plain = ablation_cam(brought.model, "auto", brought.inputs.as_tensor())
    assert torch.equal(result.drops, plain.drops)


@pytest.mark.parametrize(
    ("task", "target"),
    [
        ("ClassificationTask multiclass", torch.arange(8) % 3),
        ("ClassificationTask binary", torch.arange(8) % 2),
        ("ClassificationTask multilabel", torch.arange(24).view(8, 3) % 2),
        ("SemanticSegmentationTask multiclass", torch.arange(3).repeat(8, 64, 22)[..., :64]),
    ],
)
def test_torchgeo_tasks_train_with_a_monitor(task, target, tmp_path):
    module = build("torchgeo", task).model
    from lightning.pytorch import Trainer

    key = "mask" if target.ndim > 2 else "label"
    images = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    items = [{"image": image, key: each} for image, each in zip(images, target, strict=True)]
    loader = torch.utils.data.DataLoader(items, batch_size=4)
    monitor = AblationCAMMonitor(probes=3, on_error="raise")
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", callbacks=[monitor], default_root_dir=tmp_path,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, loader, loader)
    assert 0 < trainer.callback_metrics["ablation_cam/concentration"] <= 1
