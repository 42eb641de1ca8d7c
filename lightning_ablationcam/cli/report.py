"""``report``: what was recorded in a log directory, as one HTML file."""

from __future__ import annotations

import sys
from typing import Any

from lightning_ablationcam.cli.parsing import parser_of
from lightning_ablationcam.outputs.report import write_report

_DESCRIPTION = """\
Writes the page of TensorBoard's Ablation-CAM tab, with everything that was recorded in
LOGDIR, as one HTML file. It opens from disk, needs neither TensorBoard nor a network,
and loads nothing from elsewhere: to share, or to keep.

  lightning-ablationcam report runs report.html

An existing file is replaced once the new one is complete. All runs in LOGDIR are shown.
"""


def arguments() -> Any:
    """The parser of this command."""
    parser = parser_of("report", _DESCRIPTION)
    parser.add_argument(
        "logdir", metavar="LOGDIR", help="the folder that tensorboard --logdir gets"
    )
    parser.add_argument("path", metavar="OUT.html", help="the file to write")
    return parser


def run(given: Any) -> int:
    """Write the report, and say where."""
    sys.stdout.write(f"{write_report(given.logdir, given.path)}\n")
    return 0
