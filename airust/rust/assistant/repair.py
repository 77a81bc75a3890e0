"""Repair one group of errors at a time.

A group begins with one error. The model is asked for a few changes; each is tried, and the one that
leaves the fewest errors is taken. Repairing one error may uncover others: the errors that were not
there when the group began are the group now. It is done when it is empty. It is given up, and the
sources set back to where it began, when the model makes no progress or the limits are reached.
At the end the sources have no more errors than at the start, whatever the model said.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Literal

from airust.engines.base import Engine
from airust.rust.assistant.changelog import RejectedError, apply_edits, parse_changelog
from airust.rust.assistant.errors import ErrorKey, by_key
from airust.rust.assistant.project import Project
from airust.rust.assistant.prompt import AROUND, repair_messages
from airust.rust.diagnostics import Diagnostic
from airust.types import ContextOverflowError, Request, SamplingParams

Errors = dict[ErrorKey, Diagnostic]
Files = dict[str, str]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is tried. Temperature and lengths as in the paper."""

    completions: int = 5  # answers that are asked for and tried each time
    temperature: float = 0.2
    max_tokens: int = 800  # of an answer
    steps: int = 10  # changes within one group
    seen_errors: int = 100  # different errors within one group
    seed: int | None = None  # of the first answer; the following ones count on


@dataclass(frozen=True, slots=True)
class Step:
    """What happened to one question to the model."""

    error: ErrorKey
    tried: int  # answers
    rejected: tuple[str, ...]  # why some could not be applied
    errors_left: int | None  # after the best one; None where none could be applied
    state: Literal["goes on", "repaired", "given up"]  # of the group
    because: str = ""  # why it was given up
    description: str = ""  # the model's words


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the sources."""

    before: tuple[ErrorKey, ...]
    after: tuple[ErrorKey, ...]
    files: Files  # the sources as they should be; the original ones if nothing got better
    questions: int  # answers that were asked for

    @property
    def repaired(self) -> bool:
        """Whether no error is left."""
        return not self.after


def repair(
    project: Project, engine: Engine, limits: Limits | None = None
) -> Generator[Step, None, Outcome]:
    """Work on a project; the generator's value is the outcome.

    Raises:
        EngineError: the engine failed.
        AirustError: the compiler failed.
    """
    work = _Work(project, engine, limits or Limits())
    before = by_key(project.check())
    current, given_up = before, set[ErrorKey]()
    # Every round repairs an error or gives one up. A repaired one cannot come back unnoticed: it
    # would be new, and a group with new errors is not done.
    for _ in range(len(before)):
        todo = [key for key in current if key not in given_up]
        if not todo:
            break
        repaired, current = yield from work.group(todo[0], current)
        if not repaired:
            given_up.add(todo[0])
    better = len(current) < len(before)
    files = project.read() if better else project.original
    return Outcome(tuple(before), tuple(current), files, work.questions)


@dataclass(frozen=True, slots=True)
class _Candidate:
    files: Files
    errors: Errors
    count: int  # of all errors, also those that are the same
    description: str


class _Work:
    """The steps of a repair, and how many answers they took."""

    def __init__(self, project: Project, engine: Engine, limits: Limits) -> None:
        self.questions = 0
        self._project = project
        self._engine = engine
        self._limits = limits

    def group(self, first: ErrorKey, initial: Errors) -> Generator[Step, None, tuple[bool, Errors]]:
        """Repair one error and what its repair uncovers, or set everything back."""
        snapshot = self._project.read()
        others = set(initial) - {first}
        group: Errors = {first: initial[first]}
        seen = {first}
        for number in range(1, self._limits.steps + 1):
            target, asked = next(iter(group)), self.questions
            best, rejected = self._best_answer(group[target])
            new = {} if best is None else {k: e for k, e in best.errors.items() if k not in others}
            seen |= set(new)
            because = self._why_give_up(best, group, new, seen, number)
            done = best is not None and not new
            state: Literal["goes on", "repaired", "given up"] = (
                "given up" if because else "repaired" if done else "goes on"
            )
            left = None if best is None else best.count
            words = best.description if best else ""
            tried = self.questions - asked
            yield Step(target, tried, tuple(rejected), left, state, because, words)
            if because or best is None:
                break
            self._project.write(best.files)
            if done:
                return True, best.errors
            group = new
        self._project.write(snapshot)
        return False, initial

    def _why_give_up(
        self, best: _Candidate | None, group: Errors, new: Errors, seen: set[ErrorKey], number: int
    ) -> str:
        if best is None:
            return "no answer could be applied"
        if not new:
            return ""
        if set(new) == set(group):
            return "the best answer leaves the same errors"
        if len(seen) > self._limits.seen_errors:
            return f"more than {self._limits.seen_errors} different errors"
        return f"not done after {number} changes" if number == self._limits.steps else ""

    def _best_answer(self, error: Diagnostic) -> tuple[_Candidate | None, list[str]]:
        """The change that leaves the fewest errors, and why other answers were turned down."""
        files = self._project.read()
        best: _Candidate | None = None
        rejected: list[str] = []
        tried: set[tuple[tuple[str, str], ...]] = set()
        for answer in self._answers(error, files):
            try:
                edits = parse_changelog(answer)
                changed = apply_edits(files, edits)
            except RejectedError as reason:
                rejected.append(str(reason))
                continue
            if (same := tuple(sorted(changed.items()))) in tried:
                continue
            tried.add(same)
            self._project.write(changed)
            errors = self._project.check()
            if best is None or len(errors) < best.count:
                words = "; ".join(dict.fromkeys(e.description for e in edits if e.description))
                best = _Candidate(changed, by_key(errors), len(errors), words)
            if best.count == 0:
                break
        self._project.write(files)
        return best, rejected

    def _answers(self, error: Diagnostic, files: Files) -> Iterator[str]:
        limits = self._limits
        for number in range(limits.completions):
            seed = None if limits.seed is None else limits.seed + self.questions
            self.questions += 1
            params = SamplingParams(
                max_tokens=limits.max_tokens, temperature=limits.temperature, seed=seed
            )
            yield self._ask(error, files, params)
            if limits.temperature == 0 and number == 0:
                return  # greedy answers are all the same

    def _ask(self, error: Diagnostic, files: Files, params: SamplingParams) -> str:
        """Ask with as much code around the error as the engine's context has room for."""
        around = AROUND
        while True:
            messages = repair_messages(error, files, self._project.shown_command, around)
            try:
                return self._engine.generate(Request(messages=messages, params=params)).text
            except ContextOverflowError:
                if around == 0:
                    raise
                around //= 2
