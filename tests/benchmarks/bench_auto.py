"""Which value target_layer="auto" takes in all of torchvision's and many of timm's classifiers.

    python -m tests.benchmarks.bench_auto --only resnet18 resnetv2_50
    python -m tests.benchmarks.bench_auto --timm >> auto.md

Each network has random weights and gets one random image. A row shows the value that "auto" takes,
the size of its map, the first operations that follow on the recorded tape, the engine, the largest
difference between the drops of both engines as a share of the largest drop (for a few groups of
channels), and the seconds of a pass. What a later spatial value could have had is in the last
column, with a "!" before the network's name: the operations on the way to the last value that
everything depends on, that has a map of its own and whose positions reach the score. Operations
that only move entries or pool them are not counted.
"""

from __future__ import annotations

import argparse
import re
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torchvision import models

from lightning_ablationcam import ablation_cam
from lightning_ablationcam.engine.layer_search import resolve_target
from lightning_ablationcam.engine.program import Node, Program, pruned, run_node
from lightning_ablationcam.engine.recorder import record
from lightning_ablationcam.engine.tap import starting_at
from lightning_ablationcam.network.calling import call
from lightning_ablationcam.network.isolation import isolated
from lightning_ablationcam.network.layers import infer_layout
from tests.real_modules import seeded

LARGEST = 120e6
"""Parameters at most."""

SIDE = 128
"""Of the image, where a network takes any; the others get images of the size they are made for."""

GROUPS = 3

# What moves entries, copies them or pools them adds nothing that a value could be explained for.
MOVES = re.compile(
    r"(_unsafe_)?view|_?reshape(_alias)?|permute|transpose|t|clone|copy|_to_copy|alias|detach|"
    r"(un)?squeeze|expand|select|slice|narrow|split(_with_sizes)?|unbind|chunk|roll|flip|cat|stack|"
    r"(constant_)?pad(_nd)?|flatten|contiguous|mean|sum|amax|max|"
    r"_?(adaptive_)?(avg|max)_pool[123]d(_with_indices)?"
)

TIMM = """
    bat_resnext26ts beit_base_patch16_224 beitv2_base_patch16_224 botnet26t_256 caformer_s18
    cait_xxs24_224 coat_lite_tiny coat_tiny coatnet_nano_rw_224 convformer_s18 convit_tiny
    convmixer_768_32 convnext_atto convnextv2_atto crossvit_tiny_240 cs3darknet_s cs3edgenet_x
    cspdarknet53 cspresnet50 darknet53 davit_tiny deit3_small_patch16_224
    deit_tiny_distilled_patch16_224 densenet121 dla34 dla60_res2net dpn68 eca_halonext26ts
    eca_nfnet_l0 ecaresnet26t edgenext_xx_small efficientformer_l1 efficientformerv2_s0
    efficientnet_b0 efficientnet_b0_gn efficientnet_es efficientvim_m1 efficientvit_b0
    efficientvit_m0 ese_vovnet19b_dw eva02_tiny_patch14_224 fasternet_t0 fastvit_t8 fbnetc_100
    fbnetv3_b flexivit_small focalnet_tiny_srf gc_efficientnetv2_rw_t gcresnext26ts gcvit_xxtiny
    gernet_s ghostnet_100 ghostnetv2_100 ghostnetv3_100 gmixer_12_224 gmlp_ti16_224 halonet26t
    hardcorenas_a hgnet_tiny hgnetv2_b0 hiera_tiny_224 hrnet_w18_small iformer_t
    inception_next_atto inception_resnet_v2 inception_v3 inception_v4 lambda_resnet26t lcnet_050
    lcnetv2_base legacy_senet154 legacy_seresnet18 legacy_xception levit_128s levit_conv_128s
    lowformer_b0 mambaout_femto maxvit_pico_rw_256 maxvit_tiny_tf_224 maxxvit_rmlp_nano_rw_256
    mixer_s32_224 mixnet_s mnasnet_small mobilenet_edgetpu_v2_xs mobilenetv1_100 mobilenetv2_050
    mobilenetv3_large_100 mobilenetv3_small_050 mobilenetv4_conv_small mobilenetv4_hybrid_medium
    mobileone_s0 mobilevit_xxs mobilevitv2_050 mvitv2_small_cls mvitv2_tiny nasnetalarge nest_tiny
    nextvit_small nf_regnet_b0 nf_resnet26 nfnet_l0 pit_ti_224 pit_ti_distilled_224 pnasnet5large
    poolformer_s12 poolformerv2_s12 pvt_v2_b0 rdnet_tiny regnetx_002 regnety_002 regnetz_005
    repghostnet_050 repvgg_a0 repvit_m1 res2net50_14w_8s resmlp_12_224 resnest14d resnet10t
    resnet50_clip resnet50_gn resnet50_mlp resnetaa50 resnetblur18 resnetrs50 resnetv2_18
    resnetv2_50 resnetv2_50d_evos resnetv2_50d_frn resnetv2_50d_gn resnetv2_50x1_bit rexnet_100
    samvit_base_patch16_224 selecsls42 semnasnet_050 sequencer2d_s shvit_s1 skresnet18 spnasnet_100
    starnet_s1 swiftformer_xs swin_tiny_patch4_window7_224 swinv2_cr_tiny_ns_224
    swinv2_tiny_window8_256 tf_efficientnetv2_b0 tiny_vit_5m_224 tinynet_e tnt_s_patch16_224
    tresnet_m twins_pcpvt_small twins_svt_small vgg11 visformer_tiny vit_base_patch16_siglip_224
    vit_base_patch32_clip_224 vit_small_patch14_reg4_dinov2 vit_small_patch16_dinov3
    vit_small_patch16_rope_224 vit_small_r26_s32_224 vit_tiny_patch16_224
    vit_wee_patch16_reg1_gap_256 vitamin_small_224 volo_d1_224 vovnet39a
    wide_resnet50_2 xception41 xception41p xcit_nano_12_p16_224
    convnext_zepto_rms cpubone_nano csatv2 haloregnetz_b hieradet_small naflexvit_base_patch16_map
    regnetv_040 sehalonet33ts vit_dwee_patch16_reg1_gap_256 vit_pe_core_tiny_patch16_384
    vit_relpos_small_patch16_224
"""


@dataclass(frozen=True)
class Row:
    """What was found of one network."""

    network: str
    value: str
    map: str
    follow: str
    engine: str
    difference: float
    seconds: float
    missed: str = ""

    def __str__(self) -> str:
        mark = "! " if self.missed else ""
        return (
            f"| {mark}{self.network} | {self.value} | {self.map} | {self.follow} | {self.engine} "
            f"| {self.difference:.0e} | {self.seconds:.1f} | {self.missed} |"
        )


HEADER = (
    "| network | value | map | followed by | engine | difference | s | missed |\n"
    "|---|---|---|---|---|---:|---:|---|"
)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", default=None)
    parser.add_argument("--torchvision", action="store_true", help="torchvision's networks alone")
    parser.add_argument("--timm", action="store_true", help="timm's networks alone")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    makers: dict[str, Callable[[], tuple[nn.Module, list[int]]]] = {}
    if options.torchvision or not options.timm:
        makers |= torchvision_networks()
    if options.timm or not options.torchvision:
        makers |= {f"timm {name}": lambda name=name: from_timm(name) for name in TIMM.split()}
    print(HEADER, flush=True)
    for name, make in makers.items():
        if options.only is None or name.split()[-1] in options.only:
            try:
                row = explained(name, *make())
            except Exception as error:
                row = f"| ? {name} | {type(error).__name__}: {str(error)[:300]} |"
            print(row, flush=True)


def torchvision_networks() -> dict[str, Callable[[], tuple[nn.Module, list[int]]]]:
    def sides(name: str) -> list[int]:
        own = {"inception_v3": 299}.get(name, 256 if name.startswith("swin_v2") else 224)
        return [own] if name.startswith(("vit", "maxvit", "swin", "inception")) else [SIDE, own]

    def make(name: str) -> tuple[nn.Module, list[int]]:
        skipped = name.startswith(("googlenet", "inception", "vgg"))
        options = {"init_weights": False} if skipped else {}
        return seeded(lambda: models.get_model(name, **options)), sides(name)

    names = models.list_models(module=models)
    return {
        name: lambda name=name: make(name)
        for name in names
        if models.get_model_weights(name).DEFAULT.meta["num_params"] <= LARGEST
        or name.startswith("vgg")
    }


def from_timm(name: str) -> tuple[nn.Module, list[int]]:
    import timm

    model = seeded(lambda: timm.create_model(name, pretrained=False))
    side = model.default_cfg["input_size"][-1]
    fixed = model.default_cfg.get("fixed_input_size", False)
    return model, [side] if fixed else [SIDE, side]


@torch.no_grad()
def explained(name: str, model: nn.Module, sides: list[int]) -> Row:
    x = fitting(model, sides)

    def score_of(output: Tensor, first: int) -> Tensor:
        return output[:first].amax(1)

    with isolated(model):
        target = resolve_target(model, "auto", x, score_of)
        recording = record(model, target, x, call)
    activations, tail = recording.activations, recording.tail
    where = infer_layout("auto", activations.shape, x.shape)
    groups = torch.arange(where.maps(activations).shape[1]) % GROUPS
    started = time.perf_counter()
    result = ablation_cam(model, "auto", x, groups=groups)
    seconds = time.perf_counter() - started
    slow = ablation_cam(model, result.layer, x, groups=groups, engine="replay")
    known = isinstance(tail, Program)
    return Row(
        name,
        result.layer,
        f"{tuple(activations.shape)} {where}",
        first_ops(tail) if known else str(tail),
        result.engine + ("" if result.fallback is None else f" ({result.fallback})"),
        float((result.drops - slow.drops).abs().max() / slow.drops.abs().max()),
        seconds,
        missed(tail, activations, x, int(result.classes)) if known else "",
    )


def fitting(model: nn.Module, sides: list[int]) -> Tensor:
    """An image of the first size that the network takes."""
    for side in sides:
        x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
        try:
            model(x)
        except Exception:
            if side == sides[-1]:
                raise
        else:
            break
    return x


def first_ops(program: Program, count: int = 3) -> str:
    return " ".join(op_name(node) for node in program.nodes[:count])


def op_name(node: Node) -> str:
    return node.op.name().removeprefix("aten::").partition(".")[0]


def missed(program: Program, start: Tensor, x: Tensor, column: int) -> str:
    """The ops on the way to the last spatial value that could be had instead, if they compute."""
    tokens = infer_layout("auto", start.shape, x.shape).kind == "tokens"
    for index in later_values(program):
        if is_spatial_and_counts(program, index, start, x, column):
            names = dict.fromkeys(op_name(node) for node in pruned(list(program.nodes), index))
            ops = [name for name in names if not MOVES.fullmatch(name)]
            # What a linear layer alone makes of tokens are queries and keys.
            queries = tokens and set(ops) <= {"mm", "addmm"}
            return f"{' '.join(ops)}: {tuple(program.shapes[index])}" if ops and not queries else ""
    return ""


def later_values(program: Program) -> Iterator[int]:
    """The values that every way from value 0 to the output leads through, the last first."""
    through: dict[int, set[int]] = {0: {0}}
    for node in program.nodes:
        before = set.intersection(*(through[index] for index in node.refs()))
        for index in node.defined():
            through[index] = before | {index}
    yield from sorted(through[program.output] - {0, program.output}, reverse=True)


def is_spatial_and_counts(
    program: Program, index: int, start: Tensor, x: Tensor, column: int
) -> bool:
    """Whether a value has a map, with positions that reach the score."""
    shape = program.shapes[index]
    if not program.dtypes[index].is_floating_point or len(shape) < 3 or shape[0] != len(x):
        return False
    try:
        where = infer_layout("auto", shape, x.shape)
    except ValueError:
        return False
    value = finished(replace(program, output=index), start)
    rest = starting_at(program, index)
    maps = where.maps(value)
    *_, height, width = maps.shape
    if height < 2 or height != width:  # As of attention, whose positions are not the picture's.
        return False
    changed = value.clone()
    # One half of the positions only: what comes after pooling cannot be told from a common change.
    part = where.maps(changed)[..., : max(1, maps.shape[-1] // 2)]
    part += torch.linspace(0.5, 1.5, maps.shape[1]).view(-1, 1, 1) * (1 + part.abs().amax())
    scores = [finished(rest, each)[0, column] for each in (value, changed)]
    return not torch.allclose(*scores, rtol=1e-5, atol=0)


def finished(program: Program, start: Tensor) -> Tensor:
    values = {0: start}
    for node in program.nodes:
        results = zip(node.outputs, run_node(node, values.__getitem__), strict=False)
        values |= {index: value for index, value in results if index is not None}
    return values[program.output]


if __name__ == "__main__":
    main()
