"""Timed training: a whole run, and made-up records with known answers."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from airust.bench import train_bench
from airust.bench.compare import compare
from airust.bench.journal import read_records
from airust.bench.plots_train import scaling as scaling_figure
from airust.bench.plots_train import scaling_alt
from airust.bench.train_bench import TrainBench
from airust.bench.train_plan import TrainPlan
from airust.bench.train_results import build_results
from airust.bench.train_tables import scaling, summary_page
from airust.types import UserError

SCHEMA = Path(train_bench.__file__).parent / "schemas" / "train.json"
Records = list[dict[str, Any]]


def valid(results: dict[str, Any]) -> None:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    errors = Draft202012Validator(schema).iter_errors(json.loads(json.dumps(results)))
    assert not [f"{error.json_path}: {error.message}" for error in errors]


def test_a_run_from_start_to_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = TrainPlan(str(out), ("smoke",), threads=(1,), steps=6, launches=1)
    results = TrainBench(plan).run()
    valid(results)
    assert json.loads((out / "results.json").read_text("utf-8")) == build_results(
        read_records(out / "raw.jsonl")
    )
    (found,) = results["presets"]
    assert [entry["reason"] for entry in found["entries"]] == [None, None]  # and the A/A twin
    assert found["losses"][-1] < found["losses"][0] and len(found["losses"]) == 6
    assert set(found["summary"]) == {"rate", "step", "share", "memory", "start"}
    assert found["entries"][0]["final_loss"] == pytest.approx(found["entries"][1]["final_loss"])
    assert TrainBench(plan, resume=True).run()["presets"] == results["presets"]


def make_records(launches: int = 3) -> Records:
    """Two threads are 1.6 times as fast as one; the first two steps of a launch warm up."""
    plan = TrainPlan("reports/x", ("tiny",), threads=(1,), steps=10, launches=launches)
    settings = [
        {"label": "1 thread", "threads": 1, "precision": "auto"},
        {"label": "2 threads", "threads": 2, "precision": "auto"},
        {"label": "1 thread (A/A)", "threads": 1, "precision": "auto"},
    ]
    host = {
        "cpu": "A processor", "cores_usable": 2, "cores_physical": 1, "memory_bytes": 24 * 10**9,
        "os": "Linux 6", "python": "3.11.9",
    }  # fmt: skip
    quiet = {"compute_s": 0.005, "memory_s": 0.006, "load_average": 1.0}
    parameters = {name: getattr(plan, name) for name in plan.__slots__}
    records: Records = [
        {
            "key": ["plan"], "created": "2026-01-02T03:04:05+00:00", "command": "airust bench",
            "parameters": parameters, "host": host, "versions": {"torch": "2.13.0"},
            "settings": settings, "learning": None, "seconds": 1.0,
        }
    ]  # fmt: skip
    for block in range(launches):
        for place, setting in enumerate(settings):
            step = (0.1 if setting["threads"] == 2 else 0.16) * (1 + 0.01 * ((block + place) % 3))
            seconds = [5 * step, 2 * step, *([step] * 8)]
            records.append(
                {
                    "key": ["launch", "tiny", setting["label"], block], "label": setting["label"],
                    "block": block, "error": None, "load_s": 2.0, "parameters": 2_000_000,
                    "dtype": "bfloat16", "flops_per_token": 1.2e7, "ceiling_flops": 4e11,
                    "tokens_a_step": 2048, "data_sha256": "ab" * 32,
                    "losses": [8.0 - 0.5 * n for n in range(10)],
                    "rates": [1600 / s for s in seconds], "steps_s": seconds,
                    "peak_memory_bytes": 400_000_000, "steal_share": 0.0, "others_share": 0.0,
                    "load_average": 1.0, "calibration": [quiet, quiet], "seconds": 6.0,
                }
            )  # fmt: skip
    return [*records, {"key": ["end"], "reason": "All launches were made."}]


def test_scaling_and_warm_up_are_found() -> None:
    results = build_results(make_records())
    valid(results)
    (found,) = results["presets"]
    assert {launch["warm_up_steps"] for launch in found["launches"]} == {2}
    rate = found["summary"]["rate"]
    assert rate["ratios"]["2 threads"]["verdict"] == "higher"
    assert rate["ratios"]["1 thread (A/A)"]["verdict"] == "no difference"
    assert found["scaling"]["2 threads"]["efficiency"] == pytest.approx(0.8, rel=0.05)
    share = found["summary"]["share"]["engines"]["1 thread"]["estimate"]
    assert share == pytest.approx(10_000 * 1.2e7 / 4e11, rel=0.05)
    assert "| 2 threads | 2x | 1.6" in scaling(found)
    assert scaling_figure(found) is not None and "2 threads" in scaling_alt(found)


def test_every_number_of_the_page_comes_from_the_results(
    check_numbers: Callable[..., None],
) -> None:
    results = build_results(make_records())
    (found,) = results["presets"]
    rates = [f"{value['rate']:.2f}" for value in found["scaling"].values()]
    page = summary_page(results)
    check_numbers(page, results, [*rates, "768"])  # the size of the product that is the ceiling
    changed = copy.deepcopy(results)
    changed["presets"][0]["summary"]["rate"]["engines"]["2 threads"]["estimate"] = 43_210.0
    assert "43,210" in summary_page(changed) and "43,210" not in page


def test_two_trainings_are_compared() -> None:
    before, after = build_results(make_records()), build_results(make_records())
    for launch in after["presets"][0]["launches"]:
        launch["values"]["rate"] = [0.7 * rate for rate in launch["values"]["rate"]]
    found = {(c.engine, c.metric): c.verdict for c in compare(before, after)}
    assert found["2 threads", "rate"] == "slower" and found["2 threads", "step"] == "no difference"
    with pytest.raises(UserError, match="no model with the same weights"):
        compare(before, after | {"presets": []})


def test_another_loss_is_never_a_fast_result() -> None:
    records = make_records()
    wrong = [x for x in records if x["key"][2:3] == ["2 threads"]]
    for record in wrong:
        record["losses"] = [8.0] * 9 + [float(record["losses"][-1]) + 0.5]
    (found,) = build_results(records)["presets"]
    reason = next(e["reason"] for e in found["entries"] if e["label"] == "2 threads")
    assert "it reached a loss of 4.0000 where the first launch had 3.5000" in reason
    assert "2 threads" not in found["summary"]["rate"]["engines"]


def test_a_launch_that_slows_down_is_marked_and_one_that_fails_is_told() -> None:
    records = make_records()
    slow, failed = records[1], records[2]
    slow["steps_s"] = [0.1] * 5 + [0.3] * 5
    failed["error"] = "the process ended with exit code -9: no message"
    results = build_results(records)
    valid(results)
    (found,) = results["presets"]
    assert found["launches"][0]["marks"] == ["a step took 3.00 times as long in the second half"]
    assert found["launches"][1]["values"] == {}
    assert "exit code -9" in summary_page(results)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"presets": ()}, "at least one preset"),
        ({"presets": ("huge",)}, "The preset 'huge' is unknown"),
        ({"threads": (999,)}, "threads is 999"),
        ({"steps": 3}, "steps is 3 but must be a whole number, at least 6"),
        ({"precisions": ("int4",)}, "precision is 'int4' but must be one of"),
        ({"budget_s": -1.0}, "budget_s is -1.0"),
    ],
)
def test_what_cannot_be_is_the_users_mistake(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TrainPlan("out", **changes)


def test_the_command_does_the_same_again() -> None:
    plan = TrainPlan("reports/x", ("smoke", "tiny"), threads=(1, 2), launches=3)
    assert plan.command() == (
        "airust bench train --out reports/x --preset smoke --preset tiny --threads 1,2 --launches 3"
    )
