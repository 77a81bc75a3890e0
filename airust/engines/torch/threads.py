"""How many threads a step should use, found by trying.

More threads finish a large step sooner. A small step they only delay, and where another process
wants the same cores they delay it by much: all threads of an operation wait for the slowest, which
may have to wait for its core first. No rule knows beforehand, so both counts are timed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

TRIALS = 2  # of each count at first: the first step of a size also pays for its preparation
FIRST_RETRY = 32  # steps until the slower count gets another chance
LAST_RETRY = 4096  # each lost chance doubles the wait, up to this
SMOOTHING = 0.2  # weight of the newest time; a single step may have been interrupted


@dataclass(slots=True)
class _Size:
    """What is known about steps of one size."""

    seconds: dict[int, float] = field(default_factory=dict)  # by thread count
    trials: dict[int, int] = field(default_factory=dict)  # by thread count, up to TRIALS
    wait: int = FIRST_RETRY
    left: int = FIRST_RETRY  # steps until the next retry


class ThreadTuner:
    """Chooses between one thread and ``most``, separately for each size of step.

    >>> tuner = ThreadTuner(2)
    >>> for _ in range(4):
    ...     threads = tuner.choose(rows=16)
    ...     tuner.note(rows=16, threads=threads, seconds=1.0 / threads)
    >>> tuner.choose(rows=16)
    2
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._sizes: dict[int, _Size] = {}

    def choose(self, rows: int) -> int:
        """The number of threads for the next step of this many rows."""
        if self.most == 1:
            return 1
        size = self._sizes.setdefault(rows.bit_length(), _Size())
        for threads in (1, self.most):
            if size.trials.get(threads, 0) < TRIALS:
                return threads
        best = min(size.seconds, key=size.seconds.__getitem__)
        size.left -= 1
        return self.most + 1 - best if size.left <= 0 else best

    def note(self, rows: int, threads: int, seconds: float) -> None:
        """How long that step took."""
        size = self._sizes.setdefault(rows.bit_length(), _Size())
        before = size.seconds.get(threads, seconds)
        if (trials := size.trials.get(threads, 0)) < TRIALS:
            size.trials[threads] = trials + 1
            size.seconds[threads] = min(before, seconds)
            return
        best = min(size.seconds, key=size.seconds.__getitem__)
        retried = threads != best and size.left <= 0
        # A retry is rare, so it counts in full.
        size.seconds[threads] = seconds if retried else before + SMOOTHING * (seconds - before)
        if retried:
            won = min(size.seconds, key=size.seconds.__getitem__) == threads
            size.wait = FIRST_RETRY if won else min(2 * size.wait, LAST_RETRY)
            size.left = size.wait
