"""The command line: ``python -m lightning_ablationcam``, the same as ``lightning-ablationcam``."""

from __future__ import annotations

import sys

from lightning_ablationcam.cli import main

if __name__ == "__main__":
    sys.exit(main())
