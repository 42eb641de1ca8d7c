"""``animate``: the recorded heatmaps of each probe, as one animated picture."""

from __future__ import annotations

import sys
from typing import Any

from lightning_ablationcam.cli.parsing import parser_of
from lightning_ablationcam.outputs.recorded import animate_records

_DESCRIPTION = """\
Writes an animated GIF of each probe, from the first pass that was recorded in LOGDIR to
the newest: up to 32 of them, evenly chosen, with the class, its score and the epoch
below the picture. Nothing is computed again, and no network is needed.

  lightning-ablationcam animate runs --out animations
  lightning-ablationcam animate runs --out animations --run digits/version_3 --probe 7
  lightning-ablationcam animate runs --out animations --of rival

Files are named by run, tag and probe, as far as there are several. Existing files of
the same name are replaced.
"""


def arguments() -> Any:
    """The parser of this command."""
    parser = parser_of("animate", _DESCRIPTION)
    parser.add_argument(
        "logdir", metavar="LOGDIR", help="the folder that tensorboard --logdir gets"
    )
    parser.add_argument("--out", required=True, help="the folder to write to")
    parser.add_argument(
        "--run",
        type=str | None,
        default=None,
        help="the run, as TensorBoard calls it (default: all of them)",
    )
    parser.add_argument(
        "--tag", type=str | None, default=None, help="the monitor's tag (default: all of them)"
    )
    parser.add_argument(
        "--probe",
        nargs="+",
        default=[],
        metavar="NAME",
        help="the names of the probes (default: all of them)",
    )
    parser.add_argument(
        "--of",
        default="explained",
        help="explained for the class that was explained first, or a further one that was "
        "recorded, such as rival",
    )
    return parser


def run(given: Any) -> int:
    """Write the animations, and say where."""
    written = animate_records(
        given.logdir, given.out, run=given.run, tag=given.tag, probes=given.probe, of=given.of
    )
    sys.stdout.writelines(f"{path}\n" for path in written)
    return 0
