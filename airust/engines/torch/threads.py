"""How many threads a step should use, found by trying.

More threads finish a large step sooner. A small step they only delay, and where another process
wants the same cores they delay it by much: all threads of an operation wait for the slowest, which
may have to wait for its core first. No rule knows beforehand, so both one and all are timed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

TRIALS = 2  # of one and of all at first: the first step of a size also pays for its preparation
LARGE = 64  # rows; all threads are tried first, as a single long prompt has no second trial
FIRST_RETRY = 32  # steps until the slower number gets another chance
LAST_RETRY = 4096  # each lost chance doubles the wait, up to this
SMOOTHING = 0.2  # weight of the newest time; a single step may have been interrupted


@dataclass(slots=True)
class _Size:
    """What is known about steps of one size."""

    seconds: dict[int, float] = field(default_factory=dict)  # by number of threads
    trials: dict[int, int] = field(default_factory=dict)  # up to TRIALS
    wait: int = FIRST_RETRY
    left: int = FIRST_RETRY  # steps until the next retry

    def best(self) -> int:
        return min(self.seconds, key=self.seconds.__getitem__)


class ThreadTuner:
    """Chooses between one thread and ``most``, separately for each size of step.

    >>> tuner = ThreadTuner(2)
    >>> for _ in range(4):
    ...     threads = tuner.choose(rows=16)
    ...     tuner.note(16, threads, seconds=1.0 / threads)
    >>> tuner.choose(rows=16)
    2
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._sizes: dict[tuple[int, bool], _Size] = {}

    def choose(self, rows: int, decodes: bool = False) -> int:
        """How many threads the next step of this many rows should use.

        Args:
            decodes: it is another kind of step, with times of its own.
        """
        if self.most == 1:
            return 1
        size = self._size(rows, decodes)
        numbers = (self.most, 1) if rows >= LARGE else (1, self.most)
        for threads in numbers:
            if size.trials.get(threads, 0) < TRIALS:
                return threads
        size.left -= 1
        best = size.best()
        return best if size.left > 0 else self.most + 1 - best

    def note(self, rows: int, threads: int, seconds: float, decodes: bool = False) -> None:
        """How long that step took."""
        size = self._size(rows, decodes)
        before = size.seconds.get(threads, seconds)
        if (trials := size.trials.get(threads, 0)) < TRIALS:
            size.trials[threads] = trials + 1
            size.seconds[threads] = min(before, seconds)
            return
        retried = threads != size.best() and size.left <= 0
        # A retry is rare, so it counts in full.
        size.seconds[threads] = seconds if retried else before + SMOOTHING * (seconds - before)
        if retried:
            won = size.best() == threads
            size.wait = FIRST_RETRY if won else min(2 * size.wait, LAST_RETRY)
            size.left = size.wait

    def _size(self, rows: int, decodes: bool) -> _Size:
        return self._sizes.setdefault((rows.bit_length(), decodes), _Size())
