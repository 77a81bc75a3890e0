"""What this learner has passed: a small file in the home folder, and the way ahead from there.

``~/.airust/progress.json``, or the file that AIRUST_PROGRESS names, holds the exercises that have
been passed and the best points of each assignment. A file that cannot be written is no reason to
fail a right answer; a damaged one counts as empty and is written anew.
"""

from __future__ import annotations

import ast
import contextlib
import html
import json
import os
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from airust.files import write_json
from airust.lessons.stations import needs
from airust.types import UserError

LESSON = re.compile(r"nb\d\d|r\d")
FOLDER = Path(__file__).parent
ENOUGH = 0.5  # the share of a lesson's exercises behind which the next ones are open


@dataclass(frozen=True, slots=True)
class Lesson:
    """One notebook of the path."""

    id: str  # "nb04"
    title: str  # its question
    exercises: tuple[str, ...]  # "nb04.ex1", ...

    @property
    def number(self) -> str:
        """As in its file's name: "04", "R1"."""
        return self.id.removeprefix("nb").upper()


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
    return _load()[0]


def points() -> dict[str, int]:
    """The best points of each assignment that has been graded here: {"rust/w01-basics": 80}."""
    return _load()[1]


def remember(exercise_id: str) -> None:
    """Note that an exercise has been passed."""
    done, best = _load()
    if exercise_id not in done:
        _save(done | {exercise_id}, best)


def remember_points(assignment: str, reached: int) -> None:
    """Note the points of an assignment, if there have not been more before."""
    done, best = _load()
    if reached > best.get(assignment, -1):
        _save(done, best | {assignment: reached})


def _load() -> tuple[frozenset[str], dict[str, int]]:
    try:
        stored = json.loads(progress_file().read_text("utf-8"))
        done = frozenset(name for name in stored["passed"] if isinstance(name, str))
        best = stored.get("points", {}).items()
        return done, {name: n for name, n in best if isinstance(n, int)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return frozenset(), {}


def _save(done: frozenset[str], best: Mapping[str, int]) -> None:
    stored = {"passed": sorted(done), "points": dict(sorted(best.items()))}
    with contextlib.suppress(UserError):  # without it the check itself is as good
        write_json(progress_file(), stored)


@dataclass(frozen=True, slots=True)
class Overview:
    """Progress along the path; a table with links in a notebook, lines of text elsewhere."""

    lessons: tuple[Lesson, ...]
    passed: frozenset[str]
    points: Mapping[str, int] = field(default_factory=dict)  # of assignments, best ones

    def rows(self) -> list[tuple[str, str, int, int]]:
        """Id, title, passed and all exercises of each lesson."""
        return [
            (lesson.id, lesson.title, self._done(lesson), len(lesson.exercises))
            for lesson in self.lessons
        ]

    @property
    def next(self) -> str | None:
        """The exercise to go on with: the first open one of a lesson that is open."""
        return next((name for lesson in self.open for name in self._left(lesson)), None)

    @property
    def open(self) -> tuple[Lesson, ...]:
        """Lessons to go on with: not finished, and half of what each of them needs is passed.

        Those that have been begun come first.
        """
        known = {lesson.number: lesson for lesson in self.lessons}
        found = [
            lesson
            for lesson in self.lessons
            if self._left(lesson)
            and all(self._enough(known[number]) for number in _needed(lesson.number, known))
        ]
        return tuple(sorted(found, key=lambda lesson: not self._done(lesson)))

    def _done(self, lesson: Lesson) -> int:
        return len(self.passed & set(lesson.exercises))

    def _left(self, lesson: Lesson) -> list[str]:
        return [name for name in lesson.exercises if name not in self.passed]

    def _enough(self, lesson: Lesson) -> bool:
        return self._done(lesson) >= ENOUGH * len(lesson.exercises)

    def _ahead(self) -> str:
        if not self.next:
            return "Everything is passed. 全部通过！"
        others = ", ".join(lesson.number for lesson in self.open)
        return f"Next: {self.next}. Open now (现在可学): {others}"

    def _mark(self, lesson: Lesson) -> str:
        if not self._left(lesson):
            return "✓"
        return "→" if lesson in self.open else " "

    def __repr__(self) -> str:
        lines = [
            f"{self._mark(lesson)} {lesson.id:5} {_dots(done, count):8} {title}"
            for lesson, (_, title, done, count) in zip(self.lessons, self.rows(), strict=True)
        ]
        graded = [f"  {name}: {best} of 100 points" for name, best in self.points.items()]
        return "\n".join([*lines, *graded, self._ahead()])

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{self._mark(lesson)}</td><td>{_link(lesson)}</td>"
            f"<td style='text-align:left'>{html.escape(title)}</td>"
            f"<td style='text-align:left'>{_dots(done, count)}</td><td>{done}/{count}</td></tr>"
            for lesson, (_, title, done, count) in zip(self.lessons, self.rows(), strict=True)
        )
        head = "<tr><th></th><th></th><th>question</th><th>exercises</th><th>passed</th></tr>"
        graded = "".join(
            f"<tr><td style='text-align:left'>{html.escape(name)}</td><td>{best} of 100</td></tr>"
            for name, best in self.points.items()
        )
        courses = f"<table><tr><th>assignment</th><th>points</th></tr>{graded}</table>"
        share = len(self.passed & {e for lesson in self.lessons for e in lesson.exercises})
        total = sum(len(lesson.exercises) for lesson in self.lessons)
        return (
            f"<p>{share} of {total} exercises; "
            f"✓ finished, → open now</p><table>{head}{cells}</table>"
            f"{courses if graded else ''}<p><b>{self._ahead()}</b></p>"
        )


def _needed(number: str, known: Container[str]) -> Iterator[str]:
    """What a notebook needs, of those that are there; behind one that is not, what that needs."""
    for first in needs(number):
        yield from (first,) if first in known else _needed(first, known)


def _dots(done: int, count: int) -> str:
    return "●" * done + "○" * (count - done)


def _link(lesson: Lesson) -> str:
    """To the notebook, where it lies in the current folder, as it does for a notebook's kernel."""
    found = next(Path.cwd().glob(f"{lesson.number}-*.ipynb"), None)
    return f"<a href='{found.name}'>{lesson.number}</a>" if found else lesson.number


def overview() -> Overview:
    """Progress so far."""
    done, best = _load()
    return Overview(lessons(), done, best)
