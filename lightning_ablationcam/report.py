"""Write a report from a shell: ``python -m lightning_ablationcam.report LOGDIR report.html``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lightning_ablationcam.outputs.report import write_report


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a report.

    Args:
        arguments: The log directory and the file to write; default the command line's.
    """
    parser = argparse.ArgumentParser(
        prog="python -m lightning_ablationcam.report",
        description="Write what an AblationCAMMonitor recorded as one HTML file.",
    )
    parser.add_argument("logdir", help="log directory, as for tensorboard --logdir")
    parser.add_argument("path", help="the HTML file to write")
    given = parser.parse_args(arguments)
    try:
        written = write_report(given.logdir, given.path)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    sys.stdout.write(f"{written}\n")


if __name__ == "__main__":
    main()
