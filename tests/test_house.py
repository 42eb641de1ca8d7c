"""The public names, the floors of the house and what importing costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import lightning_ablationcam
from tests.documents import sections_of

PACKAGE = Path(lightning_ablationcam.__file__).parent


def rooms_in_the_docstring():
    """Each room of the table in the package's docstring, from the ground up, with its floor."""
    rooms, floor, inside = {}, 0, False
    for line in lightning_ablationcam.__doc__.splitlines():
        if line.startswith("="):
            inside = not inside
        elif line.startswith("-"):
            floor += 1
        elif inside:
            rooms[line.split()[0]] = floor
    return rooms


FLOOR_OF = rooms_in_the_docstring()
ROOMS = list(FLOOR_OF)
TORCH_ONLY = [room for room, floor in FLOOR_OF.items() if floor <= FLOOR_OF["cam"]]
# What a room may import from outside; a room not listed may import anything.
ALLOWED = {
    **{room: {"torch", "numpy"} for room in TORCH_ONLY},
    "grouping": {"torch", "numpy", "sklearn"},
    "sanity": {"torch", "numpy"},
    # Above nothing of ours, and needed by results, which can be drawn.
    "render": {"anyascii", "numpy", "PIL", "cmap"},
    "records": {"numpy"},
    "tensorboard_plugin": {"grpc", "numpy", "tensorboard", "werkzeug"},
}
# What TensorBoard imports to find out which plugins there are: it must not fail.
LOADER = PACKAGE / "tensorboard_plugin" / "__init__.py"


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


def ours(path):
    """The modules of the package that a module imports, without the package's name."""
    for node in ast.walk(ast.parse(path.read_text())):
        for name in imported_by(node):
            top, _, inner = name.partition(".")
            if top == "lightning_ablationcam" and inner:
                names = [f"{inner}.{alias.name}" for alias in node.names]
                files = [PACKAGE / f"{name.replace('.', '/')}.py" for name in names]
                yield from (n if f.exists() else inner for n, f in zip(names, files, strict=True))


def name_of(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def test_every_room_is_in_the_table_and_every_line_is_a_room():
    assert {room(path) for path in modules()} == set(ROOMS)
    assert FLOOR_OF["callback"] == max(FLOOR_OF.values()) == 4


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    mine = room(path)
    for name in ours(path):
        other = name.split(".")[0]
        lower = ROOMS.index(other) < ROOMS.index(mine)
        assert lower or other == mine, f"{path.name} imports {name} from a floor above"
    for name in imported(path):
        top = name.split(".")[0]
        if top != "lightning_ablationcam" and top not in sys.stdlib_module_names:
            assert mine not in ALLOWED or top in ALLOWED[mine], f"{path.name} imports {name}"


def test_nothing_goes_in_circles():
    graph = {name_of(path): set(ours(path)) - {name_of(path)} for path in modules()}
    assert len(list(TopologicalSorter(graph).static_order())) >= len(graph)


def test_public_names():
    assert sorted(lightning_ablationcam.__all__) == [
        "AblationCAMMonitor",
        "AblationResult",
        "Alarm",
        "FaithfulnessResult",
        "InteractionResult",
        "ProbeSet",
        "SanityResult",
        "ablation_cam",
        "backfill",
        "faithfulness",
        "group_channels",
        "interaction",
        "sanity_check",
        "strongest_box",
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
    [
        "render",
        "measures.axis",
        "records.series",
        "outputs.pass_records",
        "report",
        "tensorboard_plugin.plugin",
    ],
)
def test_what_tensorboard_and_the_report_need_does_not_import_torch(module):
    code = f"import sys, lightning_ablationcam.{module}\n"
    code += "sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, check=False).returncode
        == 0
    )


def test_the_details_send_nobody_astray():
    table = sections_of(PACKAGE.parent / "examples" / "details.md")["Change it"]
    paths = re.findall(r"`([a-z_]+/[a-z_./]*)`", table)
    assert len(paths) >= 15
    assert [path for path in paths if not (PACKAGE / path).exists()] == []
