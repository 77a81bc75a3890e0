"""What does it take to let other people use your model?

Checks of notebook 17.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

from airust.lessons.checker import Wrong, close, require

CLIENTS, SERVED_A_SECOND, RETRY_AFTER_S = 300, 20.0, 1.0  # of the last exercise
LATEST_S, MOST_TRIES = 60.0, 4.0


def ex1(answer: Any) -> None:
    """An error budget in minutes."""
    close(answer, 43.2, 1e-6, "One thousandth of 30 days, in minutes.")


def ex2(answer: Any) -> None:
    """All branches of a tree."""

    def tree(*pairs: str) -> list[dict[str, Any]]:
        return [{"id": p[0], "parent_id": p[1] if len(p) > 1 else None} for p in pairs]

    cases: tuple[tuple[list[dict[str, Any]], list[list[str]]], ...] = (
        (tree("a"), [["a"]]),
        (tree("a", "ba", "cb"), [["a", "b", "c"]]),
        (tree("a", "ba", "ca", "db", "e", "fe"), [["a", "c"], ["a", "b", "d"], ["e", "f"]]),
        ([], []),
    )
    for messages, expected in cases:
        told = ", ".join(f"{m['id']} under {m['parent_id']}" for m in messages) or "no message"
        hint = f"Wrong for {told}: one path for each message that is nobody's parent."
        require([list(p) for p in answer(list(messages))] == expected, hint)


def ex3(answer: Any) -> None:
    """What of a conversation is left out."""
    from airust.serving.context import choose
    from airust.types import Message, Role

    q: Role = "user"
    a: Role = "assistant"
    long: list[tuple[Role, int]] = [(q, 10), (a, 30), (q, 5), (a, 60), (q, 7)]
    cases = (
        (long, 20, 1000), (long, 2, 1000), (long, 3, 1000), (long, 20, 100), (long, 20, 90),
        (long, 20, 1), ([(q, 500)], 20, 100), ([(a, 5), (q, 5)], 20, 100),
    )  # fmt: skip
    for turns, last, room in cases:
        branch = [Message(role, "x" * tokens) for role, tokens in turns]
        expected = choose(None, branch, last, room).left_out
        hint = f"Wrong for {turns}, at most {last} of them and room for {room} tokens."
        close(answer(list(turns), last, room), expected, 0, hint)


def ex4(answer: Any) -> None:
    """A counter that begins anew."""
    for values, expected in (
        ([5.0, 8.0, 9.0], 4.0), ([5.0, 8.0, 2.0, 6.0], 9.0), ([7.0, 0.0, 0.0, 3.0, 1.0], 4.0),
        ([4.0], 0.0), ([], 0.0),
    ):  # fmt: skip
        hint = f"Wrong for {values}: behind a fall the value itself has come since the reset."
        close(answer(list(values)), expected, 1e-9, hint)


def ex5(answer: Any) -> None:
    """The first minute of an alarm."""

    def burn(errors: list[int], requests: list[int], window: int, slo: float) -> float:
        asked = sum(requests[-window:])
        return sum(errors[-window:]) / asked / (1 - slo) if asked else 0.0

    rng = random.Random(17)
    cases = [
        ([100] * 100, [0] * 50 + [5] * 50, 0.999, 14.4, 60, 5),
        ([100] * 100, [0] * 100, 0.999, 14.4, 60, 5),
        ([100] * 90, [0] * 20 + [90] + [0] * 69, 0.999, 14.4, 60, 5),
        ([0] * 10 + [10] * 20, [0] * 15 + [10] * 15, 0.99, 10.0, 12, 3),
    ]
    for _ in range(20):
        requests = [rng.randint(0, 50) for _ in range(80)]
        errors = [sum(rng.random() < 0.05 for _ in range(n)) for n in requests]
        cases.append((requests, errors, 0.99, rng.uniform(3, 8), 30, 4))
    for requests, errors, slo, threshold, long, short in cases:
        expected = -1
        for m in range(1, len(requests) + 1):
            both = (burn(errors[:m], requests[:m], window, slo) for window in (long, short))
            if min(both) >= threshold:
                expected = m - 1
                break
        hint = "Both windows have to reach the threshold, and end with the minute itself."
        found = answer(list(requests), list(errors), slo, threshold, long, short)
        close(found, expected, 0, hint)


def ex6(answer: Any) -> None:
    """A bucket that is charged afterwards."""
    bucket = answer(10.0, 100.0)
    require(bool(bucket.may_start(0.0)), "It begins full.")
    bucket.charge(0.0, 150)
    require(not bucket.may_start(0.0), "150 of 100 tokens are spent: nothing is left.")
    close(bucket.wait(0.0), 5.0, 1e-6, "50 tokens are missing, and 10 come in a second.")
    require(not bucket.may_start(4.9), "After 4.9 s one token is still missing.")
    require(bool(bucket.may_start(5.1)), "After 5.1 s it is above zero again.")
    close(bucket.wait(5.1), 0.0, 1e-9, "There is nothing to wait for above zero.")
    bucket.charge(1000.0, 101)
    hint = "It never holds more than its size, however long nobody has asked."
    require(not bucket.may_start(1000.0), hint)
    other = answer(1.0, 5.0)
    require(bool(other.may_start(0.0)), "Two buckets should not share what they hold.")


def ex7(answer: Any) -> None:
    """Coming again without a stampede."""
    latest, tries = _stampede(answer)
    hint = f"all are served after {latest:.0f} s, with {tries:.1f} tries each on average"
    require(tries <= MOST_TRIES, f"That is too many: {hint}. Who waits longer after each refusal?")
    require(latest <= LATEST_S, f"That is too late: {hint}.")


def _stampede(delay: Callable[[int, float, float], Any]) -> tuple[float, float]:
    """When the last client is served, and the mean number of tries."""
    rng = random.Random(17)
    queue = [(0.0, client, 1) for client in range(CLIENTS)]  # when, who, which try
    level, at, tries, latest = SERVED_A_SECOND, 0.0, 0, 0.0
    while queue:
        now, client, attempt = heapq.heappop(queue)
        level, at = min(SERVED_A_SECOND, level + (now - at) * SERVED_A_SECOND), now
        tries += 1
        if level >= 1:
            level, latest = level - 1, now
            continue
        if tries > 30 * CLIENTS or now > 100 * LATEST_S:
            raise Wrong(
                "They come again and again, and some are never served: they all come at once."
            )
        wait = float(delay(attempt, RETRY_AFTER_S, rng.random()))
        require(wait >= RETRY_AFTER_S, f"{wait:.2f} s is sooner than the server has asked for.")
        heapq.heappush(queue, (now + wait, client, attempt + 1))
    return latest, tries / CLIENTS
