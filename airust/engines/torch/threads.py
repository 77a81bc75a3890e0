"""How a step should use the cores, found by trying.

More threads finish a large step sooner. A small step they only delay, and where another process
wants the same cores they delay it by much: all threads of an operation wait for the slowest, which
may have to wait for its core first. A step that only decodes can also be cut into parts
(``parts``), which is best for small models. No rule knows beforehand, so all ways are timed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

TRIALS = 2  # of each way at first: the first step of a size also pays for its preparation
LARGE = 64  # rows; all threads are tried first, as a single long prompt has no second trial
FIRST_RETRY = 32  # steps until a slower way gets another chance
LAST_RETRY = 4096  # each lost chance doubles the wait, up to this
SMOOTHING = 0.2  # weight of the newest time; a single step may have been interrupted


class Way(NamedTuple):
    """How a step is computed."""

    threads: int = 1  # of each operation
    parts: int = 1  # that its rows are cut into, each for a thread of its own


ALONE = Way()


@dataclass(slots=True)
class _Size:
    """What is known about steps of one size."""

    seconds: dict[Way, float] = field(default_factory=dict)
    trials: dict[Way, int] = field(default_factory=dict)  # up to TRIALS
    retries: int = 0
    wait: int = FIRST_RETRY
    left: int = FIRST_RETRY  # steps until the next retry

    def best(self) -> Way:
        return min(self.seconds, key=self.seconds.__getitem__)


class ThreadTuner:
    """Chooses a way of using up to ``most`` threads, separately for each size of step.

    >>> tuner = ThreadTuner(2)
    >>> for _ in range(4):
    ...     way = tuner.choose(rows=16)
    ...     tuner.note(16, way, seconds=1.0 / way.threads)
    >>> tuner.choose(rows=16)
    Way(threads=2, parts=1)
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._sizes: dict[tuple[int, bool], _Size] = {}

    def choose(self, rows: int, decodes: bool = False) -> Way:
        """The way for the next step of this many rows.

        Args:
            decodes: the step can be cut into parts.
        """
        if self.most == 1:
            return ALONE
        size = self._size(rows, decodes)
        ways = [ALONE, Way(threads=self.most)]
        if rows >= LARGE:
            ways.reverse()
        if decodes and rows > 1:
            ways.append(Way(parts=min(rows, self.most)))
        for way in ways:
            if size.trials.get(way, 0) < TRIALS:
                return way
        size.left -= 1
        best = size.best()
        if size.left > 0:
            return best
        slower = [way for way in ways if way != best]
        return slower[size.retries % len(slower)]

    def note(self, rows: int, way: Way, seconds: float, decodes: bool = False) -> None:
        """How long that step took."""
        size = self._size(rows, decodes)
        before = size.seconds.get(way, seconds)
        if (trials := size.trials.get(way, 0)) < TRIALS:
            size.trials[way] = trials + 1
            size.seconds[way] = min(before, seconds)
            return
        best = size.best()
        retried = way != best and size.left <= 0
        # A retry is rare, so it counts in full.
        size.seconds[way] = seconds if retried else before + SMOOTHING * (seconds - before)
        if retried:
            size.retries += 1
            won = size.best() == way
            size.wait = FIRST_RETRY if won else min(2 * size.wait, LAST_RETRY)
            size.left = size.wait

    def _size(self, rows: int, decodes: bool) -> _Size:
        return self._sizes.setdefault((rows.bit_length(), decodes), _Size())
