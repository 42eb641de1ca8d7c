"""The command line: one module a command, each with its arguments and its words.

A command's module has ``arguments()``, which makes its parser, and ``run(given)``, which does it
and returns the exit status. What a command does beyond that is in the rooms below.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from importlib.util import find_spec

PROGRAM = "lightning-ablationcam"

COMMANDS = {
    "doctor": "check the installation, and whether a network can be explained",
    "backfill": "show what a network looked at while it trained, from a folder of old checkpoints",
    "report": "write what was recorded in a log directory as one HTML file",
    "animate": "write the recorded heatmaps of each probe as one animated picture",
    "explain": "explain what a network sees in image files: pictures and numbers",
}
"""What each command does, by its name, which is that of its module."""

_DESCRIPTION = """\
Ablation-CAM heatmaps of a network: while it trained, or of a file.

commands:
{commands}

"{program} COMMAND --help" documents a command. Options may be
spelled with hyphens in place of underscores. Exit status: 0 if all is well, 1 if
something is not, 2 if the arguments cannot be used, 130 after Ctrl-C.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: What follows the program's name; default the command line's.

    Returns:
        The exit status: 0 if all is well, 1 if something is not.

    Raises:
        SystemExit: With status 2 if the arguments cannot be used, with 0 after ``--help``.

    Example:
        >>> main(["--version"])
        Traceback (most recent call last):
        SystemExit: 0
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    overview = _overview()
    if not given or given[0] not in COMMANDS:
        overview.parse_args(given or ["--help"])  # --help, --version, or what is wrong.
        return 2
    if find_spec("jsonargparse") is None:
        overview.error(
            f"{given[0]} needs jsonargparse, which is not installed; it comes with the extra "
            "'cli': pip install 'lightning-ablationcam[cli]'"
        )
    # Only the module of this command: others may import torch, which takes seconds.
    command = importlib.import_module(f"{__name__}.{given[0]}")
    parser = command.arguments()
    chosen = parser.parse_args([_spelled(each) for each in given[1:]])
    try:
        status: int = command.run(chosen)
    # What the rooms below say of arguments names them; a traceback would not help.
    except (ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        if chosen.debug:
            raise
        sys.stderr.write(f"{PROGRAM} {given[0]}: {type(error).__name__}: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{PROGRAM} {given[0]}: interrupted\n")
        return 130
    return status


def _spelled(argument: str) -> str:
    """An option with hyphens as it is spelled here; what is made is another's, with its own names.

    Example:
        >>> _spelled("--no-progress"), _spelled("--tag=a-b"), _spelled("--init.some-name")
        ('--no_progress', '--tag=a-b', '--init.some-name')
    """
    name, equals, value = argument.partition("=")
    if not name.startswith("--") or name.startswith("--init"):
        return argument
    return f"--{name[2:].replace('-', '_')}{equals}{value}"


def _overview() -> argparse.ArgumentParser:
    from lightning_ablationcam import __version__

    width = max(map(len, COMMANDS))
    lines = (f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [-h] [--version] COMMAND ...",
        description=_DESCRIPTION.format(commands="\n".join(lines), program=PROGRAM),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=list(COMMANDS), help="see above")
    return parser
