"""The page's modules: what makes one script of them possible, and that it is one."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from lightning_ablationcam.tensorboard_plugin.page import (
    CONTENT_TYPES,
    ENTRY,
    FOREIGN,
    MODULES,
    joined_modules,
    read_file,
)

# The only forms of them that joining knows.
IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+\.js)";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?:async )?(?:function|class|const|let) (\w+)", re.MULTILINE)
# Every statement of the top level stands at the left margin.
DEFINITION = re.compile(
    r"^(?:export )?(?:async )?(?:function\*? ?|class |const |let |var )(\W?\w+)", re.MULTILINE
)


FOREIGN_EXPORT = re.compile(r"export\{([^}]*)\};")


def code(name):
    """A module without its comments, line by line."""
    text = re.sub(r"/\*.*?\*/", "", read_file(name).decode(), flags=re.DOTALL)
    return re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)


def imports(name):
    """The modules that a module imports from, and the names that it takes from each."""
    return {
        module: [taken.strip() for taken in names.split(",") if taken.strip()]
        for names, module in IMPORT.findall(code(name))
    }


def exports(name):
    if name in FOREIGN:
        (listed,) = FOREIGN_EXPORT.findall(read_file(name).decode())
        return [part.split(" as ")[-1] for part in listed.split(",")]
    return EXPORT.findall(code(name))


def test_the_list_is_what_there_is():
    static = files("lightning_ablationcam.tensorboard_plugin") / "static"
    there = sorted(file.name for file in static.iterdir())
    types = [f"{name.removesuffix('.js')}.d.ts" for name in FOREIGN]
    assert sorted([*CONTENT_TYPES, *types]) == there, "only what no browser needs is not served"
    assert len(set(MODULES)) == len(MODULES)
    assert exports(ENTRY) == ["render"]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_its_idea_first(name):
    text = read_file(name).decode()
    assert re.match(r"/\*\*\n \* [A-Z].*?\.\n \*/\n", text, re.DOTALL), text[:80]


@pytest.mark.parametrize("name", MODULES)
def test_only_names_are_imported_and_exported(name):
    text = code(name)
    for word, form in (("import", IMPORT), ("export", EXPORT)):
        statements = re.findall(rf"^{word}\b.*$", text, re.MULTILINE)
        assert len(statements) == len(form.findall(text)), statements
    assert "import(" not in text, "a report has no file to import"
    for module, names in imports(name).items():
        assert names, f"nothing is taken from {module}"
        for taken in names:
            assert taken.isidentifier(), f"{taken!r}: a name stays what it is"
            assert taken in exports(module), f"{module} does not export {taken}"


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_one_way(name):
    before = [*FOREIGN, *MODULES[: MODULES.index(name)]]
    assert set(imports(name)) <= set(before), "list a module after those it imports from"


def test_no_name_is_defined_twice():
    defined = [(found, name) for name in MODULES for found in DEFINITION.findall(code(name))]
    twice = [(found, name) for found, name in defined if [n for n, _ in defined].count(found) > 1]
    assert twice == []
    # A pattern would hide its names from this test.
    assert [found for found, _ in defined if not found.isidentifier()] == []


def test_every_export_has_a_use():
    used = {taken for name in MODULES for names in imports(name).values() for taken in names}
    assert {found for name in MODULES for found in exports(name)} - used == {"render"} | TYPES


TYPES = {"Evolution", "Picture"}
"""Exported to be named in comments."""


def test_views_know_the_scene_and_the_verbs_alone():
    know = {name for name in MODULES if "./session.js" in read_file(name).decode()}
    assert know == {"page.js", "index.js"}, "a view acts through show, seek and play"


def test_joining_only_takes_imports_and_exports_away():
    joined = joined_modules()
    assert re.findall(r"^(?:import|export)\b.*$", joined, re.MULTILINE) == []
    ours = [found for name in MODULES for found in DEFINITION.findall(code(name))]
    assert DEFINITION.findall(joined)[-len(ours) :] == ours


@pytest.mark.parametrize("name", FOREIGN)
def test_a_module_of_others_keeps_its_names_and_its_licence(name):
    joined = joined_modules()
    body = FOREIGN_EXPORT.split(read_file(name).decode())[0]
    assert body in joined, "unchanged but for its exports"
    assert "sourceMappingURL" not in joined, "a report has no file beside it"
    before, _ = joined.split(body)
    licence = read_file(FOREIGN[name]).decode().strip()
    assert f"{licence}\n*/" in before
    # All in a function: at the top level there are the names that it exports, and no others.
    (taken,) = re.findall(r"^const \{ (.*) \} = \(\(\) => \{$", before, re.MULTILINE)
    assert set(taken.split(", ")) == set(exports(name)) - {"default"}
    assert not IMPORT.findall(read_file(name).decode())
