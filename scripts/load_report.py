"""Judge what ``load_table.py`` has measured so far: results.json, summary.md and a figure.

    python scripts/load_report.py reports/serving-2026-11-28

A launch is the unit: intervals are those of ``airust.bench.statistics``, over the rounds in which
both sides were launched. Nothing is measured here, so it can be run again at any time.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from airust.bench.plot_style import BLUE, GREY, colour, new_figure, tidy, title, value_label
from airust.bench.statistics import Interval, ratio, student_t, summarise

OWN, ENGINE = "airust", "engine"
NAMES = {
    OWN: "airust serve",
    "transformers": "transformers serve",
    "transformers-cb": "transformers serve --continuous-batching",
    "llamacpp": "llama_cpp.server",
}
LEAST_SHARE, MOST_ADDED_MS, MOST_IDLE = 0.85, 1.0, 0.01
LEAST_RATIO = {"transformers": 3.0, "transformers-cb": 3.0, "llamacpp": 1.5}
RIVAL_STREAMS = 32
Figure = Callable[[dict[str, Any]], float]


@dataclass(frozen=True)
class Row:
    """A figure, and the bound that it should keep."""

    what: str
    figure: Interval
    unit: str
    bound: str = ""
    kept: bool | None = None


class Records:
    """The launches, by label and round."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._by_label: dict[str, dict[int, dict[str, Any]]] = {}
        for record in map(json.loads, lines):
            self._by_label.setdefault(record["label"], {})[record["round"]] = record

    @property
    def labels(self) -> list[str]:
        """What was launched, in the order of NAMES."""
        return [label for label in NAMES if label in self._by_label]

    def values(self, label: str, figure: Figure, of: set[int]) -> list[list[float]]:
        """One value a launch, in the order of the rounds."""
        found = self._by_label[label]
        return [[figure(found[number])] for number in sorted(of)]

    def rounds(self, *labels: str) -> set[int]:
        """Those in which all were launched."""
        return set.intersection(*(set(self._by_label.get(label, {})) for label in labels))

    def ratio(self, above: str, below: str, figure: Figure) -> Interval | None:
        """Of two labels, paired by round."""
        both = self.rounds(above, below)
        if not both:
            return None
        return ratio(self.values(above, figure, both), self.values(below, figure, both))

    def one(self, label: str, figure: Figure) -> Interval | None:
        """Of one label."""
        rounds = self.rounds(label)
        return summarise(self.values(label, figure, rounds)) if rounds else None


def at(streams: int, name: str) -> Figure:
    """A figure of the run at so many streams."""

    def find(record: dict[str, Any]) -> float:
        return float(next(run[name] for run in record["runs"] if run["streams"] == streams))

    return find


def added_ms(records: Records) -> Interval | None:
    """Milliseconds a token that HTTP adds at one stream: a mean of differences, Student's t."""
    both = records.rounds(OWN, ENGINE)
    if not both:
        return None
    rate = at(1, "tokens_per_s")
    pairs = zip(records.values(OWN, rate, both), records.values(ENGINE, rate, both), strict=True)
    values = [1000 / served[0] - 1000 / alone[0] for served, alone in pairs]
    mean, count = sum(values) / len(values), len(values)
    if count < 2:
        return Interval(mean, None, None, count)
    error = math.sqrt(sum((v - mean) ** 2 for v in values) / (count - 1) / count)
    width = student_t(count - 1) * error
    return Interval(mean, mean - width, mean + width, count)


def judge(records: Records) -> list[Row]:
    """Every row of the table that the records allow."""
    rows: list[Row] = []

    def add(what: str, figure: Interval | None, unit: str, least: float | None = None,
            most: float | None = None) -> None:  # fmt: skip
        if figure is None:
            return
        bound = "" if least is None else f">= {least:g}"
        bound = bound if most is None else f"< {most:g}"
        kept = None
        if least is not None:
            kept = figure.estimate >= least
        if most is not None:
            kept = figure.estimate < most
        rows.append(Row(what, figure, unit, bound, kept))

    for streams in (1, 16, 64):
        rate = at(streams, "tokens_per_s")
        add(f"engine alone, {streams} streams", records.one(ENGINE, rate), "tokens/s")
        add(f"airust serve, {streams} streams", records.one(OWN, rate), "tokens/s")
        least = LEAST_SHARE if streams == 64 else None
        share = records.ratio(OWN, ENGINE, rate)
        add(f"share of the engine's own, {streams} streams", share, "", least)
    add("added a token at 1 stream", added_ms(records), "ms", most=MOST_ADDED_MS)
    idle = records.one(OWN, lambda record: max(record["idle_cpu_share"], 1e-6))
    add("idle, share of one core", idle, "", most=MOST_IDLE)
    for streams in (1, 16, 64):
        for name in ("p50", "p99"):
            ttft = records.one(OWN, at(streams, f"ttft_{name}_ms"))
            add(f"airust serve, TTFT {name}, {streams} streams", ttft, "ms")
    rate, p99 = at(RIVAL_STREAMS, "tokens_per_s"), at(RIVAL_STREAMS, "ttft_p99_ms")
    for label in records.labels:
        add(f"{NAMES[label]}, {RIVAL_STREAMS} streams", records.one(label, rate), "tokens/s")
        add(f"{NAMES[label]}, TTFT p99, {RIVAL_STREAMS} streams", records.one(label, p99), "ms")
        if label != OWN:
            times = records.ratio(OWN, label, rate)
            add(f"airust serve over {NAMES[label]}, throughput", times, "x", LEAST_RATIO[label])
            wait = records.ratio(OWN, label, p99)
            add(f"airust serve over {NAMES[label]}, TTFT p99", wait, "x", most=1.0)
    return rows


def table(rows: Sequence[Row]) -> str:
    """As Markdown.

    >>> print(table([Row("share", Interval(0.9, 0.85, 0.95, 5), "", ">= 0.85", True)]))
    | | estimate | 95% interval | launches | wanted |
    |---|---|---|---|---|
    | share | 0.9 | 0.85 - 0.95 | 5 | >= 0.85: kept |
    """
    lines = ["| | estimate | 95% interval | launches | wanted |", "|---|---|---|---|---|"]
    for row in rows:
        figure = row.figure
        wide = (
            "one launch" if figure.low is None else f"{_short(figure.low)} - {_short(figure.high)}"
        )
        wanted = row.bound and f"{row.bound}: {'kept' if row.kept else 'NOT kept'}"
        estimate = f"{_short(figure.estimate)} {row.unit}".strip()
        lines.append(f"| {row.what} | {estimate} | {wide} | {figure.launches} | {wanted} |")
    return "\n".join(lines)


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def draw(records: Records, out: Path) -> str:
    """The figure; returns the same in words."""
    figure = new_figure(3.2)
    left, right = figure.subplots(1, 2)
    words = []
    rate = at(RIVAL_STREAMS, "tokens_per_s")
    labels = records.labels[::-1]
    for place, label in enumerate(labels):
        found = records.one(label, rate)
        assert found is not None
        left.barh(place, found.estimate, color=BLUE if label == OWN else colour(label))
        value_label(left, _short(found.estimate), found.estimate, place)
        words.append(f"{NAMES[label]} {_short(found.estimate)} tokens/s")
    left.set_yticks(range(len(labels)), [NAMES[label] for label in labels], fontsize=8)
    left.set_xlabel("tokens/s")
    title(left, f"{RIVAL_STREAMS} streams, same weights, same client")
    tidy(left, "x")
    shares = []
    for place, streams in enumerate((1, 16, 64)):
        share = records.ratio(OWN, ENGINE, at(streams, "tokens_per_s"))
        if share is not None:
            low, high = share.low or share.estimate, share.high or share.estimate
            error = [[share.estimate - low], [high - share.estimate]]
            right.bar(place, share.estimate, color=BLUE, width=0.5, yerr=error, ecolor=GREY)
            shares.append(f"{share.estimate:.0%} at {streams}")
    right.axhline(LEAST_SHARE, color=GREY, linewidth=1, linestyle="--")
    right.set_xticks(range(3), ["1", "16", "64"])
    right.set_xlabel("streams")
    right.set_ylabel("share of the engine's own rate")
    title(right, "What HTTP leaves of the engine's rate")
    tidy(right, "y")
    figure.savefig(out)
    text = f"At {RIVAL_STREAMS} streams: " + ", ".join(words[::-1]) + "."
    return text + (f" Through HTTP remains {', '.join(shares)} streams." if shares else "")


def main() -> None:
    """Write the report into the folder of the records."""
    folder = Path(sys.argv[1])
    records = Records((folder / "raw.jsonl").read_text().splitlines())
    about = json.loads((folder / "about.json").read_text())
    rows = judge(records)
    alt = draw(records, folder / "throughput.png")
    results = {"about": about, "alt_text": alt, "rows": [asdict(row) for row in rows]}
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    host, seconds = about["host"], about["seconds"]
    text = f"""# Serving under load

{about["model"]}, answers of {about["tokens"]} tokens, greedy, end-of-turn token taken out, every
question another one; measurements of {seconds:g} s, everything launched anew in each round and in
another order. Client and server share the machine: {host["cpu"]}, {host["cores_usable"]} cores.
"Wanted" compares the estimate; the interval says how sure it is. Made by `scripts/load_table.py`.

{table(rows)}

![{alt}](throughput.png)
"""
    (folder / "summary.md").write_text(text)


if __name__ == "__main__":
    main()
