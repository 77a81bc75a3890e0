"""From launch records to estimates, ratios and shares of the ceilings."""

from __future__ import annotations

from typing import Any

import pytest

from airust.bench.metrics import attainable, metrics, shares, summary, withheld

CEILINGS = {
    "bandwidth": {"1000000": 100.0, "64000000": 10.0},  # GB/s
    "matmul_fp32": 200.0,  # GFLOP/s
    "matmul_bf16": 2000.0,
}


def _record(label: str, block: int, value: float | None, wrong: int = 0) -> dict[str, Any]:
    values = {} if value is None or wrong else {"decode_1": [value]}
    error = "crashed" if value is None else "1 wrong answers" if wrong else None
    return {
        "label": label,
        "block": block,
        "error": error,
        "checks": {"wrong": wrong},
        "values": values,
    }


def test_the_metrics_follow_the_streams() -> None:
    keys = [metric.key for metric in metrics((1, 16))]
    assert keys == [
        "ttft", "prefill", "decode_1", "decode_16", "memory", "load",
        "cpu_per_token_1", "cpu_per_token_16",
    ]  # fmt: skip
    assert "Decode rate, 1 stream" in {metric.title for metric in metrics((1,))}


def test_estimates_and_ratios() -> None:
    values = {"torch": (10.0, 12.0), "fast": (40.0, 48.0), "torch (A/A)": (10.5, 12.0)}
    launches = [_record(x, b, v) for x, both in values.items() for b, v in enumerate(both)]
    found = summary(launches, list(values), (1,), seed=0)["decode_1"]
    assert found["engines"]["torch"]["estimate"] == pytest.approx(120**0.5)
    assert found["aa_band"] == pytest.approx(1.05)
    assert set(found["ratios"]) == {"fast", "torch (A/A)"}
    assert found["ratios"]["fast"]["estimate"] == pytest.approx(4.0)
    assert found["ratios"]["fast"]["verdict"] == "higher"
    assert found["ratios"]["torch (A/A)"]["verdict"] == "no difference"


def test_a_crashed_launch_leaves_the_others() -> None:
    launches = [
        *(_record("torch", block, 10.0) for block in range(3)),
        *(_record("other", block, value) for block, value in enumerate((20.0, None, 20.0))),
    ]
    assert withheld(launches, "other") is None
    found = summary(launches, ["torch", "other"], (1,), seed=0)["decode_1"]
    assert found["engines"]["other"]["launches"] == 2
    assert found["ratios"]["other"]["launches"] == 2
    assert found["ratios"]["other"]["verdict"] == "not known"  # there was no A/A pair


def test_one_wrong_launch_takes_all_figures_away() -> None:
    launches = [
        _record("torch", 0, 10.0),
        _record("other", 0, 99.0),
        _record("other", 1, 99.0, wrong=1),
    ]
    assert withheld(launches, "other") == "1 wrong answers"
    found = summary(launches, ["torch", "other"], (1,), seed=0)["decode_1"]
    assert set(found["engines"]) == {"torch"}


def test_an_engine_that_always_crashes_has_no_figures() -> None:
    assert withheld([_record("other", 0, None)], "other") == "crashed"


def test_the_ceiling_is_memory_at_one_stream_and_arithmetic_at_many() -> None:
    """250,000 float32 weights are 1 MB, read at 100 GB/s: 100,000 tokens/s. 0.5 MFLOP a token at
    200 GFLOP/s: 400,000 tokens/s."""
    assert attainable(CEILINGS, 250_000, "float32", 1) == pytest.approx(1e5)
    assert attainable(CEILINGS, 250_000, "float32", 16) == pytest.approx(4e5)
    assert attainable(CEILINGS, 250_000, "bfloat16", 1) == pytest.approx(2e5)
    assert attainable(CEILINGS, 16_000_000, "float32", 1) == pytest.approx(10e9 / 64e6)


def test_shares() -> None:
    engines = {"torch": {"estimate": 5e4}, "quantised": {"estimate": 1.0}}
    entries = [{"label": "torch", "dtype": "float32"}, {"label": "quantised", "dtype": "Q4_K"}]
    found = {key: {"engines": engines} for key in ("prefill", "decode_1")}
    share = shares(found, entries, CEILINGS, 250_000, (1,))
    assert share["decode_1"] == {"torch": {"ceiling": pytest.approx(1e5), "share": 0.5}}
    assert share["prefill"]["torch"]["share"] == pytest.approx(5e4 / 4e5)
