"""What each figure shows, in words, for whoever cannot see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airust.bench.learning import scores
from airust.bench.metrics import metrics
from airust.bench.tables import number

Results = dict[str, Any]


def alt_text(view: Results, name: str) -> str:
    """The alternative text of the figure of this name about one model."""
    return ALT_TEXTS[name](view)


def _bars(*prefixes: str) -> Callable[[Results], str]:
    return lambda results: _describe_metrics(results, prefixes)


def _describe_metrics(results: Results, prefixes: tuple[str, ...]) -> str:
    parts = ["Bar chart with 95% intervals."]
    for metric in metrics(results["parameters"]["streams"]):
        engines = results["summary"][metric.key]["engines"]
        if metric.key.startswith(prefixes) and engines:
            values = ", ".join(
                f"{label} {number(value['estimate'] * metric.scale)}"
                for label, value in engines.items()
            )
            parts.append(f"{metric.title} in {metric.unit}: {values}.")
    return " ".join(parts)


def _parity(results: Results) -> str:
    engines = results["parity"]["engines"]
    parts = ", ".join(f"{entry['engine']} {number(entry['max_delta'])}" for entry in engines)
    return f"Largest distance of logprobs from the reference in nats: {parts}."


def _training(results: Results) -> str:
    found = results.get("training")
    if found is None:
        return "No training curve: the model folder has no metrics.jsonl."
    first, last = number(found["curve"][0][1]), number(found["curve"][-1][1])
    return f"Line chart: the loss goes from {first} to {last} in {found['steps']} steps."


def _exam(results: Results) -> str:
    rows = scores(results.get("evaluation") or {})
    parts = (f"{row['exam']} {row['language']} {100 * row['exact']:.1f}%" for row in rows)
    return f"Bar chart of exact match: {', '.join(parts) or 'there is no eval.json'}."


def _shares(results: Results) -> str:
    titles = {metric.key: metric.title for metric in metrics(results["parameters"]["streams"])}
    parts = (
        f"{titles[key]} {label} {100 * value['share']:.1f}%"
        for key, engines in results["shares"].items()
        for label, value in engines.items()
    )
    return f"Bar chart of rates as a share of the measured ceiling: {', '.join(parts)}."


def _overview(results: Results) -> str:
    return " ".join((_bars("decode_")(results), _training(results), _exam(results)))


ALT_TEXTS: dict[str, Callable[[Results], str]] = {
    "overview": _overview,
    "parity": _parity,
    "latency": _bars("ttft", "prefill"),
    "decode": _bars("decode_"),
    "memory": _bars("memory", "load"),
    "shares": _shares,
    "training": _training,
    "exam": _exam,
}
