"""The report's words come from results.json, number for number."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from airust.bench import tables
from airust.bench.metrics import metrics
from airust.bench.tables import number, percent

Results = dict[str, Any]


def test_the_words_are_a_function_of_the_file(results: Results) -> None:
    assert tables.summary(json.loads(json.dumps(results))) == tables.summary(results)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield key
            yield from _leaves(child)
    elif isinstance(value, list | tuple):
        yield len(value)
        for child in value:
            yield from _leaves(child)
    else:
        yield value


def _shown(results: Results) -> set[str]:
    """Every number of results.json in every form in which a table may show it."""
    scales = {1.0, 1e3, 1e-6, 1e-9, *(metric.scale for metric in metrics([1]))}
    texts = set()
    for leaf in _leaves(results):
        if isinstance(leaf, str):
            texts.update(_numbers(leaf))
        elif isinstance(leaf, int | float) and not isinstance(leaf, bool):
            texts.update((f"{leaf:,}", f"{leaf:g}", f"{leaf:.3f}", percent(leaf).strip("%")))
            texts.update(number(leaf * scale) for scale in scales)
    return texts


def _numbers(text: str) -> list[str]:
    return re.findall(r"(?<![\w.])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e-?\d+)?(?!\d|\.\d)", text)


def test_every_number_of_the_summary_is_in_the_results(results: Results) -> None:
    derived = {
        str(results["parameters"]["threads"]),
        str(len(results["parity"]["engines"])),
        str(sum(e["passed"] for e in results["parity"]["engines"])),
    }
    for row in tables.scores(results["evaluation"]):
        derived.add(percent(row["majority"]).strip("%"))
    allowed = _shown(results) | derived | {"95", "256"}  # "95% interval", "SHA-256"
    text = tables.summary(results)
    missing = [found for found in _numbers(text) if found not in allowed]
    assert missing == []
    assert len(_numbers(text)) > 200


def test_a_changed_result_changes_the_words(results: Results) -> None:
    changed = deepcopy(results)
    changed["summary"]["decode_4"]["engines"]["torch"]["estimate"] = 4321.0
    before, after = tables.summary(results), tables.summary(changed)
    assert "4,321" in after and "4,321" not in before


def test_parity_stands_before_every_timing(results: Results) -> None:
    text = tables.summary(results)
    assert text.index("## Parity") < text.index("**Time to first token**")


def test_the_control_never_wins(results: Results) -> None:
    changed = deepcopy(results)
    changed["summary"]["decode_1"]["engines"]["torch (A/A)"]["estimate"] = 1e6
    assert "(A/A)" not in tables.headline(changed)


def test_better_and_worse_follow_the_metric(results: Results) -> None:
    rows = tables.metric_table(results, "ttft").splitlines()
    row = next(row for row in rows if row.startswith("| transformers"))
    assert row.endswith("| worse |")  # its time is higher
    rows = tables.metric_table(results, "prefill").splitlines()
    row = next(row for row in rows if row.startswith("| transformers"))
    assert "| worse |" in row  # its rate is lower


def test_an_engine_without_figures_says_why(results: Results) -> None:
    changed = deepcopy(results)
    changed["entries"][1]["reason"] = "parity failed: A logprob differs by 3."
    text = tables.not_timed(changed)
    assert "| transformers | parity failed: A logprob differs by 3. |" in text
    assert "| candle | not installed; `make candle` |" in text


def test_failed_parity_and_ties_are_told(results: Results) -> None:
    changed = deepcopy(results)
    engines = changed["parity"]["engines"]
    engines[0]["divergence"] = {"prompt": 3, "position": 17, "margin": 1.2e-7}
    engines[1] |= {"passed": False, "status": "failed", "reason": "2 of 25 greedy answers differ."}
    text = tables.parity(changed)
    assert "**torch** first leaves the reference at a tie: prompt 3, token 17" in text
    assert "| **failed** |" in text and "**transformers**: 2 of 25 greedy answers differ." in text


def test_other_runs_stand_beside_the_model(results: Results) -> None:
    assert tables.comparison(results) == ""
    own = results["evaluation"]
    scores = {part: {"en": {"n": 640, "exact": 0.125}} for part in own["scores"]}
    training = {"stages": "two-stage", "steps": 900, "tokens": 1_800_000, "seconds": 250.4}
    other = own | {"scores": scores, "training": training, "data_sha256": "00" * 32}
    compared = [{"name": "tiny-two-stage", "evaluation": other}]
    text = tables.comparison(results | {"compared": compared})
    name = results["model"]["name"]
    assert f"| exact match in | language | {name} | tiny-two-stage |" in text
    assert "| 12.5% |" in text and "| – |" in text  # it was not examined in Chinese
    assert "- tiny-two-stage: stages two-stage, 900 steps, 1,800,000 tokens, 250 s" in text
    assert "other training data" in text
    twin = tables.comparison(results | {"compared": [{"name": name, "evaluation": other}]})
    assert f"| {name} | {name} |" in twin  # neither hides the other
    assert "| 12.5% |" in twin and f"{own['scores']['held_out']['en']['exact']:.1%}" in twin


@pytest.mark.parametrize("key", ["training", "evaluation"])
def test_what_is_missing_is_said(results: Results, key: str) -> None:
    changed = results | {key: None}
    text = tables.summary(changed)
    assert {"training": "no metrics.jsonl", "evaluation": "no eval.json"}[key] in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (0, "0"), (0.5, "0.500"), (99.94, "99.9"), (1234.5, "1,234"),
        (3e-7, "3.0e-07"), (float("nan"), "nan"), (-12.34, "-12.3"),
    ],
)  # fmt: skip
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


def test_an_interval_that_says_nothing_is_not_printed(results: Results) -> None:
    changed = deepcopy(results)
    changed["summary"]["ttft"]["engines"]["torch"] |= {"low": 1e-9, "high": 1e9}
    assert "wider than 1000x" in tables.metric_table(changed, "ttft")
