"""``doctor``: what is installed, whether the tab is there, whether a network can be explained."""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any

from lightning_ablationcam.cli.parsing import add_module, parser_of

_NEEDED = ("lightning-ablationcam", "torch", "torchvision", "tensorboard", "numpy", "Pillow")
_EITHER = ("pytorch-lightning", "lightning")
_OPTIONAL = ("jsonargparse", "scikit-learn")

_IMAGES = 2
_TIMES = 3

_DESCRIPTION = """\
Checks what has to be there, and says of each thing whether it is well:

  installed    the versions of Python, of this package and of what it needs
  TensorBoard  whether it will find the Ablation-CAM tab: the entry point is
               registered, and loads
  network      given --module: whether it can be explained at a layer, by the fast
               engine, which records what follows the layer once and carries all
               channels through it; or why it has to be run once per channel

For the network two random images are explained, so it needs no data and no weights:

  lightning-ablationcam doctor
  lightning-ablationcam doctor --module resnet18
  lightning-ablationcam doctor --module nets:Net --init.width 64 --shape 1 28 28
  lightning-ablationcam doctor --module nets:Net --layer encoder.stage4 --json

Exit status: 0 if all is well, 1 if anything is not. A network that has to be run once
per channel counts as not well: its maps are as exact, but a pass is slow.
"""


def arguments() -> Any:
    """The parser of this command."""
    parser = parser_of("doctor", _DESCRIPTION)
    add_module(parser, required=False)
    parser.add_argument(
        "--shape",
        type=int,
        nargs="+",
        default=[3, 224, 224],
        metavar="SIZE",
        help="the size of one input without its batch, such as 3 224 224 (channels, height, width)",
    )
    parser.add_argument(
        "--layer",
        default="auto",
        help="the layer that is explained, as the monitor's target_layer: a dotted name such as "
        "layer4, or auto for the last spatial one",
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object instead of text")
    return parser


@dataclass
class Findings:
    """What was looked at.

    Attributes:
        versions: Of each package, by its name; None where it is not installed.
        tab: What is wrong with TensorBoard's tab; None if nothing.
        network: What was found of the network, by name; None if none was given.
        problems: What is not well, each with what to do about it.
    """

    versions: dict[str, str | None] = field(default_factory=dict)
    tab: str | None = None
    network: dict[str, Any] | None = None
    problems: list[str] = field(default_factory=list)


def run(given: Any) -> int:
    """Look at everything, and say what was found."""
    found = Findings()
    found.versions = _versions(found.problems)
    found.tab = tab_problem()
    if found.tab is not None:
        found.problems.append(f"TensorBoard will not show the Ablation-CAM tab: {found.tab}")
    if given.module is not None:
        try:
            found.network = network_findings(given.module, given.init, given.shape, given.layer)
        except Exception as error:  # Whatever a network raises is what is looked for.
            if given.debug:
                raise
            found.network = {"module": given.module, "error": f"{type(error).__name__}: {error}"}
            found.problems.append(f"the network cannot be explained: {found.network['error']}")
        else:
            if found.network["fallback"] is not None:
                found.problems.append(
                    "the network has to be run once per channel, since what follows the layer "
                    f"cannot be recorded: {found.network['fallback']}. Another --layer may do"
                )
    well = not found.problems
    text = json.dumps({"ok": well, **asdict(found)}, indent=2) if given.json else _text(found)
    sys.stdout.write(f"{text}\n")
    return 0 if well else 1


def _versions(problems: list[str]) -> dict[str, str | None]:
    versions: dict[str, str | None] = {"Python": platform.python_version()}
    for name in (*_NEEDED, *_EITHER, *_OPTIONAL):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    problems += [f"{name} is not installed" for name in _NEEDED if versions[name] is None]
    if not any(versions[name] for name in _EITHER):
        problems.append(f"neither {' nor '.join(_EITHER)} is installed")
    return versions


def tab_problem() -> str | None:
    """Why TensorBoard will not show the tab; None if it will."""
    registered: Iterable[EntryPoint] = entry_points(
        group="tensorboard_plugins", name="ablation_cam"
    )
    if not registered:
        return (
            "no installed package registers it; install lightning-ablationcam into the environment "
            "that TensorBoard runs in (a source folder on the path is not enough)"
        )
    for entry in registered:
        try:
            entry.load()()
        except Exception as error:  # TensorBoard itself would end with any of them.
            return f"{entry.value} does not load: {type(error).__name__}: {error}"
    return None


def network_findings(
    name: str, init: dict[str, Any], shape: list[int], layer: str
) -> dict[str, Any]:
    """Explain two random images, and say how that went.

    Args:
        name: The network, as :func:`~lightning_ablationcam.cli.importing.maker_of` takes it.
        init: Arguments for what makes it.
        shape: The size of one input.
        layer: The layer, or ``"auto"``.

    Returns:
        By name: ``module``, ``layer``, ``channels``, ``map``, ``task``, ``engine``, ``fallback``,
        ``calls``, ``seconds_forward``, ``seconds_pass``, ``forwards`` and ``notes``.
    """
    import torch

    from lightning_ablationcam.cli.importing import made, maker_of
    from lightning_ablationcam.options import Options
    from lightning_ablationcam.probes.probe_set import ProbeSet
    from lightning_ablationcam.run.explainer import Explainer

    if min(shape) < 1:
        raise ValueError(f"--shape={shape}; expected whole numbers above 0, such as 3 224 224")
    module = made("--module", maker_of("--module", name), init).eval()
    random = torch.Generator().manual_seed(0)
    probes = ProbeSet(torch.rand(_IMAGES, *shape, generator=random))
    explainer, notes = Explainer(layer, "predicted", Options()), list[str]()

    def explain() -> Any:
        return explainer.explain(module, probes, tell=notes.append)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's, of a module without a Trainer.
        result = explain()  # Checks the recording, which later passes do not.
        whole = _seconds(explain)
        forward = _seconds(lambda: explainer.run(module, probes))
    return {
        "module": name,
        "layer": result.layer,
        "channels": result.drops.shape[1],
        "map": list(result.heatmaps.shape[1:]),
        "task": result.task,
        "engine": result.engine,
        "fallback": result.fallback,
        "calls": explainer.says,
        "seconds_forward": forward,
        "seconds_pass": whole,
        "forwards": whole / forward,
        "notes": list(dict.fromkeys(notes)),
    }


def _seconds(action: Callable[[], Any]) -> float:
    taken = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return max(statistics.median(taken), 1e-9)


def _text(found: Findings) -> str:
    width = max(map(len, found.versions))
    lines = ["installed"]
    lines += [f"  {name:<{width}}  {has or '-'}" for name, has in found.versions.items()]
    lines += ["TensorBoard", f"  {found.tab or 'the Ablation-CAM tab is registered and loads'}"]
    if found.network is not None:
        lines += ["network", *(f"  {line}" for line in _about(found.network))]
    lines += [f"not well: {problem}" for problem in found.problems] or ["all is well"]
    return "\n".join(lines)


def _about(network: dict[str, Any]) -> list[str]:
    if "error" in network:
        return [f"{network['module']}: {network['error']}"]
    size = "x".join(map(str, network["map"]))
    way = (
        "recorded once, all channels at a time"
        if network["fallback"] is None
        else "cannot be recorded, so the network runs once per channel"
    )
    lines = [
        f"module   {network['module']}"
        + (f", calls {network['calls']}" if network["calls"] else ""),
        f"layer    {network['layer']}: {network['channels']} channels, maps of {size}",
        f"tail     {way} ({network['engine']} engine)",
        f"a pass   costs as much as {network['forwards']:.1f} forward passes here "
        f"({network['seconds_pass']:.3f} s for {_IMAGES} images); one run per channel would be "
        f"{network['channels']}",
    ]
    if network["task"] is not None:
        lines.append(f"task     taken to be {network['task']}")
    return [*lines, *(f"note     {note}" for note in network["notes"])]
