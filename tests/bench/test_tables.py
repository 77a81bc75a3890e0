"""Tables about one model."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from airust.bench import tables
from airust.bench.tables import number

Results = dict[str, Any]


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
    text = tables.training(changed) + tables.evaluation(changed)
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
