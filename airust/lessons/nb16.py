"""How many people can one model serve at the same time, and who waits?

Checks of notebook 16.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from airust.lessons.checker import Wrong, close, require

STEP_S, ROW_S, PROMPT_S = 14e-3, 0.5e-3, 0.1e-3  # the simulated machine of the notebook
SLOTS, PATIENCE_S = 8, 1.0
REQUESTS, OVERLOAD = 400, 1.6
ENOUGH = 0.5  # of all requests have to be good


def ex1(answer: Any) -> None:
    """Little's law."""
    close(answer, 30, 1e-9, "L = λ W.")


def ex2(answer: Any) -> None:
    """A stream by hand."""
    stream = [
        ": keep-alive",
        "",
        'data: {"choices": [{"delta": {"role": "assistant"}}]}',
        "",
        'data:{"choices": [{"delta": {"content": "data: "}}]}',
        "",
        'data: {"choices": [{"delta": {"content": "水, "}}]}',
        "",
        'data: {"choices": [{"delta": {"content": null}, "finish_reason": "stop"}]}',
        "",
        'data: {"choices": [], "usage": {"completion_tokens": 2}}',
        "",
        "data: [DONE]",
        "",
    ]
    hint = "Take the lines that begin with 'data:', without the mark and the spaces around it."
    require(answer(list(stream)) == "data: 水, ", hint)
    broken = [*stream[:7], "", 'data: {"error": {"message": "The engine failed."}}', ""]
    try:
        answer(list(broken))
    except RuntimeError as error:
        hint = "The exception should carry the server's own message."
        require(str(error) == "The engine failed.", hint)
    else:
        raise Wrong("A stream that ends with an error was taken for a whole answer.")


def ex3(answer: Any) -> None:
    """The rate for a mean wait."""
    for service_s, wait_s in ((1.0, 0.5), (0.2, 1.0), (3.0, 0.1)):
        expected = 2 * wait_s / (service_s * (service_s + 2 * wait_s))
        hint = "With a constant S the formula is λ S² / (2 (1 - λ S)): set it to the wait, solve."
        close(float(answer(service_s, wait_s)) / expected, 1, 1e-6, hint)


def ex4(answer: Any) -> None:
    """Times from when requests were due."""
    for took_s, every_s in (([0.5, 0.5], 1.0), ([0.1, 10.0, 0.1, 0.1], 1.0), ([3.0] * 4, 2.0)):
        expected, end = [], 0.0
        for number, took in enumerate(took_s):
            due = number * every_s
            end = max(end, due) + took
            expected.append(end - due)
        found = [float(value) for value in answer(list(took_s), every_s)]
        require(len(found) == len(expected), "One time for each request is expected.")
        hint = f"Wrong for answers of {took_s} s and one request every {every_s} s."
        close(max(abs(a - b) for a, b in zip(found, expected, strict=True)), 0, 1e-9, hint)


def ex5(answer: Any) -> None:
    """A quantile from buckets."""
    buckets = [(0.1, 10.0), (0.5, 30.0), (1.0, 40.0), (math.inf, 40.0)]
    for q, expected in ((0.25, 0.1), (0.5, 0.3), (0.75, 0.5), (0.125, 0.05), (1.0, 1.0)):
        hint = f"Wrong for the quantile {q} of counts 10, 20, 10, 0 up to 0.1, 0.5, 1 and infinity."
        close(answer(q, list(buckets)), expected, 1e-9, hint)
    hint = "Above the last finite bound nothing is known; answer with that bound."
    close(answer(0.99, [(1.0, 1.0), (math.inf, 100.0)]), 1.0, 1e-9, hint)


def ex6(answer: Any) -> None:
    """Slots for a promise."""
    for alpha, beta, tpot_s in ((0.014, 0.0005, 0.05), (0.01, 0.003, 0.0205), (0.002, 0.001, 0.01)):
        n = math.floor((tpot_s - alpha) / beta + 1e-9)
        slots, rate = answer(alpha, beta, tpot_s)
        hint = f"Wrong for α = {alpha}, β = {beta}: the largest n with α + β n of at most {tpot_s}."
        close(slots, n, 0, hint)
        close(rate, n / (alpha + beta * n), 1e-6, "Every sequence gets one token a step.")


def ex7(answer: Any) -> None:
    """Who goes next when not everybody can."""
    found = good_share(answer)
    hint = "whom does it no longer help to serve, and who takes little?"
    require(
        found >= ENOUGH,
        f"{found:.0%} of the requests are good, {ENOUGH:.0%} are asked "
        f"({good_share(lambda waiting, now: 0):.0%} first come first served): {hint}",
    )


def good_share(choose: Callable[[list[tuple[float, int, int]], float], Any]) -> float:
    """The share of requests whose first token comes in time, on an overloaded machine.

    Raises:
        Wrong: the policy names somebody who does not wait.
    """
    jobs = _overload()
    waiting: list[tuple[float, int, int]] = []
    running: list[int] = []  # tokens that are still to come
    now, good = 0.0, 0
    while jobs or waiting or running:
        if not running and not waiting:
            now = max(now, jobs[0][0])
        while jobs and jobs[0][0] <= now:
            waiting.append(jobs.pop(0))
        decoding, prompts = len(running), 0
        joined: list[tuple[float, int, int]] = []
        while waiting and len(running) + len(joined) < SLOTS:
            index = int(choose(list(waiting), now))
            if index == -1:
                break
            if not 0 <= index < len(waiting):
                raise Wrong(f"{index} is no place in a list of {len(waiting)} who wait.")
            joined.append(waiting.pop(index))
            prompts += joined[-1][1]
        if not running and not joined:  # nobody was wanted: the clock goes to the next arrival
            if not jobs:
                break
            now = jobs[0][0]
            continue
        now += STEP_S + ROW_S * decoding + PROMPT_S * prompts
        good += sum(now - arrival <= PATIENCE_S for arrival, _, _ in joined)
        left = [*running, *(new for _, _, new in joined)]
        running = [tokens - 1 for tokens in left if tokens > 1]
    return good / REQUESTS


def _overload() -> list[tuple[float, int, int]]:
    """Requests (arrival, prompt, new) that come faster than they can be served."""
    rng, mean_new, mean_prompt = random.Random(16), 60, 200
    step_s = STEP_S + ROW_S * SLOTS
    rate = OVERLOAD * SLOTS / (mean_new * step_s + SLOTS * mean_prompt * PROMPT_S)
    now, jobs = 0.0, []
    for _ in range(REQUESTS):
        now += rng.expovariate(rate)
        jobs.append((now, rng.randint(50, 350), 1 + int(rng.expovariate(1 / mean_new))))
    return jobs
