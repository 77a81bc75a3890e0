"""How many threads an engine should use here: a short sweep, because no rule knows.

Each engine is launched with its own default and with 1, 2, 4, ... threads, and decodes and
prefills for a few seconds. A count is chosen over the default where the geometric mean of the
rates is at least 3% higher; less than that is chance. What met other work on the machine
(``contention``) is tried again while the stated budget lasts, up to three times in all; the first
round is always finished.

Not threads alone: an engine that advances 16 requests at a time by default could not show what
it does with 64. Every engine gets room for the largest number of streams, and reserves memory for
no longer context than the longest request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from airust.bench.contention import reasons, usual_times
from airust.bench.runner import Entry
from airust.engines.registry import parse_spec, write_spec

OUTLINE_STREAMS = 16  # a sweep looks at no more streams at once
WORTHWHILE = 1.03  # times the default's rate
ROUNDS = 3  # at most
Launch = Mapping[str, Any]
Threads = int | None  # None: whatever the engine does by itself


@dataclass(frozen=True, slots=True)
class Knobs:
    """An engine's options that say how much of the machine it may use, where it has them."""

    threads: str | None = None  # that compute; engines without follow the environment variables
    room: str | None = None  # requests that advance at the same time
    context: str | None = None  # tokens reserved for each of them


KNOBS = {
    "torch": Knobs("threads", room="max_batch"),
    "transformers": Knobs("threads"),
    "mistralrs": Knobs("threads", room="max_seqs"),
    "llamacpp": Knobs("threads", room="max_batch", context="context"),
    "candle": Knobs("threads", room="workers"),
}


def fitted(entry: Entry, streams: int, context: int) -> Entry:
    """The entry with room for so many requests of so many tokens; its own options win."""
    if entry.serve is not None:
        name, options = parse_spec(entry.serve)
        behind = fitted(Entry(name, name, options), streams, context)
        return replace(entry, serve=write_spec(name, behind.options))
    knobs = KNOBS.get(entry.engine, Knobs())
    sizes = {knobs.room: streams, knobs.context: context}
    wanted = {option: size for option, size in sizes.items() if option is not None}
    return replace(entry, options=wanted | entry.options)


def with_threads(entry: Entry, threads: Threads) -> Entry:
    """The entry with a number of threads, by option and by environment variable.

    >>> with_threads(Entry("llamacpp", "llamacpp"), 2).options
    {'threads': 2}
    """
    option = KNOBS.get(entry.engine, Knobs()).threads
    if threads is None or option is None:
        return replace(entry, pool=threads)
    return replace(entry, pool=threads, options=entry.options | {option: threads})


def candidates(entry: Entry, cores: int) -> list[Threads]:
    """The default and powers of two up to all cores; nothing else where a count was given.

    >>> candidates(Entry("torch", "torch"), 6)
    [None, 1, 2, 4, 6]
    """
    if KNOBS.get(entry.engine, Knobs()).threads in entry.options:
        return [None]
    counts = [1 << power for power in range(cores.bit_length()) if 1 << power < cores]
    return [None, *counts, cores]


def quiet_launches(sweep: Sequence[Launch]) -> list[Launch]:
    """The launches of a sweep, of all engines together, that met no other work."""
    if not sweep:
        return []
    usual = usual_times([times for launch in sweep for times in launch["calibration"]])
    return [launch for launch in sweep if not reasons(launch, usual)]


def judge(launches: Sequence[Launch], quiet: Sequence[Launch]) -> dict[str, Any]:
    """What the sweep of one engine found: the chosen count, and each one's rates and score.

    Args:
        launches: records of launches with the count as ``candidate``; several of one are rounds.
        quiet: those that met no other work. They decide where every count has one, or else all.
    """
    counts = sorted({launch["candidate"] for launch in launches}, key=lambda n: n or 0)
    undisturbed = [launch for launch in launches if launch in quiet]
    missing = set(counts) - {launch["candidate"] for launch in undisturbed}
    used = launches if missing else undisturbed
    rates = {count: _rates(used, count) for count in counts}
    worked = [count for count in counts if rates[count]]
    shared = [key for key in _keys(rates) if all(key in rates[count] for count in worked)]
    scores = {count: _score(rates[count], rates[worked[0]], shared) for count in worked}
    best = max(worked, key=lambda count: scores[count], default=None)
    if worked and worked[0] is None and best is not None and scores[best] < WORTHWHILE:
        best = None
    return {
        "threads": best,
        "candidates": [
            {
                "threads": count,
                "score": scores.get(count),
                "rates": rates[count],
                "contended": count in missing,
                "error": next((x["error"] for x in launches if _failed(x, count)), None),
            }
            for count in counts
        ],
    }


def _failed(launch: Launch, count: Threads) -> bool:
    return launch["candidate"] == count and bool(launch["error"])


def _rates(launches: Sequence[Launch], count: Threads) -> dict[str, float]:
    """Metric -> median over the rounds; empty where a round failed."""
    rounds = [launch for launch in launches if launch["candidate"] == count]
    if any(launch["error"] for launch in rounds):
        return {}
    found: dict[str, list[float]] = {}
    for launch in rounds:
        for key, values in launch["values"].items():
            if key.startswith(("prefill", "decode_")):
                found.setdefault(key, []).append(median(values))
    return {key: median(values) for key, values in found.items()}


def _keys(rates: Mapping[Threads, Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(key for found in rates.values() for key in found))


def _score(rates: Mapping[str, float], base: Mapping[str, float], keys: Sequence[str]) -> float:
    """Geometric mean of the rates against the first count that worked."""
    logs = [math.log(rates[key] / base[key]) for key in keys]
    return math.exp(sum(logs) / len(logs)) if logs else 1.0
