"""Which exercises this learner has passed: a small file in the home folder.

``~/.airust/progress.json``, or the file that AIRUST_PROGRESS names. A file that cannot be written
is no reason to fail a right answer; a damaged one counts as empty and is written anew.
"""

from __future__ import annotations

import ast
import contextlib
import html
import json
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LESSON = re.compile(r"nb\d\d|r\d")
FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Lesson:
    """One notebook of the path."""

    id: str  # "nb04"
    title: str  # its question
    exercises: tuple[str, ...]  # "nb04.ex1", ...


def lessons() -> tuple[Lesson, ...]:
    """All lessons in the order of the path: nb00, nb01, ..., r1, ..."""
    names = sorted(path.stem for path in FOLDER.glob("*.py") if LESSON.fullmatch(path.stem))
    return tuple(map(_read, names))


def exercises(lesson: str) -> tuple[str, ...]:
    """The ids of a lesson's exercises in their order."""
    return _read(lesson).exercises


@cache
def _read(lesson: str) -> Lesson:
    # parsed, not imported: an overview should not load torch
    tree = ast.parse((FOLDER / f"{lesson}.py").read_text("utf-8"))
    names = [n.name for n in tree.body if isinstance(n, ast.FunctionDef)]
    found = tuple(f"{lesson}.{name}" for name in names if re.fullmatch(r"ex\d+", name))
    return Lesson(lesson, (ast.get_docstring(tree) or lesson).splitlines()[0], found)


def progress_file() -> Path:
    """Where it is kept."""
    named = os.environ.get("AIRUST_PROGRESS")
    return Path(named) if named else Path.home() / ".airust" / "progress.json"


def passed() -> frozenset[str]:
    """The ids of the exercises that have been passed."""
    try:
        ids = json.loads(progress_file().read_text("utf-8"))["passed"]
        return frozenset(name for name in ids if isinstance(name, str))
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def remember(exercise_id: str) -> None:
    """Note that an exercise has been passed."""
    before = passed()
    if exercise_id in before:
        return
    path = progress_file()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    text = json.dumps({"passed": sorted({*before, exercise_id})}, indent=2) + "\n"
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, "utf-8")
        temporary.replace(path)


@dataclass(frozen=True, slots=True)
class Overview:
    """Progress along the path; a table in a notebook, lines of text elsewhere."""

    lessons: tuple[Lesson, ...]
    passed: frozenset[str]

    def rows(self) -> list[tuple[str, str, int, int]]:
        """Id, title, passed and all exercises of each lesson."""
        return [
            (
                lesson.id,
                lesson.title,
                len(self.passed & set(lesson.exercises)),
                len(lesson.exercises),
            )
            for lesson in self.lessons
        ]

    @property
    def next(self) -> str | None:
        """The first exercise that is still open."""
        ids = (name for lesson in self.lessons for name in lesson.exercises)
        return next((name for name in ids if name not in self.passed), None)

    def _ahead(self) -> str:
        return f"Next: {self.next}" if self.next else "Everything is passed. 全部通过！"

    def __repr__(self) -> str:
        lines = [
            f"{name:5} {'●' * done}{'○' * (count - done):8} {title}"
            for name, title, done, count in self.rows()
        ]
        return "\n".join([*lines, self._ahead()])

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{name}</td><td style='text-align:left'>{html.escape(title)}</td>"
            f"<td style='text-align:left'>{'●' * done}{'○' * (count - done)}</td>"
            f"<td>{done}/{count}</td></tr>"
            for name, title, done, count in self.rows()
        )
        head = "<tr><th></th><th>question</th><th>exercises</th><th>passed</th></tr>"
        return f"<table>{head}{cells}</table><p><b>{self._ahead()}</b></p>"


def overview() -> Overview:
    """Progress so far."""
    return Overview(lessons(), passed())
