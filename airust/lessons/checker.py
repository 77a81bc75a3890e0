"""``airust.check("nb04.ex1", answer)``: is an answer to an exercise right?

The line that it prints says what is missing, never what the answer is:

>>> check("nb00.ex1", ...)
○ nb00.ex1  not answered yet
>>> check("nb00.ex1", "Boreas")
✗ nb00.ex1  Look again at the table of places: one of them is the folder of the model.

What has been passed is remembered on this machine (``progress.py``); ``check.show()`` shows it.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import FunctionType
from typing import Any, Literal

from airust.lessons import progress
from airust.types import UserError

State = Literal["passed", "wrong", "unanswered"]
MARKS: dict[State, str] = {"passed": "✓", "wrong": "✗", "unanswered": "○"}


class Wrong(Exception):
    """The answer is not right yet; the message is a hint, in one sentence."""


class _Unanswered(Exception):
    """The stub has not been filled in."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one answer."""

    exercise_id: str
    state: State
    hint: str = ""

    def __str__(self) -> str:
        return f"{MARKS[self.state]} {self.exercise_id}  {self.hint}".rstrip()


def judge(exercise_id: str, answer: object) -> Verdict:
    """Run an exercise's check on an answer; whatever the answer does, no exception comes out.

    Raises:
        UserError: there is no such exercise.
    """
    test = _find(exercise_id)
    if answer is None or answer is ...:
        return Verdict(exercise_id, "unanswered", "not answered yet")
    try:
        test(_watched(answer))
    except Wrong as wrong:
        return Verdict(exercise_id, "wrong", str(wrong))
    except _Unanswered:
        return Verdict(exercise_id, "unanswered", "not answered yet: your function returns None")
    except Exception as error:  # the learner's code, or an answer of a kind that cannot be compared
        reason = (str(error).splitlines() or [""])[0][:200]
        text = f"{type(error).__name__}: {reason}".rstrip(": ")
        return Verdict(exercise_id, "wrong", f"Checking your answer raised {text}")
    return Verdict(exercise_id, "passed")


class _Check:
    """The function that notebooks call as ``airust.check``."""

    def __call__(self, exercise_id: str, answer: object) -> None:
        """Print one line about an answer, and remember it if it is right.

        Raises:
            UserError: there is no such exercise.
        """
        verdict = judge(exercise_id, answer)
        if verdict.state == "passed":
            progress.remember(exercise_id)
        print(verdict)

    def show(self) -> progress.Overview:
        """Which exercises have been passed on this machine, and what comes next."""
        return progress.overview()


check = _Check()


def _find(exercise_id: str) -> Callable[[Any], None]:
    lesson, _, name = exercise_id.partition(".")
    known = lesson.isidentifier() and progress.LESSON.fullmatch(lesson)
    module = f"airust.lessons.{lesson}"
    if not known or find_spec(module) is None:
        raise UserError(f"There is no lesson '{lesson}'; an exercise is named like nb04.ex1.")
    test = getattr(import_module(module), name, None) if name.startswith("ex") else None
    if test is None:
        found = ", ".join(progress.exercises(lesson))
        raise UserError(f"There is no exercise '{exercise_id}'; this lesson has {found}.")
    function: Callable[[Any], None] = test
    return function


def _watched(answer: object) -> object:
    """A function that says so when it returns None, as a stub does."""
    if not isinstance(answer, FunctionType):
        return answer

    @functools.wraps(answer)
    def call(*args: Any, **kwargs: Any) -> Any:
        value = answer(*args, **kwargs)
        if value is None or value is ...:
            raise _Unanswered
        return value

    return call


def digest(exercise_id: str, answer: object) -> str:
    """A word or number as a hash, so that the source of a check does not give it away.

    >>> digest("nb00.ex1", " Paris ") == digest("nb00.ex1", "paris")
    True
    """
    text = f"{exercise_id}:{' '.join(str(answer).split()).casefold()}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def require(condition: object, hint: str) -> None:
    """Raise ``Wrong`` with this hint unless the condition holds."""
    if not condition:
        raise Wrong(hint)


def close(found: object, expected: float, tolerance: float, hint: str) -> None:
    """Raise ``Wrong`` unless ``found`` is a number within ``tolerance`` of the expected one."""
    try:
        distance = abs(float(found) - expected)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise Wrong(f"A number is expected here, not {type(found).__name__}. {hint}") from None
    require(distance <= tolerance, hint)  # false for nan, too
