"""The public names, the floors of the house and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_ablationcam

PACKAGE = Path(lightning_ablationcam.__file__).parent
# From the bottom up: a module may import from its own floor and those below.
FLOORS = [
    {
        "arguments",
        "scores",
        "weights",
        "heatmaps",
        "ablations",
        "measures",
        "head",
        "files",
        "selection",
    },
    {"layers", "module_state", "isolation", "engine", "auto_layer", "options", "result", "cam"},
    {"render", "records", "series"},
    {
        "samples",
        "loader_state",
        "probes",
        "capture",
        "probe_source",
        "silence",
        "run",
        "drawing",
        "recording",
    },
    {"outputs", "tensorboard_plugin", "report"},
    {
        "callback",
        "animations",
    },
]
ALLOWED = {
    "render": {"anyascii", "numpy", "PIL", "cmap"},
    "records": {"numpy"},
    "series": set(),
    "tensorboard_plugin": {"tensorboard", "werkzeug", "numpy"},
}
# What TensorBoard imports to find out which plugins there are: it must not fail.
LOADER = PACKAGE / "tensorboard_plugin" / "__init__.py"
TORCH_ONLY = FLOORS[0] | FLOORS[1] | FLOORS[2]


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        yield from imported_by(node)


def imported_by(node):
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"relative import of {node.module}"
        yield node.module


def floor_of(name):
    return next(index for index, rooms in enumerate(FLOORS) if name in rooms)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    mine = floor_of(room(path))
    for name in imported(path):
        top, *rest = name.split(".")
        if top == "lightning_ablationcam":
            assert floor_of(rest[0]) <= mine, f"{path.name} imports {name} from a floor above"
        elif top not in sys.stdlib_module_names:
            allowed = ALLOWED.get(room(path)) or (
                {"torch", "numpy"} if room(path) in TORCH_ONLY else None
            )
            assert allowed is None or top in allowed, f"{path.name} imports {name}"


def test_public_names():
    assert lightning_ablationcam.__all__ == [
        "AblationCAMMonitor",
        "AblationResult",
        "ProbeSet",
        "ablation_cam",
        "write_animations",
        "write_report",
    ]
    for name in lightning_ablationcam.__all__:
        assert getattr(lightning_ablationcam, name).__name__ == name
        assert name in dir(lightning_ablationcam)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lightning_ablationcam.nothing  # noqa: B018


def test_the_loader_imports_nothing_of_ours_when_it_is_imported():
    nodes = ast.parse(LOADER.read_text()).body
    top = [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {name for node in top for name in imported_by(node)}
    tops = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)
    assert tops <= {"tensorboard", "werkzeug"}, names


@pytest.mark.parametrize(
    "module",
    ["render", "records", "series", "recording", "report", "tensorboard_plugin.plugin"],
)
def test_what_tensorboard_and_the_report_need_does_not_import_torch(module):
    code = f"import sys, lightning_ablationcam.{module}\n"
    code += "sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, check=False).returncode
        == 0
    )
