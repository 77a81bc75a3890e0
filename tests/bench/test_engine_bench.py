"""Whole runs of several engines in processes of their own, with engines made for the purpose."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from airust.bench import engine_bench
from airust.bench.engine_bench import EngineBench
from airust.bench.engine_plan import EnginePlan
from airust.bench.engine_results import build_results
from airust.bench.engine_tables import summary_page
from airust.bench.journal import read_records
from airust.bench.pace import Status
from airust.cli import build_app
from airust.types import UserError

SCHEMA = Path(engine_bench.__file__).parent / "schemas" / "engines.json"
PARROTS = (
    "Parrot", "Wrong", "Padded", "Miscounting", "Stalling", "Dying", "Different", "Serial",
    "Slowing",
)  # fmt: skip
SIZES: dict[str, Any] = {
    "streams": (1, 2), "prefill_tokens": 64, "prompt_tokens": 48, "new_tokens": 8, "launches": 2,
    "repeats": 2, "parity_prompts": 2, "parity_tokens": 8, "tune_s": 1e-6, "cores": 1,
    "text_tokens": 0,
}  # fmt: skip


def _plan(model: Path, out: Path, *engines: str, **changes: Any) -> EnginePlan:
    return EnginePlan((str(model),), str(out), engines, **(SIZES | changes))


def _valid(results: dict[str, Any]) -> None:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    errors = Draft202012Validator(schema).iter_errors(json.loads(json.dumps(results)))
    assert not [f"{error.json_path}: {error.message}" for error in errors]


def test_a_run_from_start_to_end(parrots: str, reciter_dir: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "out", list[Status]()
    plan = _plan(reciter_dir, out, "serial", "parrot", baseline="parrot")
    results = EngineBench(plan, tell=told.append).run()
    _valid(results)
    records = read_records(out / "raw.jsonl")
    assert json.loads((out / "results.json").read_text("utf-8")) == build_results(records)
    assert (out / "summary.md").read_text("utf-8") == summary_page(results)
    assert not (out / "resume").exists()
    assert results["complete"] and results["ended"] == "All launches were made."

    (model,) = results["models"]
    labels = ["parrot", "serial", "parrot (A/A)"]
    assert [entry["label"] for entry in model["entries"]] == labels
    assert [entry["reason"] for entry in model["entries"]] == [None] * 3
    assert model["baseline"] == "parrot"
    assert sorted(x["block"] for x in model["launches"]) == [0, 0, 0, 1, 1, 1]
    assert all(len(x["calibration"]) == 2 for x in model["launches"])
    assert sum(x["checks"]["exact"] for x in model["launches"]) > 50
    for key in ("ttft", "prefill", "decode_1", "decode_2", "memory", "load"):
        assert set(model["summary"][key]["engines"]) == set(labels), key
    assert set(model["tuning"]) == {"parrot", "serial"}  # one count is all that one core leaves
    assert [c["threads"] for c in model["tuning"]["parrot"]["candidates"]] == [None, 1]
    page = (out / "summary.md").read_text("utf-8")
    assert (
        "serial answers one request after another: its rate at more streams is that at 1." in page
    )
    assert "| parrot (A/A) |" in page and str(tmp_path) not in page.split("## Again")[0]

    assert [status.left_s > 0 for status in told[:3]] == [True] * 3
    assert told[-1].left_s < told[1].left_s
    serial = next(x for x in model["launches"] if x["label"] == "serial")
    assert serial["values"]["decode_2"] == serial["values"]["decode_1"]


def test_engines_that_fail_in_every_way_have_no_figures_and_cost_no_time(
    parrots: str, reciter_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_bench, "STALL_S", 2.0)
    names = [name.lower() for name in PARROTS if name not in ("Serial", "Slowing")]
    results = EngineBench(_plan(reciter_dir, tmp_path / "out", *names, launches=3)).run()
    _valid(results)
    (model,) = results["models"]
    reasons = {entry["label"]: entry["reason"] for entry in model["entries"]}
    assert reasons["parrot"] is reasons["parrot (A/A)"] is None
    expected = {
        "wrong": "wrong answers, the first: it left the reference at token",
        "padded": "wrong answers, the first: it left the reference at token 2",
        "miscounting": "wrong answers, the first: it gave 2 tokens where 1 were asked for",
        "stalling": "no result within 2 s",
        "dying": "the process ended with exit code 3: illegal instruction",
        "different": "parity failed: ",
    }
    for name, words in expected.items():
        assert words in str(reasons[name]), reasons[name]
    assert {label for m in model["summary"].values() for label in m["engines"]} == {
        "parrot", "parrot (A/A)",
    }  # fmt: skip
    records = read_records(tmp_path / "out" / "raw.jsonl")
    tried = [record["key"][2] for record in records if record["key"][0] in ("tune", "launch")]
    counts = {name: tried.count(name) for name in expected}
    assert counts == {
        "wrong": 1, "padded": 1, "miscounting": 1, "stalling": 2, "dying": 2, "different": 0,
    }  # fmt: skip
    assert (tmp_path / "out" / "summary.md").read_text("utf-8").count("illegal instruction") >= 1


def test_an_engine_that_slows_down_half_way_is_marked(
    parrots: str, reciter_dir: Path, tmp_path: Path
) -> None:
    """Without a sweep, which leaves every engine its own default."""
    plan = _plan(
        reciter_dir, tmp_path / "out", "parrot", "slowing", launches=1, new_tokens=32, tune_s=0.0
    )
    (model,) = EngineBench(plan).run()["models"]
    assert model["tuning"] == {} and model["entries"][0]["pool"] is None
    marks = {launch["label"]: launch["marks"] for launch in model["launches"]}
    assert any("times as long in the second half of an answer" in m for m in marks["slowing"])
    assert not any("second half" in mark for mark in marks["parrot"])
    assert "second half of an answer" in (tmp_path / "out" / "summary.md").read_text("utf-8")


@pytest.mark.full
def test_our_own_server_is_an_engine_among_others(
    parrots: str, reciter_dir: Path, tmp_path: Path
) -> None:
    """The same weights through HTTP: parity, every answer, and the server's memory and time."""
    plan = _plan(reciter_dir, tmp_path / "out", "parrot", "openai:serve=torch", launches=1)
    results = EngineBench(plan).run()
    _valid(results)
    (model,) = results["models"]
    served = next(e for e in model["entries"] if e["label"] == "openai:serve=torch")
    assert served["reason"] is None and served["dtype"] == "float32", served
    assert "base_url" not in json.dumps(results)
    launch = next(x for x in model["launches"] if x["label"] == served["label"])
    assert launch["checks"]["exact"] > 0 == launch["checks"]["wrong"]
    assert launch["peak_memory_bytes"] > 1.5 * launch["memory_loaded_bytes"]  # client and server


SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
from airust.bench.engine_bench import EngineBench
from airust.bench.engine_plan import EnginePlan
import json
given = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(sys.argv[1]).items()}
EngineBench(EnginePlan(**given)).run()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl+C", "kill -9"])
def test_a_run_that_was_stopped_goes_on(
    how: signal.Signals, parrots: str, reciter_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    plan = _plan(reciter_dir, out, "parrot", "serial", launches=30, budget_s=1e6)
    raw, given = out / "raw.jsonl", {name: getattr(plan, name) for name in plan.__slots__}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps(given)], stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if raw.is_file() and raw.read_text("utf-8").count('{"key": ["launch"') >= 4:
            break
        time.sleep(0.05)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert (
        process.returncode == -how if how == signal.SIGKILL else "KeyboardInterrupt" in str(errors)
    )
    if how == signal.SIGINT:
        results = json.loads((out / "results.json").read_text("utf-8"))
        _valid(results)
        assert not results["complete"] and "--resume" in results["ended"]
    before = read_records(raw)
    done = sum(record["key"][0] == "launch" for record in before)
    assert 4 <= done < 90

    blocks = (done + 2) // 3 + 1
    plan = _plan(reciter_dir, out, "parrot", "serial", launches=blocks, budget_s=1e6)
    results = EngineBench(plan, resume=True).run()
    _valid(results)
    after = read_records(raw)
    assert after[: len(before)] == before
    keys = [json.dumps(record["key"]) for record in after]
    assert len(set(keys)) == len(keys)
    assert results["complete"]
    assert len(results["models"][0]["launches"]) == 3 * blocks

    again = EngineBench(plan, resume=True).run()  # nothing is left to do
    assert again["models"] == results["models"]


def test_a_run_is_neither_overwritten_nor_mixed_with_another(
    parrots: str, reciter_dir: Path, model_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    EngineBench(_plan(reciter_dir, out, "parrot"))
    raw = (out / "raw.jsonl").read_bytes()
    with pytest.raises(UserError, match="already holds a run: --resume goes on with it, --force"):
        EngineBench(_plan(reciter_dir, out, "parrot"))
    with pytest.raises(UserError, match=r"began with streams \[1, 2\], not \[1\]"):
        EngineBench(_plan(reciter_dir, out, "parrot", streams=(1,)), resume=True)
    with pytest.raises(UserError, match="began with models"):
        EngineBench(_plan(model_dir, out, "parrot"), resume=True)
    assert (out / "raw.jsonl").read_bytes() == raw
    EngineBench(_plan(reciter_dir, out, "parrot", launches=9, budget_s=5.0), resume=True)
    EngineBench(_plan(model_dir, out, "parrot"), force=True)
    assert len(read_records(out / "raw.jsonl")) == 1


def _command(model: Path, out: Path, engines: str, *more: str) -> list[str]:
    words = ["bench", "engines", "--model", str(model), "--out", str(out), "--engines", engines]
    words += [
        "--text-tokens",
        "0",
        "--streams",
        "1,2",
        "--prefill",
        "64",
        "--prompt",
        "48",
        "--new-tokens",
        "8",
    ]
    return [*words, "--repeats", "1", "--tune-s", "1e-6", "--cores", "1", *more]


def test_the_command_shows_tables_and_its_budget_ends_it_behind_a_block(
    parrots: str, reciter_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = _command(reciter_dir, out, "parrot", "--launches", "50", "--budget-s", "0")
    done = CliRunner().invoke(build_app(), words)
    assert done.exit_code == 0, done.output
    results = json.loads((out / "results.json").read_text("utf-8"))
    assert results["ended"] == "After 3 blocks the budget of 0 s was used up."
    assert len(results["models"][0]["launches"]) == 6 and results["complete"]
    for text in (results["ended"], "parrot (A/A)", "Prefill rate, 64 tokens", "against parrot"):
        assert text in done.stdout, done.stdout
    assert "summary.md is the page to read" in done.stderr
    done = CliRunner().invoke(build_app(), words)
    assert done.exit_code == 2
    assert "--resume goes on with it" in done.stderr
    done = CliRunner().invoke(build_app(), [*words, "--resume", "--json"])
    assert json.loads(done.stdout)["models"] == results["models"]


def test_no_engine_that_agrees_is_a_failure_with_results(
    parrots: str, reciter_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(build_app(), _command(reciter_dir, out, "different"))
    assert done.exit_code == 1
    assert "No engine has figures for reciter" in done.stderr and "parity failed" in done.stderr
    results = json.loads((out / "results.json").read_text("utf-8"))
    _valid(results)
    (model,) = results["models"]
    assert model["launches"] == [] and model["summary"] == {} and model["baseline"] is None
    assert "nothing was timed" in (out / "summary.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--random", "gpt5"], "There is no random model 'gpt5'"),
        ([], "Say which model with --model"),
        (["--model", "nowhere"], "There is no model at 'nowhere'"),
    ],
)
def test_a_mistake_is_one_sentence(words: list[str], message: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(build_app(), ["bench", "engines", "--out", str(tmp_path), *words])
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
