"""The files of the page: what the tab serves one by one, and a report holds joined into one."""

from __future__ import annotations

import re
from importlib.resources import files

MODULES = (
    "text.js",
    "numbers.js",
    "colors.js",
    "maps.js",
    "outlines.js",
    "data.js",
    "pictures.js",
    "scene.js",
    "fields.js",
    "alarms.js",
    "changes.js",
    "pins.js",
    "selection.js",
    "state.js",
    "host.js",
    "elements.js",
    "pin_button.js",
    "change_list.js",
    "charts.js",
    "curve_groups.js",
    "likeliest.js",
    "role_switch.js",
    "facts.js",
    "legend.js",
    "transport.js",
    "panes.js",
    "figure.js",
    "strip.js",
    "gallery.js",
    "large_view.js",
    "share.js",
    "panel.js",
    "session.js",
    "page.js",
    "index.js",
)
"""The page's modules. Each imports from those before it only, and none defines a name twice."""

ENTRY = MODULES[-1]
"""The module that exports ``render``."""

STYLE = "style.css"

CONTENT_TYPES = {**dict.fromkeys(MODULES, "text/javascript"), STYLE: "text/css"}
"""Every file of the page and what it is."""

_IMPORT = re.compile(r"^import \{[^}]*\} from \"\./\w+\.js\";\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(async )?(function|class|const|let) )", re.MULTILINE)


def read_file(name: str) -> bytes:
    """The content of a file of the page.

    Args:
        name: One of :data:`CONTENT_TYPES`.
    """
    return (files(__package__) / "static" / name).read_bytes()


def joined_modules() -> str:
    """All modules as one, for a page that has no server to import them from."""
    return "\n".join(_without_imports(read_file(name).decode()) for name in MODULES)


def _without_imports(module: str) -> str:
    return _EXPORT.sub("", _IMPORT.sub("", module))
