"""Steps that are done once and recorded, how long they took, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

from airust.bench.journal import Journal, Key, Record

GUESS_S = {
    "plan": 1.0,
    "ceilings": 4.0,
    "parity": 8.0,
    "quality": 8.0,
    "answers": 30.0,
    "tune": 8.0,
    "launch": 15.0,
    "agreement": 60.0,
}
LEAST_BLOCKS = 3  # fewer give intervals that say nothing
LAUNCH_PER_TRIAL = 2.5  # a timed launch takes so many times as long as one of the sweep, about


@dataclass(frozen=True, slots=True)
class Status:
    """How far a run is."""

    what: str  # is being done
    spent_s: float
    left_s: float


class Steps:
    """The steps of a run over its journal.

    Args:
        left: tells how many seconds the steps to come will take.
    """

    def __init__(
        self, journal: Journal, tell: Callable[[Status], None], left: Callable[[], float]
    ) -> None:
        self.journal, self.tell, self.left = journal, tell, left

    def once(self, key: Key, work: Callable[[], Record]) -> Record:
        """The record of a step that was done already, or else do it."""
        return self.journal.find(key) or self.do(key, work)

    def do(self, key: Key, work: Callable[[], Record]) -> Record:
        """Do a step and record what it gives, with its time."""
        what = ": ".join(str(part) for part in key[:3])
        self.tell(Status(what, self.spent(), self.left()))
        start = time.perf_counter()
        values = work()
        return self.journal.add(key, values | {"seconds": time.perf_counter() - start})

    def spent(self, kind: str | None = None) -> float:
        """Seconds of all recorded steps, or of those of one kind; earlier sessions count."""
        found = (x for x in self.journal.records if kind is None or x["key"][0] == kind)
        return float(sum(record.get("seconds", 0.0) for record in found))

    def expected(self, keys: Iterable[Key]) -> float:
        """Seconds that those of the keys will take that have no record yet."""
        todo = [key for key in keys if self.journal.find(key) is None]
        return seconds_for(todo, self.journal.records)


class Blocks:
    """The numbers of the blocks that a budget allows, and why there are no more of them.

    Args:
        keys: of the launches of a block, by its number.
    """

    def __init__(
        self, steps: Steps, count: int, budget_s: float, keys: Callable[[int], Iterable[Key]]
    ) -> None:
        self.steps, self.count, self.budget_s, self.keys = steps, count, budget_s, keys
        self.reason = "All launches were made."

    def __iter__(self) -> Iterator[int]:
        for block in range(self.count):
            cost = self.steps.expected(self.keys(block))
            if block >= LEAST_BLOCKS and self.steps.spent() + cost > self.budget_s:
                used_up = f"the budget of {self.budget_s:g} s was used up."
                self.reason = f"After {block} blocks {used_up}"
                return
            yield block


def seconds_for(keys: Iterable[Key], records: Sequence[Record]) -> float:
    """Seconds that steps will take. A key is [kind, model, engine, ...]; the nearest kin tells.

    >>> done = [{"key": ["tune", "tiny", "torch", 1], "seconds": 3.0}]
    >>> seconds_for([["tune", "tiny", "torch", 2], ["launch", "tiny", "torch", 0]], done)
    10.5
    """
    known: dict[tuple[str | int, ...], list[float]] = {}
    for record in records:
        for length in (1, 2, 3):
            known.setdefault(tuple(record["key"][:length]), []).append(record.get("seconds", 0.0))
    return sum(_expected(key, known) for key in keys)


def _expected(key: Key, known: dict[tuple[str | int, ...], list[float]]) -> float:
    kind, *about = key[:3]
    kin: list[tuple[float, tuple[str | int, ...]]] = [(1.0, (kind, *about))]
    if kind == "launch":
        kin.append((LAUNCH_PER_TRIAL, ("tune", *about)))
    kin += [(1.0, (kind, *about[:1])), (1.0, (kind,))]
    for factor, place in kin:
        if found := known.get(place):
            return factor * mean(found)
    return GUESS_S[str(kind)]
