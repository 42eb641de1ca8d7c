"""The pure parts of the page's modules, by node's own test runner: see tests/page."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lightning_ablationcam.tensorboard_plugin.page import FOREIGN, MODULES, read_file

HERE = Path(__file__).parent / "page"
NODE = shutil.which("node")
if NODE is None and os.environ.get("REQUIRE_NODE") == "1":
    raise RuntimeError("REQUIRE_NODE=1, but node is not installed")


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """The modules in a folder that says that they are such: a browser needs no telling."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "package.json").write_text('{"type": "module"}')
    for name in (*MODULES, *FOREIGN):
        (folder / name).write_bytes(read_file(name))
    return folder


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize("path", sorted(HERE.glob("*.test.mjs")), ids=lambda path: path.stem)
def test_units(path, modules):
    environment = {**os.environ, "PAGE_MODULES": f"{modules.as_uri()}/"}
    command = [NODE, "--test", "--test-reporter=tap", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n# pass 0" not in done.stdout, "a file without tests"
    assert "\n# skipped 0" in done.stdout
