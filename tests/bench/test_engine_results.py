"""From made-up records to results, and from two results to what changed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from airust.bench import compare as compare_module
from airust.bench.compare import compare, drift_notes, read_results
from airust.bench.engine_results import build_results
from airust.bench.engine_tables import (
    check_table,
    contention,
    headline,
    notes,
    quality_table,
    summary_page,
    thread_sweep,
    trade_table,
    view,
)
from airust.bench.metrics import cross_check
from airust.bench.plots_quality import trade, trade_alt
from airust.bench.plots_roofline import points, roofline, roofline_alt
from airust.bench.statistics import change
from airust.types import UserError

STREAMS = (1, 16)
SPEED = {"torch": 1.0, "other": 2.0, "torch (A/A)": 1.0}
SCHEMA = Path(compare_module.__file__).parent / "schemas" / "engines.json"
Records = list[dict[str, Any]]


def make_records(
    seed: int = 0, launches: int = 5, spread: float = 0.005, **factors: float
) -> Records:
    """A whole run in which an engine is ``factors`` times as fast as it is in SPEED."""
    rng = np.random.default_rng(seed)
    spec = {
        "prompt_tokens": 24, "prefill_tokens": 192, "new_tokens": 64, "streams": list(STREAMS),
        "repeats": 6, "batch_repeats": 3, "seed": 0,
    }  # fmt: skip
    model = {
        "learning": {"training": None, "evaluation": None, "compared": []},
        "name": "tiny", "folder": "runs/tiny", "spec": spec, "workload_sha256": "12" * 32,
        "notes": ["prefill_tokens is 192: 512 do not fit beside the rest into a context of 256."],
        "model": {
            "name": "tiny", "parameters": 2_000_000, "parameters_read_per_token": 2_000_000,
            "weights_sha256": {"model.safetensors": "ab" * 32}, "tokenizer_sha256": "cd" * 32,
            "dtype": ["F32"], "config": {
                "model_type": "qwen3", "num_hidden_layers": 3, "hidden_size": 192,
                "num_attention_heads": 3, "num_key_value_heads": 3, "vocab_size": 4096,
                "max_position_embeddings": 256,
            },
        },
    }  # fmt: skip
    parameters = {
        "models": ["runs/tiny"], "out": "reports/x", "engines": ["torch", "other"], "text": None,
        "text_tokens": 256, "compare": [], "exam_questions": 40,
        "baseline": None, "streams": list(STREAMS), "prefill_tokens": 512, "prompt_tokens": 24,
        "new_tokens": 64, "launches": launches, "repeats": None, "launch_s": 10.0,
        "budget_s": 840.0, "tune_s": 120.0, "cores": 2, "parity_prompts": 4, "parity_tokens": 16,
        "seed": 0,
    }  # fmt: skip
    host = {
        "cpu": "A processor", "cores_usable": 2, "cores_physical": 1, "memory_bytes": 24 * 10**9,
        "os": "Linux 6", "python": "3.11.9",
    }  # fmt: skip
    records: Records = [
        {
            "key": ["plan"], "created": "2026-01-02T03:04:05+00:00", "command": "airust bench",
            "parameters": parameters, "host": host, "versions": {"torch": "2.13.0"},
            "models": [model], "missing": [], "seconds": 1.0,
        },
        _ceilings("before", 50.0),
    ]  # fmt: skip
    for label in ("torch", "other"):
        records.append(_parity(label))
        text = {"tokens": 256, "scored": 250, "perplexity": 7.5, "reference": 7.4, "excess": 0.01}
        quality = {"error": None, "text": text, "exam": {"n": 40, "right": 31}}
        records.append({"key": ["quality", "tiny", label], "quality": quality, "seconds": 3.0})
    for label in ("torch", "other"):
        for threads, gain in ((None, 1.0), (1, 0.8), (2, 1.3 if label == "other" else 1.0)):
            key = ["tune", "tiny", label, threads or "default", 0]
            launch = _launch(label, 0, SPEED[label] * gain, rng, 0.0)
            records.append({"key": key, "candidate": threads, **launch})
    for block in range(launches):
        for label in SPEED:
            factor = SPEED[label] * factors.get(label.removesuffix(" (A/A)"), 1.0)
            launch = _launch(label, block, factor, rng, spread)
            records.append({"key": ["launch", "tiny", label, block], "block": block, **launch})
    ended = {"key": ["end"], "reason": "All launches were made."}
    return [*records, _ceilings("after", 60.0), ended]


def _ceilings(when: str, rate: float) -> dict[str, Any]:
    found = {"threads": 2, "bandwidth": {"8000000": rate}, "matmul_fp32": 400.0, "matmul_bf16": 9.0}
    found["matmul_int8"] = 800.0
    return {"key": ["ceilings", when], "ceilings": found, "seconds": 4.0}


def _parity(label: str) -> dict[str, Any]:
    engine = {
        "engine": label, "status": "passed", "passed": True, "reason": "They agree.",
        "version": "1", "dtype": "float32", "settings": {}, "max_delta": 1e-5, "mean_delta": 1e-6,
        "max_kl": 1e-9, "mean_kl": 1e-10, "prompts": 4, "equal": 4, "tied": 0, "divergence": None,
    }  # fmt: skip
    report = {
        "reference": "airust.gpt", "prompts": 4, "new_tokens": 16, "tolerance": 1e-3,
        "engines": [engine],
    }  # fmt: skip
    entry = {"label": label, "engine": label, "options": {}, "tolerance": 1e-3, "pool": None}
    entry["serve"] = None
    return {"key": ["parity", "tiny", label], "entry": entry, "parity": report, "seconds": 8.0}


def _launch(
    label: str, block: int, speed: float, rng: np.random.Generator, spread: float
) -> dict[str, Any]:
    own = speed * float(np.exp(rng.normal(0, spread)))
    quiet = {"compute_s": 0.005, "memory_s": 0.006, "load_average": 1.0}
    values = {
        "ttft": [0.004 / own], "prefill": [40_000 * own], "decode_1": [1000 * own],
        "decode_16": [4000 * own], "streamed_1": [1000 * own], "memory": [4e8], "load": [1.6 / own],
        "cpu_per_token_1": [0.001 / own], "cpu_per_token_16": [0.001 / own],
    }  # fmt: skip
    return {
        "label": label, "error": None, "wall_s": 9.0, "values": values, "steps": ["many"],
        "checks": {"exact": 100, "tied": 0, "wrong": 0, "first_wrong": None},
        "calibration": [quiet, quiet], "steal_share": 0.0, "others_share": 0.0,
        "warm_up": {"decode_1": 2}, "marks": [], "load_average": 1.0,
        "settings": {"dtype": "float32"}, "batching": label != "other", "seconds": 10.0,
    }  # fmt: skip


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return build_results(make_records(spread=0.02))


def test_the_results_follow_the_published_schema(results: dict[str, Any]) -> None:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(json.loads(json.dumps(results)))


def test_every_prefix_of_the_records_gives_results(results: dict[str, Any]) -> None:
    """A run may be stopped anywhere."""
    schema, records = json.loads(SCHEMA.read_text("utf-8")), make_records()
    for count in range(1, len(records)):
        partial = build_results(records[:count])
        Draft202012Validator(schema).validate(json.loads(json.dumps(partial)))
        assert not partial["complete"]
        assert summary_page(partial)


def test_the_summary_holds_every_part(results: dict[str, Any]) -> None:
    page = summary_page(results)
    for words in (
        "tiny: 2,000,000 parameters", "512 do not fit", "Prefill rate, 192 tokens",
        "Peak memory, up to 16 streams", "| other | 2 |", "chosen", "| torch (A/A) |",
        "memory read, working set 8.00 MB", "60.0 GB/s", "agree", "0 of 5", "airust bench",
        "other answers one request after another: its rate at more streams is that at 1.",
    ):  # fmt: skip
        assert words in page, words


def test_every_number_of_the_page_comes_from_the_results(
    results: dict[str, Any], check_numbers: Callable[..., None]
) -> None:
    (model,) = results["models"]
    rates = {key: found["engines"] for key, found in model["summary"].items()}
    factors = [
        number
        for engines in rates.values()
        for pair in [[engines["torch"]["estimate"], engines["other"]["estimate"]]]
        for number in (f"{max(pair) / min(pair):.2f}",)
    ]
    sweep = [
        f"{c['rates'][key] / found['candidates'][0]['rates'][key]:.2f}"
        for found in model["tuning"].values()
        for c in found["candidates"]
        for key in c["rates"]
    ]
    checks = [f"{value:.2f}" for value in cross_check(model["launches"]).values()]
    contended = ["5"]  # launches of each engine: how many lines the list of launches has
    page = summary_page(results)
    check_numbers(page, results, [*factors, *sweep, *checks, *contended])
    assert page == summary_page(json.loads(json.dumps(results)))


def test_a_changed_result_changes_the_words(results: dict[str, Any]) -> None:
    changed = copy.deepcopy(results)
    changed["models"][0]["summary"]["decode_16"]["engines"]["torch"]["estimate"] = 4321.0
    assert "4,321" in summary_page(changed) and "4,321" not in summary_page(results)


def test_the_control_never_wins(results: dict[str, Any]) -> None:
    changed = copy.deepcopy(results)
    changed["models"][0]["summary"]["decode_1"]["engines"]["torch (A/A)"]["estimate"] = 1e6
    assert "(A/A)" not in headline(changed)


def test_parity_stands_before_every_figure(results: dict[str, Any]) -> None:
    page = summary_page(results)
    assert page.index("### Parity") < page.index("### Quality") < page.index("### Figures")


def test_what_still_warmed_up_is_told(results: dict[str, Any]) -> None:
    assert "decode_1: 2 more repeats were warm-up" in summary_page(results)


def test_the_roofline_has_a_mark_for_every_rate(results: dict[str, Any]) -> None:
    shown = view(results, results["models"][0])
    marks = {(p["label"], p["key"]): p for p in points(shown)}
    assert set(marks) == {
        (e, k) for e in ("torch", "other") for k in ("decode_1", "decode_16", "prefill")
    }
    one = marks["torch", "decode_1"]
    assert one["intensity"] == pytest.approx(0.5)  # 2 FLOP a weight of 4 bytes
    assert one["gflops"] == pytest.approx(2 * 2e6 * 1000 / 1e9, rel=0.05)
    assert marks["torch", "prefill"]["intensity"] == pytest.approx(96)
    figure = roofline(shown)
    assert figure is not None and "GFLOP/s" in figure.axes[0].get_ylabel()
    assert "torch decode_1" in roofline_alt(shown)


def test_quality_stands_beside_bytes_and_speed(results: dict[str, Any]) -> None:
    shown = view(results, results["models"][0])
    text = quality_table(shown)
    assert "| 7.50 | +0.0100 | 250 of 256 | 31 of 40 |" in text
    assert "| other | float32 | 8.00 |" in trade_table(shown) and "77.5%" in trade_table(shown)
    assert trade(shown) is not None and "8.00 MB" in trade_alt(shown)


def test_the_figures_are_those_of_the_launches(results: dict[str, Any]) -> None:
    (model,) = results["models"]
    found = model["summary"]["decode_1"]
    assert found["engines"]["other"]["estimate"] == pytest.approx(2000, rel=0.05)
    assert found["ratios"]["other"]["estimate"] == pytest.approx(2.0, rel=0.05)
    assert found["ratios"]["other"]["verdict"] == "higher"
    assert found["ratios"]["torch (A/A)"]["verdict"] == "no difference"
    ceiling = 60e9 / 8e6  # the better of the two measurements
    assert model["shares"]["decode_1"]["other"]["ceiling"] == pytest.approx(ceiling)
    assert model["shares"]["prefill"]["torch"]["ceiling"] == pytest.approx(400e9 / 4e6)
    assert all("steps" not in launch for launch in model["launches"])


def test_the_chosen_threads_are_those_of_the_entry_and_its_twin(results: dict[str, Any]) -> None:
    (model,) = results["models"]
    assert {label: found["threads"] for label, found in model["tuning"].items()} == {
        "torch": None, "other": 2,
    }  # fmt: skip
    pools = {entry["label"]: entry["pool"] for entry in model["entries"]}
    assert pools == {"torch": None, "other": 2, "torch (A/A)": None}
    assert "| other | 2 | 104,000 (1.30x)" in thread_sweep(model)


def test_a_contended_launch_is_kept_and_marked() -> None:
    records = make_records()
    slowed = next(x for x in records if x["key"] == ["launch", "tiny", "other", 2])
    slowed["calibration"][1] = {"compute_s": 0.02, "memory_s": 0.006, "load_average": 9.0}
    slowed["values"]["decode_1"] = [500.0]
    found = build_results(records)
    (model,) = found["models"]
    marked = [(x["label"], x["block"]) for x in model["launches"] if x["contended"]]
    assert marked == [("other", 2)]
    assert model["summary"]["decode_1"]["engines"]["other"]["launches"] == 5
    assert model["summary"]["decode_1"]["engines"]["other"]["estimate"] < 1700
    assert "| tiny | other | 1 of 5 | computing beside it took 4.00 times" in contention(found)


def test_an_engine_that_fails_parity_is_named_with_its_reason() -> None:
    records = [x for x in make_records() if x["key"][2:3] != ["other"] or x["key"][0] == "parity"]
    broken = next(x for x in records if x["key"] == ["parity", "tiny", "other"])
    broken["parity"]["engines"][0] |= {"passed": False, "status": "failed", "reason": "Far off."}
    (model,) = build_results(records)["models"]
    reasons = {entry["label"]: entry["reason"] for entry in model["entries"]}
    assert reasons == {"torch": None, "other": "parity failed: Far off.", "torch (A/A)": None}


def test_where_the_baseline_fails_the_next_engine_is_it() -> None:
    records = [x for x in make_records() if x["key"][2:3] == ["other"] or len(x["key"]) < 3]
    broken = _parity("torch")
    broken["parity"]["engines"][0] |= {"passed": False, "status": "failed", "reason": "Far off."}
    (model,) = build_results([*records[:2], broken, *records[2:]])["models"]
    assert model["baseline"] == "other"
    assert [entry["label"] for entry in model["entries"]][-1] == "other (A/A)"


def test_rates_that_disagree_with_the_stream_are_marked() -> None:
    records = make_records()
    for record in records:
        if record["key"][:3] == ["launch", "tiny", "other"]:
            record["values"]["streamed_1"] = [500.0]
    (model,) = build_results(records)["models"]
    table = check_table(model)
    assert "| other | 4.0" in table or "| other | 3.9" in table
    assert "**disagree**" in table and "| torch | 1.00 | agree |" in table
    assert len(notes(model)) == 2


def test_a_rate_above_the_ceiling_is_named() -> None:
    """The ceilings allow 7.5 million tokens/s at one stream and no more than 100,000 at many."""
    records = make_records()
    for record in records:
        if record["key"][:3] == ["launch", "tiny", "torch"]:
            record["values"]["decode_16"] = [160_000.0]
    (model,) = build_results(records)["models"]
    (note,) = (note for note in notes(model) if "above" in note)
    assert note.startswith("Decode rate, 16 streams: torch is above the measured ceiling (160%)")


# Two runs


def _changes(before: Records, after: Records, **options: Any) -> dict[tuple[str, str], str]:
    found = compare(build_results(before), build_results(after), **options)
    return {(c.engine, c.metric): c.verdict for c in found}


def test_a_planted_change_is_found_and_none_is_not() -> None:
    def verdicts(factor: float) -> list[str]:
        return [
            _changes(make_records(2 * seed), make_records(2 * seed + 1, torch=factor))[
                "torch", "decode_1"
            ]
            for seed in range(60)
        ]

    assert verdicts(1.05).count("faster") >= 57
    assert verdicts(0.95).count("slower") >= 57
    unchanged = verdicts(1.0)
    assert unchanged.count("faster") + unchanged.count("slower") <= 3


def test_faster_is_less_time_and_more_memory_is_more() -> None:
    after = make_records(1, torch=2.0)
    for record in after:
        if record["key"][0] == "launch" and record["label"].startswith("torch"):
            record["values"]["memory"] = [8e8]
    found = _changes(make_records(0), after)
    for key in ("ttft", "prefill", "decode_16", "load"):
        assert found["torch", key] == "faster", key
    assert found["torch", "memory"] == "more"
    assert found["other", "decode_1"] == "no difference" != found["torch (A/A)", "decode_1"]


def test_a_control_cancels_what_the_machine_did() -> None:
    """Everything is a third slower; only torch really changed."""
    slower = {"torch": 0.67 * 1.2, "other": 0.67}
    after = make_records(1, **slower)
    assert _changes(make_records(0), after)["other", "decode_1"] == "slower"
    against = _changes(make_records(0), after, against="other")
    assert against["torch", "decode_1"] == "faster"
    assert ("other", "decode_1") not in against
    with pytest.raises(UserError, match="nothing to compare with 'gpt5'"):
        _changes(make_records(0), after, against="gpt5")


def test_the_change_of_two_runs_has_the_interval_of_welch() -> None:
    before, after = [[10.0], [11.0], [10.5]], [[20.0], [23.0], [21.0], [22.0]]
    found = change(before, after)
    logs = [np.log([x[0] for x in samples]) for samples in (before, after)]
    assert found.estimate == pytest.approx(np.exp(logs[1].mean() - logs[0].mean()))
    errors = [x.var(ddof=1) / len(x) for x in logs]
    degrees = sum(errors) ** 2 / sum(
        error**2 / (len(x) - 1) for error, x in zip(errors, logs, strict=True)
    )
    assert 2 < degrees < 5
    assert found.low is not None and found.high is not None
    assert np.log(found.high / found.estimate) > 1.96 * sum(errors) ** 0.5
    assert found.low < found.estimate < found.high
    assert change([[1.0]], [[2.0]]).low is None
    assert change([[1.0], [1.0]], [[2.0], [2.0]]).low == pytest.approx(2.0)


def test_intervals_of_changes_cover_the_truth_about_95_times_in_100() -> None:
    rng, covered = np.random.default_rng(0), 0
    for seed in range(400):
        before, after = np.exp(rng.normal(0, 0.02, (3, 1))), np.exp(rng.normal(0, 0.05, (5, 1)))
        found = change(before.tolist(), after.tolist(), seed)
        assert found.low is not None and found.high is not None
        covered += found.low <= 1 <= found.high
    assert 0.92 <= covered / 400 <= 0.99


def test_other_weights_or_prompts_cannot_be_compared(results: dict[str, Any]) -> None:
    other = copy.deepcopy(results)
    other["models"][0]["workload_sha256"] = "34" * 32
    with pytest.raises(UserError, match="no model with the same weights and prompts"):
        compare(results, other)


def test_what_else_changed_is_said(results: dict[str, Any]) -> None:
    assert drift_notes(results, results) == []
    other = copy.deepcopy(results)
    other["host"]["cpu"] = "Another"
    other["calibration"]["usual"]["compute_s"] *= 2
    other["versions"] = {"torch": "2.14.0", "new": "1"}
    other |= {"complete": False, "ended": "It was stopped."}
    text = "\n".join(drift_notes(results, other))
    for words in ("Another", "hashing 0.50x", "2.13.0 before, 2.14.0", "new: absent", "stopped"):
        assert words in text, words


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not JSON"), ("[]", "is not a results.json"), ('{"schema": 1}', "not a results")],
)
def test_a_file_that_is_something_else(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_results(tmp_path / "a.json")
    with pytest.raises(UserError, match="Cannot read"):
        read_results(tmp_path / "missing.json")
