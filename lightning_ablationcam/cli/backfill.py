"""``backfill``: what a network looked at while it trained, from a folder of old checkpoints."""

from __future__ import annotations

import sys
from typing import Any

from lightning_ablationcam.cli.importing import imported, made, maker_of
from lightning_ablationcam.cli.monitor import add_monitor, monitor_arguments
from lightning_ablationcam.cli.parsing import add_module, parser_of, plain_warnings

_DESCRIPTION = """\
Shows what a network looked at while it trained, from the checkpoints it left behind:
for trainings that ran without the monitor. Each checkpoint gets the pass that the
monitor would have made when it was saved, and LOGDIR becomes what the training would
have logged: the same probes, steps, epochs, maps, scalars and pictures.

  lightning-ablationcam backfill checkpoints --module nets:Net --data data:Digits \\
      --logdir runs/backfill
  lightning-ablationcam backfill checkpoints --module nets:Net --images photos \\
      --logdir runs/backfill --target_layer model.layer4 --classes predicted
  tensorboard --logdir runs

Checkpoints are taken in the order of the global_step that they hold, whatever they are
called. One that is broken is left out, and named at the end. If it is interrupted, the
same command goes on where it was.

The probes are those that the monitor would have kept: the first so many images
(--probes), balanced over the classes, of the data module's validation loader; or the
pictures of a folder (--images).

Exit status: 0 if every checkpoint has its pass, 1 if any was left out.
"""


def arguments() -> Any:
    """The parser of this command."""
    parser = parser_of("backfill", _DESCRIPTION)
    parser.add_argument(
        "checkpoints",
        metavar="CHECKPOINTS",
        help="the folder, which is searched with all folders in it for .ckpt, .pt and .pth",
    )
    add_module(parser, required=True)
    parser.add_argument(
        "--logdir",
        required=True,
        help="the folder of the run that is written, such as runs/backfill",
    )
    parser.add_argument(
        "--data",
        type=str | None,
        default=None,
        help="the data that the training was validated on: package.module:name of a data module, "
        "of a loader, or of what makes one without arguments (default: the module's own "
        "val_dataloader)",
    )
    parser.add_argument(
        "--probes", type=int, default=16, help="how many images of the validation are watched"
    )
    parser.add_argument(
        "--images",
        type=str | None,
        default=None,
        help="a folder of pictures to watch instead; subfolders are classes, in alphabetical order",
    )
    parser.add_argument(
        "--labels",
        type=int,
        nargs="+",
        default=None,
        metavar="CLASS",
        help="the class of each picture of --images, in the alphabetical order of their paths",
    )
    parser.add_argument(
        "--size", type=int, default=224, help="the side, in pixels, that --images are scaled to"
    )
    parser.add_argument("--accelerator", default="auto", help="as in Lightning's Trainer")
    parser.add_argument(
        "--precision", type=str | None, default=None, help="as in the Trainer of the training"
    )
    parser.add_argument(
        "--unsafe_pickle",
        action="store_true",
        help="read checkpoints also if they hold Python objects other than tensors and plain "
        "values, such as a pickled configuration. Reading such a file runs whatever code is in "
        "it: only for files that you trust",
    )
    parser.add_argument("--no_progress", action="store_true", help="show no progress bar")
    add_monitor(parser)
    return parser


def run(given: Any) -> int:
    """Make the passes, and say how many there are."""
    from lightning_ablationcam.callback import AblationCAMMonitor
    from lightning_ablationcam.checkpoints import backfill
    from lightning_ablationcam.lightning import is_module_class

    _check(given)
    module: Any = maker_of("--module", given.module)
    # Without arguments it is made with the hyperparameters that the checkpoints hold.
    if given.init or not is_module_class(module):
        module = made("--module", module, given.init)
    asked = monitor_arguments(given)
    probes = given.probes if given.images is None else _pictures(given, asked)
    monitor = AblationCAMMonitor(probes=probes, **asked)
    with plain_warnings("backfill"):
        found = backfill(
            given.checkpoints,
            module,
            monitor,
            given.logdir,
            data=_data(given.data),
            accelerator=given.accelerator,
            precision=given.precision,
            allow_unsafe_pickle=given.unsafe_pickle,
            progress=not given.no_progress,
        )
    before = f", {len(found.done_before)} done before" if found.done_before else ""
    left_out = f", {len(found.skipped)} left out" if found.skipped else ""
    sys.stdout.write(f"{len(found.steps)} passes written to {found.logdir}{before}{left_out}\n")
    return 1 if found.skipped else 0


def _check(given: Any) -> None:
    if given.images is None and given.labels is not None:
        raise ValueError(f"--labels={given.labels} are those of --images; give a folder")
    if given.images is not None and given.data is not None:
        raise ValueError("--images and --data both say what the probes are; give one of them")


def _pictures(given: Any, asked: dict[str, Any]) -> Any:
    """The probes of a folder; how they are shown is theirs, and no argument of the monitor."""
    from lightning_ablationcam.probes.probe_set import ProbeSet

    mean, std, names = (asked.pop(name) for name in ("mean", "std", "class_names"))
    found = ProbeSet.from_folder(given.images, given.size, mean=mean, std=std)
    own = given.labels is not None
    return ProbeSet(
        found.inputs,
        labels=given.labels if own else found.labels,
        names=found.names,
        class_names=names or (None if own else found.class_names),
        mean=0.0 if mean is None else mean,
        std=1.0 if std is None else std,
    )


def _data(name: str | None) -> Any:
    if name is None:
        return None
    data = imported("--data", name)
    is_loader = hasattr(data, "__iter__") and not isinstance(data, type)
    return data() if callable(data) and not is_loader else data
