"""What stands in the documents: code, tables, links."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "examples").glob("*.md"))]


def sections_of(document: Path) -> dict[str, str]:
    """The text below each heading of any depth, by the heading; code is no heading."""
    text = re.sub(
        r"```.*?```",
        lambda code: code[0].replace("\n#", "\n\0"),
        document.read_text(),
        flags=re.DOTALL,
    )
    parts = re.split(r"^#+ (.*)\n", text, flags=re.MULTILINE)
    return {
        name: body.replace("\0", "#") for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def blocks_in(text: str, language: str) -> list[str]:
    """The code of a language in a text."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def blocks_of(document: Path, language: str) -> list[str]:
    """The same in a document."""
    return blocks_in(document.read_text(), language)


def rows_of(text: str) -> list[list[str]]:
    """The cells of the rows of a table, without its heading."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def anchor(heading: str) -> str:
    """What a heading is linked by."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
