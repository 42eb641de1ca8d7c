"""Other people's modules, with random weights: what users bring.

Each family needs the package in ``PACKAGES``. Builders import it when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lightning_ablationcam import strongest_box
from tests.tails import alive

COUNT = 2
"""Images in a batch."""

PACKAGES = {
    "torchvision": "torchvision",
    "detection": "torchvision",
    "video": "torchvision",
    "timm": "timm",
    "huggingface": "transformers",
    "clip": "transformers",
    "open_clip": "open_clip",
    "segmentation": "segmentation_models_pytorch",
    "torchgeo": "torchgeo",
    "monai": "monai",
    "lightly": "lightly",
}


@dataclass(frozen=True)
class Brought:
    """A module and what it takes to explain it.

    Attributes:
        model: The module, in evaluation mode.
        inputs: What it is fed: a tensor, or keyword arguments.
        needed: Arguments of ``ablation_cam`` that its user cannot do without.
        scores: ``(output, intact output, classes) -> (N,)``, where these are not simply read off.
        is_quantity: Whether the output is no logits but quantities.
    """

    model: nn.Module
    inputs: Any
    needed: Mapping[str, Any] = field(default_factory=dict)
    scores: Callable[[Any, Any, Tensor], Tensor] | None = None
    is_quantity: bool = False

    def __call__(self) -> Any:
        """What the module returns."""
        if "forward" in self.needed:
            return self.needed["forward"](self.model, self.inputs)
        if isinstance(self.inputs, Mapping):
            return self.model(**self.inputs)
        return self.model(self.inputs)


Builders = dict[str, Callable[[], Brought]]


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """Random weights, none of them so small that a part of the network has no effect."""
    torch.manual_seed(0)
    truncated = nn.init.trunc_normal_

    def untruncated(tensor: Tensor, mean: float = 0.0, std: float = 1.0, **_bounds: Any) -> Tensor:
        return nn.init.normal_(tensor, mean, std)

    nn.init.trunc_normal_ = untruncated  # Truncating takes longer than all else here.
    try:
        model = alive(make())
    finally:
        nn.init.trunc_normal_ = truncated
    for name, parameter in model.named_parameters():
        # Gains of residual branches, classifiers that start at zero, and the like.
        if parameter.numel() > 1 and parameter.std() < 1e-3 and not name.endswith("bias"):
            nn.init.uniform_(parameter, 0.05, 0.15)
        if parameter.ndim == 2 and len(parameter) == 1000:
            nn.init.normal_(parameter, std=0.1)
    return model


def images(*shape: int) -> Tensor:
    """(N, ...) random images."""
    return torch.randn(COUNT, *shape, generator=torch.Generator().manual_seed(1))


def fed(
    make: Callable[[], nn.Module], shape: Sequence[int], **needed: Any
) -> Callable[[], Brought]:
    """Builder of a module that is called with nothing but images of a shape."""
    return lambda: Brought(seeded(make), images(*shape), needed)


PICTURE, SMALL_PICTURE, VOLUME = (3, 64, 64), (3, 32, 32), (1, 32, 32, 32)


def huggingface() -> Builders:
    import transformers as hf

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    vit = {"image_size": 32, "patch_size": 8, "intermediate_size": 64, "num_labels": 5, **sizes}
    swin = {
        "image_size": 64, "patch_size": 4, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4],
        "window_size": 4, "num_labels": 5,
    }  # fmt: skip
    stages = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "num_labels": 5}
    resnet = {**stages, "embedding_size": 8}
    segformer = {**stages, "num_attention_heads": [1, 2, 2, 4], "decoder_hidden_size": 16}
    return {
        "ViT": fed(lambda: hf.ViTForImageClassification(hf.ViTConfig(**vit)), SMALL_PICTURE),
        "DeiT": fed(lambda: hf.DeiTForImageClassification(hf.DeiTConfig(**vit)), SMALL_PICTURE),
        "DeiT distilled": fed(
            lambda: hf.DeiTForImageClassificationWithTeacher(hf.DeiTConfig(**vit)), SMALL_PICTURE
        ),
        "BEiT": fed(lambda: hf.BeitForImageClassification(hf.BeitConfig(**vit)), SMALL_PICTURE),
        "DINOv2": fed(
            lambda: hf.Dinov2ForImageClassification(hf.Dinov2Config(**vit)), SMALL_PICTURE
        ),
        "SigLIP": fed(lambda: siglip_classifier(hf, vit), SMALL_PICTURE),
        "Swin": fed(lambda: hf.SwinForImageClassification(hf.SwinConfig(**swin)), PICTURE),
        "Swin v2": fed(lambda: hf.Swinv2ForImageClassification(hf.Swinv2Config(**swin)), PICTURE),
        "ConvNeXt": fed(
            lambda: hf.ConvNextForImageClassification(hf.ConvNextConfig(**stages)), PICTURE
        ),
        "ConvNeXt v2": fed(
            lambda: hf.ConvNextV2ForImageClassification(hf.ConvNextV2Config(**stages)), PICTURE
        ),
        "ResNet": fed(lambda: hf.ResNetForImageClassification(hf.ResNetConfig(**resnet)), PICTURE),
        "RegNet": fed(
            lambda: hf.RegNetForImageClassification(hf.RegNetConfig(**resnet, groups_width=8)),
            PICTURE,
        ),
        "MobileNet v2": fed(
            lambda: hf.MobileNetV2ForImageClassification(hf.MobileNetV2Config(num_labels=5)),
            PICTURE,
        ),
        "SegFormer classifier": fed(
            lambda: hf.SegformerForImageClassification(hf.SegformerConfig(**segformer)), PICTURE
        ),
        "SegFormer": fed(
            lambda: hf.SegformerForSemanticSegmentation(hf.SegformerConfig(**segformer)), PICTURE
        ),
        "UperNet": fed(lambda: upernet(hf, stages), PICTURE),
        "VideoMAE": fed(
            lambda: hf.VideoMAEForVideoClassification(
                hf.VideoMAEConfig(**vit, num_frames=4, tubelet_size=2)
            ),
            (4, 3, 32, 32),
        ),
        "YOLOS": lambda: yolos(hf, vit),
    }


def siglip_classifier(hf: Any, vit: dict[str, Any]) -> nn.Module:
    vision = {key: value for key, value in vit.items() if key != "num_labels"}
    return hf.SiglipForImageClassification(hf.SiglipConfig(vision_config=vision, num_labels=5))


def upernet(hf: Any, stages: dict[str, Any]) -> nn.Module:
    names = ["stage1", "stage2", "stage3", "stage4"]
    backbone = hf.ConvNextConfig(**{**stages, "out_features": names})
    return hf.UperNetForSemanticSegmentation(
        hf.UperNetConfig(
            backbone_config=backbone, hidden_size=16, num_labels=5, use_auxiliary_head=False
        )
    )


def yolos(hf: Any, vit: dict[str, Any]) -> Brought:
    """A detector: logits of each of a few detection tokens."""
    config = hf.YolosConfig(**{**vit, "image_size": [32, 32]}, num_detection_tokens=4)

    def scores(output: Any, classes: Tensor) -> Tensor:
        return output.logits.amax(dim=1).gather(1, classes[:, None])[:, 0]

    model = seeded(lambda: hf.YolosForObjectDetection(config))
    needed = {"score": scores, "classes": 1}
    return Brought(model, images(3, 32, 32), needed, lambda o, _, c: scores(o, c))


def clip() -> Builders:
    import transformers as hf

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    vision = {**sizes, "image_size": 32, "patch_size": 8, "intermediate_size": 64}
    text = {
        **sizes, "vocab_size": 60, "intermediate_size": 64, "max_position_embeddings": 16,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    parts = {"text_config": text, "vision_config": vision}
    prompts = torch.tensor([[1, 5, 6, 2], [1, 9, 7, 2], [1, 12, 13, 2]])

    def prompted(make: Callable[[], nn.Module]) -> Callable[[], Brought]:
        """What the prompts are is the same for all images, so it belongs into ``forward``."""
        needed = {"forward": lambda model, x: model(pixel_values=x, input_ids=prompts)}
        return lambda: Brought(seeded(make), images(3, 32, 32), needed)

    def paired(make: Callable[[], nn.Module]) -> Callable[[], Brought]:
        """A text for each image, as in training."""
        return lambda: Brought(
            seeded(make), {"pixel_values": images(3, 32, 32), "input_ids": prompts[:COUNT]}
        )

    def clip() -> nn.Module:
        return hf.CLIPModel(hf.CLIPConfig(**parts, projection_dim=24))

    def siglip() -> nn.Module:
        return hf.SiglipModel(hf.SiglipConfig(**parts))

    def image_tower() -> Brought:
        config = hf.CLIPVisionConfig(**vision, projection_dim=24)
        embeddings = torch.randn(3, 24, generator=torch.Generator().manual_seed(2))
        needed = {"embeddings": embeddings, "output": "image_embeds"}
        model = seeded(lambda: hf.CLIPVisionModelWithProjection(config))
        return Brought(model, images(3, 32, 32), needed, cosine_to(embeddings))

    return {
        "CLIP, prompts": prompted(clip),
        "CLIP, pairs": paired(clip),
        "SigLIP, prompts": prompted(siglip),
        "SigLIP, pairs": paired(siglip),
        "CLIP classifier": fed(
            lambda: hf.CLIPForImageClassification(
                hf.CLIPConfig(**parts, projection_dim=24, num_labels=5)
            ),
            SMALL_PICTURE,
        ),
        "CLIP image tower": image_tower,
    }


def cosine_to(embeddings: Tensor) -> Callable[[Any, Any, Tensor], Tensor]:
    """The cosine of the first output to the embedding of each image's class."""
    return lambda output, _, classes: torch.cosine_similarity(
        output[0], embeddings[classes].to(output[0]), dim=1
    )


def open_clip() -> Builders:
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    towers = {
        "ViT": CLIPVisionCfg(layers=2, width=32, head_width=8, patch_size=8, image_size=32),
        "ResNet": CLIPVisionCfg(layers=(1, 1, 1, 1), width=16, image_size=64),
    }
    text = CLIPTextCfg(context_length=8, vocab_size=50, width=32, heads=4, layers=2)
    prompts = torch.randint(1, 50, (3, 8), generator=torch.Generator().manual_seed(2))

    def prompted(vision: CLIPVisionCfg) -> Brought:
        side = vision.image_size
        needed = {"forward": lambda model, x: model.get_logits(x, prompts)[0]}
        model = seeded(lambda: CLIP(embed_dim=24, vision_cfg=vision, text_cfg=text))
        return Brought(model, images(3, side, side), needed)

    def embedded(vision: CLIPVisionCfg) -> Brought:
        side = vision.image_size
        model = seeded(lambda: CLIP(embed_dim=24, vision_cfg=vision, text_cfg=text))
        with torch.no_grad():
            embeddings = model.encode_text(prompts)
        needed = {"embeddings": embeddings, "output": 0}
        return Brought(model, images(3, side, side), needed, cosine_to(embeddings))

    made: Builders = {}
    for name, vision in towers.items():
        made[f"{name}, prompts"] = lambda vision=vision: prompted(vision)
        made[f"{name}, embeddings"] = lambda vision=vision: embedded(vision)
    return made


def segmentation() -> Builders:
    import segmentation_models_pytorch as smp

    names = (
        "Unet UnetPlusPlus DeepLabV3 DeepLabV3Plus FPN PSPNet PAN Linknet MAnet UPerNet Segformer"
    )

    def build(name: str, classes: int = 3, **options: Any) -> Callable[[], Brought]:
        make = getattr(smp, name)
        side = 128 if name == "PAN" else 64
        return fed(
            lambda: make("resnet18", encoder_weights=None, classes=classes, **options),
            (3, side, side),
        )

    return {
        **{name: build(name) for name in names.split()},
        "Unet, one class": build("Unet", classes=1),
        "Unet, softmax": build("Unet", activation="softmax2d"),
        "Unet with a classifier": build("Unet", aux_params={"classes": 5}),
        "DPT": fed(
            lambda: smp.DPT("tu-vit_tiny_patch16_224", encoder_weights=None, classes=3),
            (3, 224, 224),
        ),
    }


def torchgeo() -> Builders:
    from torchgeo import trainers

    labels = {
        "multiclass": {"num_classes": 3},
        "binary": {"loss": "bce"},
        "multilabel": {"num_labels": 3, "loss": "bce"},
    }
    made: Builders = {}
    for task, options in labels.items():
        made[f"ClassificationTask {task}"] = fed(
            lambda task=task, options=options: trainers.ClassificationTask(
                model="resnet18", task=task, **options
            ),
            PICTURE,
        )
        made[f"SemanticSegmentationTask {task}"] = fed(
            lambda task=task, options=options: trainers.SemanticSegmentationTask(
                model="unet", backbone="resnet18", task=task, **options
            ),
            PICTURE,
        )
    quantities = {
        "RegressionTask": lambda: trainers.RegressionTask(model="resnet18", num_outputs=1),
        "PixelwiseRegressionTask": lambda: trainers.PixelwiseRegressionTask(
            model="unet", backbone="resnet18"
        ),
    }
    for name, make in quantities.items():
        made[name] = lambda make=make: Brought(seeded(make), images(3, 64, 64), is_quantity=True)
    return made


def monai() -> Builders:
    from monai.data import MetaTensor
    from monai.networks import nets

    small = {"init_features": 8, "growth_rate": 4, "block_config": (2, 2, 2)}
    one = {"in_channels": 1, "out_channels": 3}

    def carrying(build: Callable[[], Brought]) -> Callable[[], Brought]:
        """The same with inputs as MONAI's loaders give them."""

        def carried() -> Brought:
            brought = build()
            return Brought(brought.model, MetaTensor(brought.inputs))

        return carried

    def unet(dims: int) -> nn.Module:
        return nets.UNet(
            spatial_dims=dims, **one, channels=(4, 8, 16), strides=(2, 2), num_res_units=1
        )

    def vit() -> nn.Module:
        return nets.ViT(
            in_channels=1, img_size=(32, 32), patch_size=(8, 8), hidden_size=32, mlp_dim=64,
            num_layers=2, num_heads=4, num_classes=3, classification=True, spatial_dims=2,
        )  # fmt: skip

    plain: Builders = {
        "DenseNet121 2-D": fed(lambda: nets.DenseNet121(spatial_dims=2, **one), (1, 64, 64)),
        "DenseNet 3-D": fed(lambda: nets.DenseNet(spatial_dims=3, **one, **small), VOLUME),
        "UNet 2-D": fed(lambda: unet(2), (1, 32, 32)),
        "UNet 3-D": fed(lambda: unet(3), (1, 16, 16, 16)),
    }
    return {
        **plain,
        **{f"{name}, MetaTensor": carrying(build) for name, build in plain.items()},
        "SegResNet": fed(
            lambda: nets.SegResNet(spatial_dims=2, init_filters=8, **one), (1, 32, 32)
        ),
        "SwinUNETR": fed(
            lambda: nets.SwinUNETR(**one, feature_size=12, spatial_dims=2), (1, 64, 64)
        ),
        "ViT": fed(vit, (1, 32, 32)),
    }


def lightly() -> Builders:
    from lightly.models.modules import SimCLRProjectionHead
    from torchvision.models import resnet18

    class SimCLR(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(*list(resnet18().children())[:-1])
            self.projection_head = SimCLRProjectionHead(512, 64, 16)

        def forward(self, x: Tensor) -> Tensor:
            return self.projection_head(self.backbone(x).flatten(1))

    def own() -> Brought:
        def scores(output: Tensor, intact: Tensor, _classes: Tensor) -> Tensor:
            return torch.cosine_similarity(output, intact, dim=1)

        return Brought(seeded(SimCLR), images(3, 64, 64), {"embeddings": "own"}, scores)

    return {"SimCLR": own}


def torchvision() -> Builders:
    from torchvision import models
    from torchvision.models import segmentation as maps

    options = {"weights_backbone": None, "num_classes": 5}
    return {
        "resnet18": fed(models.resnet18, PICTURE),
        "googlenet": fed(lambda: models.googlenet(init_weights=False), PICTURE),
        "mobilenet_v3_small": fed(models.mobilenet_v3_small, PICTURE),
        "deeplabv3_mobilenet_v3_large": fed(
            lambda: maps.deeplabv3_mobilenet_v3_large(**options), PICTURE
        ),
        "deeplabv3, auxiliary": fed(
            lambda: maps.deeplabv3_mobilenet_v3_large(**options, aux_loss=True), PICTURE
        ),
        "fcn_resnet50": fed(lambda: maps.fcn_resnet50(**options), PICTURE),
        "lraspp_mobilenet_v3_large": fed(
            lambda: maps.lraspp_mobilenet_v3_large(**options), PICTURE
        ),
    }


def detection() -> Builders:
    from torchvision.models import detection as boxes

    options = {"weights_backbone": None, "num_classes": 4}

    def small(name: str, layer: str | None = None, **more: Any) -> Callable[[], Brought]:
        """Every box counts, so that random weights have something to score."""
        make = lambda: getattr(boxes, name)(**options, **more)  # noqa: E731
        needed: dict[str, Any] = {"score": strongest_box, "classes": 2}
        if layer is not None:
            needed["target_layer"] = layer
        return lambda: Brought(seeded(make), images(3, 64, 64), needed, detected)

    sides = {"min_size": 64, "max_size": 64}
    return {
        "fasterrcnn_mobilenet_v3_large_320_fpn": small(
            "fasterrcnn_mobilenet_v3_large_320_fpn",
            **sides,
            box_score_thresh=0.0,
            box_detections_per_img=20,
            rpn_post_nms_top_n_test=50,
        ),
        "retinanet_resnet50_fpn": small("retinanet_resnet50_fpn", **sides, score_thresh=0.0),
        "ssdlite320_mobilenet_v3_large": small(
            "ssdlite320_mobilenet_v3_large", "backbone.features.1", score_thresh=0.0
        ),
    }


def small_detector(name: str) -> Brought:
    """One of torchvision's detectors behind a backbone of two convolutions."""
    from torchvision.models import detection as boxes
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    def make() -> nn.Module:
        backbone = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=4), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU()
        )
        backbone.out_channels = 8
        anchors = AnchorGenerator(((8, 16),), ((0.5, 1.0),))
        sides = {"num_classes": 3, "min_size": 48, "max_size": 48}
        if name == "RetinaNet":
            return boxes.RetinaNet(backbone, anchor_generator=anchors, score_thresh=0.0, **sides)
        return boxes.FasterRCNN(
            backbone, rpn_anchor_generator=anchors, box_score_thresh=0.0, **sides
        )

    needed = {"score": strongest_box, "classes": 2, "target_layer": "backbone.3"}
    return Brought(seeded(make), images(3, 48, 48), needed, detected)


def detected(output: Any, _intact: Any, classes: Tensor) -> Tensor:
    """(N,) the largest score of a box of each image's class."""
    return torch.stack(
        [
            torch.where(found["labels"] == label, found["scores"], 0).max()
            for found, label in zip(output, classes, strict=True)
        ]
    )


def video() -> Builders:
    from torchvision.models import video as clips

    return {
        "r3d_18": fed(lambda: clips.r3d_18(num_classes=5), (3, 4, 64, 64)),
        "r2plus1d_18": fed(lambda: clips.r2plus1d_18(num_classes=5), (3, 4, 64, 64)),
        "swin3d_t": fed(lambda: clips.swin3d_t(num_classes=5), (3, 4, 64, 64)),
        "swin3d, small": fed(lambda: small_swin3d(clips), (3, 4, 32, 32)),
        "mvit_v1, small": fed(lambda: small_mvit(clips), (3, 4, 32, 32)),
    }


def small_swin3d(clips: Any) -> nn.Module:
    return clips.SwinTransformer3d(
        patch_size=[2, 4, 4], embed_dim=16, depths=[1, 1], num_heads=[1, 2], window_size=[2, 4, 4],
        num_classes=5,
    )  # fmt: skip


def small_mvit(clips: Any) -> nn.Module:
    """The first architecture at a small size."""
    block = clips.mvit.MSBlockConfig
    one = {"kernel_q": [], "kernel_kv": [3, 3, 3], "stride_q": [], "stride_kv": [1, 1, 1]}
    return clips.MViT(
        spatial_size=(32, 32),
        temporal_size=4,
        block_setting=[
            block(num_heads=1, input_channels=16, output_channels=32, **one),
            block(num_heads=2, input_channels=32, output_channels=32, **one),
        ],
        residual_pool=False, residual_with_cls_embed=True, rel_pos_embed=False,
        proj_after_attn=False, num_classes=5,
    )  # fmt: skip


TIMM = {
    "beit": "beit_base_patch16_224",
    "botnet": "botnet26t_256",
    "cait": "cait_xxs24_224",
    "coat": "coat_lite_tiny",
    "convit": "convit_tiny",
    "convmixer": "convmixer_768_32",
    "convnext": "convnext_atto",
    "convnextv2": "convnextv2_atto",
    "crossvit": "crossvit_tiny_240",
    "cspnet": "cs3darknet_s",
    "davit": "davit_tiny",
    "deit": "deit_tiny_distilled_patch16_224",
    "densenet": "densenet121",
    "dinov3": "vit_small_patch16_dinov3",
    "dla": "dla34",
    "dpn": "dpn68",
    "edgenext": "edgenext_xx_small",
    "efficientformer": "efficientformer_l1",
    "efficientnet": "efficientnet_b0",
    "efficientvit": "efficientvit_b0",
    "eva": "eva02_tiny_patch14_224",
    "fastvit": "fastvit_t8",
    "focalnet": "focalnet_tiny_srf",
    "gcvit": "gcvit_xxtiny",
    "ghostnet": "ghostnet_100",
    "gmlp": "gmlp_ti16_224",
    "hgnet": "hgnetv2_b0",
    "hiera": "hiera_tiny_224",
    "hrnet": "hrnet_w18_small",
    "inception": "inception_v3",
    "inception_next": "inception_next_atto",
    "levit": "levit_128s",
    "maxvit": "maxvit_pico_rw_256",
    "metaformer": "poolformer_s12",
    "mixer": "mixer_s32_224",
    "mobilenetv3": "mobilenetv3_small_050",
    "mobilenetv4": "mobilenetv4_conv_small",
    "mobilevit": "mobilevit_xxs",
    "mvitv2": "mvitv2_tiny",
    "naflexvit": "naflexvit_base_patch16_map",
    "nest": "nest_tiny",
    "nextvit": "nextvit_small",
    "nfnet": "eca_nfnet_l0",
    "pit": "pit_ti_224",
    "pvt": "pvt_v2_b0",
    "regnet": "regnety_002",
    "repvgg": "repvgg_a0",
    "repvit": "repvit_m1",
    "res2net": "res2net50_14w_8s",
    "resmlp": "resmlp_12_224",
    "resnet": "resnet10t",
    "resnetv2": "resnetv2_50",
    "rexnet": "rexnet_100",
    "selecsls": "selecsls42",
    "senet": "legacy_seresnet18",
    "sequencer": "sequencer2d_s",
    "siglip": "vit_base_patch16_siglip_224",
    "starnet": "starnet_s1",
    "swin": "swin_tiny_patch4_window7_224",
    "swinv2": "swinv2_tiny_window8_256",
    "tiny_vit": "tiny_vit_5m_224",
    "tnt": "tnt_s_patch16_224",
    "tresnet": "tresnet_m",
    "twins": "twins_svt_small",
    "vgg": "vgg11",
    "visformer": "visformer_tiny",
    "vit": "vit_tiny_patch16_224",
    "volo": "volo_d1_224",
    "vovnet": "ese_vovnet19b_dw",
    "xception": "xception41",
    "xcit": "xcit_nano_12_p16_224",
}
"""One small network of each of timm's families."""

SHALLOW = {
    "beit": {"embed_dim": 192, "depth": 4, "num_heads": 3},
    "naflexvit": {"embed_dim": 192, "depth": 4, "num_heads": 3},
    "siglip": {"embed_dim": 192, "depth": 4, "num_heads": 3},
}
"""Arguments that make a family's network small where it has no small one."""

SIDE = 96
"""Of timm's images, where a network takes any; the others get images of their own size."""


def timm() -> Builders:
    import timm

    def build(family: str, name: str) -> Brought:
        model = seeded(lambda: timm.create_model(name, **SHALLOW.get(family, {})))
        config = model.default_cfg
        fixed = config.get("fixed_input_size", False) or family in ("inception", "vgg")
        side = config["input_size"][-1] if fixed else SIDE
        return Brought(model, images(3, side, side))

    return {
        f"{family}: {name}": lambda family=family, name=name: build(family, name)
        for family, name in TIMM.items()
    }


FAMILIES: dict[str, Callable[[], Builders]] = {
    "torchvision": torchvision,
    "detection": detection,
    "video": video,
    "timm": timm,
    "huggingface": huggingface,
    "clip": clip,
    "open_clip": open_clip,
    "segmentation": segmentation,
    "torchgeo": torchgeo,
    "monai": monai,
    "lightly": lightly,
}
"""Builders of each family's modules, by name."""
