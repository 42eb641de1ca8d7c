"""The files of the page: what the tab serves one by one, and a report holds joined into one."""

from __future__ import annotations

import re
from importlib.resources import files

MODULES = (
    "text.js",
    "numbers.js",
    "colors.js",
    "maps.js",
    "contours.js",
    "looks.js",
    "outlines.js",
    "steps.js",
    "names.js",
    "data.js",
    "roles.js",
    "run_list.js",
    "pictures.js",
    "scene.js",
    "differences.js",
    "cells.js",
    "fields.js",
    "alarms.js",
    "changes.js",
    "pins.js",
    "selection.js",
    "table.js",
    "state.js",
    "host.js",
    "keys_at_once.js",
    "elements.js",
    "series_list.js",
    "toasts.js",
    "pin_button.js",
    "change_list.js",
    "thinning.js",
    "charts.js",
    "curve_groups.js",
    "likeliest.js",
    "role_switch.js",
    "facts.js",
    "legend.js",
    "transport.js",
    "panes.js",
    "zoom.js",
    "figure.js",
    "wipe.js",
    "looks_bar.js",
    "stage.js",
    "strip.js",
    "gallery.js",
    "run_grid.js",
    "large_view.js",
    "poster.js",
    "animation.js",
    "take_away.js",
    "share.js",
    "further_runs.js",
    "panel.js",
    "session.js",
    "page.js",
    "index.js",
)
"""The page's modules. Each imports from those before it only, and none defines a name twice."""

FOREIGN = {"gifenc.js": "gifenc.LICENSE.md"}
"""Modules of others, unchanged, and their licences. They import nothing."""

ENTRY = MODULES[-1]
"""The module that exports ``render``."""

STYLE = "style.css"

CONTENT_TYPES = {
    **dict.fromkeys((*MODULES, *FOREIGN), "text/javascript"),
    **dict.fromkeys(FOREIGN.values(), "text/plain"),
    STYLE: "text/css",
}
"""Every file of the page and what it is."""

_IMPORT = re.compile(r"^import \{[^}]*\} from \"\./\w+\.js\";\n", re.MULTILINE)
_FOREIGN_EXPORT = re.compile(r"export\{([^}]*)\};?\s*(?://# sourceMappingURL=.*\s*)?\Z")
_EXPORT = re.compile(r"^export (?=(async )?(function|class|const|let) )", re.MULTILINE)


def read_file(name: str) -> bytes:
    """The content of a file of the page.

    Args:
        name: One of :data:`CONTENT_TYPES`.
    """
    return (files(__package__) / "static" / name).read_bytes()


def joined_modules() -> str:
    """All modules as one, for a page that has no server to import them from."""
    foreign = [_enclosed(name, licence) for name, licence in FOREIGN.items()]
    ours = [_without_imports(read_file(name).decode()) for name in MODULES]
    return "\n".join([*foreign, *ours])


def _enclosed(name: str, licence: str) -> str:
    """A module of others behind its licence, in a function, where its names meet none of ours."""
    text, terms = read_file(name).decode(), read_file(licence).decode().strip()
    (exports,) = _FOREIGN_EXPORT.findall(text)
    pairs = [part.split(" as ") for part in exports.split(",")]
    # Of two names the first is its own; a default is of no use to ours.
    named = {outer: inner for inner, outer in pairs if outer != "default"}
    returned = ", ".join(f"{outer}: {inner}" for outer, inner in named.items())
    body = _FOREIGN_EXPORT.sub("", text)
    return (
        f"/*\n{name}\n\n{terms}\n*/\n"
        f"const {{ {', '.join(named)} }} = (() => {{\n{body}\nreturn {{ {returned} }};\n}})();\n"
    )


def _without_imports(module: str) -> str:
    return _EXPORT.sub("", _IMPORT.sub("", module))
