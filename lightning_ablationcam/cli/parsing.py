"""What the parsers of all commands have in common."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jsonargparse import ArgumentParser, DefaultHelpFormatter

from lightning_ablationcam.cli import PROGRAM

MODULE = (
    "the network: package.module:name of a class, or of a callable that makes one (or of one that "
    "is there already), found from the current directory as well; or the name of a torchvision "
    "model, such as resnet18"
)

INIT = (
    "an argument for what makes the network, as in --init.width 64 --init.depth 3; values are read "
    "as YAML"
)


class _Formatter(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Descriptions as they are written."""


def parser_of(command: str, description: str) -> ArgumentParser:
    """A parser for a command, with what all of them take.

    Args:
        command: Its name.
        description: What stands above the list of its arguments, in lines of at most 80
            characters.
    """
    parser = ArgumentParser(
        prog=f"{PROGRAM} {command}",
        description=description,
        formatter_class=_Formatter,
        exit_on_error=True,
    )
    parser.add_argument(
        "--debug", action="store_true", help="let an error end in its whole traceback"
    )
    return parser


def add_module(parser: Any, name: str = "--module", *, required: bool) -> None:
    """Have a parser take a network."""
    parser.add_argument(name, type=str | None, default=None, required=required, help=MODULE)
    parser.add_argument("--init", type=dict[str, Any], default={}, help=INIT)


@contextmanager
def plain_warnings(command: str) -> Iterator[None]:
    """Warnings as sentences, without the line of code that they come from.

    Lightning, when it is imported, puts a format of its own in place: import it before.
    """
    before = warnings.formatwarning

    def sentence(message: Warning | str, *_: Any, **__: Any) -> str:
        return f"{PROGRAM} {command}: warning: {message}\n"

    warnings.formatwarning = sentence
    try:
        yield
    finally:
        warnings.formatwarning = before
