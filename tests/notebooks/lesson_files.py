"""The notebooks of the learning path as the tests read them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from scripts import notebooks as script

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "notebooks"
SOLUTIONS = FOLDER / "solutions"


NOTEBOOKS: list[Path] = script.lessons()


@cache
def cells(path: Path) -> list[Any]:
    return script.read(path).cells


def lesson_id(path: Path) -> str:
    """04-....ipynb is nb04, R1-....ipynb is r1."""
    number = path.name.split("-")[0]
    return f"nb{number}" if number.isdigit() else number.lower()


def tags(cell: Any) -> list[str]:
    return cell.metadata.get("tags", [])


def prose(path: Path) -> str:
    return "\n\n".join(c.source for c in cells(path) if c.cell_type == "markdown")


def exercise_of(cell: Any) -> str:
    """The id in a cell's call of airust.check."""
    return re.search(r'airust\.check\(\s*"([^"]+)"', cell.source)[1]


def solutions(path: Path) -> dict[str, str]:
    """Exercise id -> code; a solution begins with the line `# %% nb04.ex1`."""
    text = (SOLUTIONS / f"{lesson_id(path)}.py").read_text("utf-8")
    parts = re.split(r"^# %% (\S+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))
