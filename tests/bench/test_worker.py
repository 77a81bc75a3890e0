"""Launches in child processes: what they return, and how they fail."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from airust.bench import child
from airust.bench.child import check_result, run_worker
from airust.bench.reference import read_references
from airust.bench.runner import Bench, Entry, RunSettings, with_aa_pair
from airust.bench.verify import Reference
from airust.bench.workload import Workload, WorkloadSpec, make_workload
from airust.gpt.tokenizer import Tokenizer
from airust.types import AirustError

SPEC = WorkloadSpec(40, 60, 8, streams=(1, 2), repeats=1)


@pytest.fixture(scope="module")
def workload(model_dir: Path) -> Workload:
    return make_workload(Tokenizer.load(model_dir), SPEC)


def _job(kind: str, **values: Any) -> dict[str, Any]:
    return {"kind": kind, "model": "dummy", "threads": 1, "options": {}, "seconds": 30, **values}


def test_a_launch_of_the_echo_engine(workload: Workload) -> None:
    result = run_worker(_job("launch", engine="dummy", workload=workload.to_dict()), 60)
    assert result["error"] is None
    assert len(result["steps"]) == len(workload.steps)
    assert 0 < result["memory_before_bytes"] < result["peak_memory_bytes"] < 200e6
    assert result["threads"]["cores"] == 1 and result["threads"]["RAYON_NUM_THREADS"] == "1"
    assert result["load_s"] > 0


def test_a_small_process_stays_small_beside_a_big_parent(workload: Workload) -> None:
    """getrusage would report the memory of the process that it was forked from."""
    ballast = bytearray(300_000_000)
    ballast[::4096] = b"x" * len(ballast[::4096])
    result = run_worker(_job("launch", engine="dummy", workload=workload.to_dict()), 60)
    assert result["peak_memory_bytes"] < 200e6
    del ballast


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (_job("launch", engine="nonsense"), "There is no engine 'nonsense'"),
        (_job("launch", engine="dummy", options={"nonsense": 1}), "no option 'nonsense'"),
        (_job("nonsense"), "KeyError"),
    ],
)
def test_a_failure_is_a_result(job: dict[str, Any], message: str, workload: Workload) -> None:
    result = run_worker(job | {"workload": workload.to_dict()}, 60)
    assert message in result["error"]
    with pytest.raises(AirustError, match="The test failed: "):
        check_result(result, "The test")


def _replace_worker(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let the child run this code in place of the worker."""
    start = subprocess.Popen

    def changed(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return start([sys.executable, "-c", code], **options)

    monkeypatch.setattr(child.subprocess, "Popen", changed)


def test_a_crash_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os, sys; print('illegal instruction', file=sys.stderr, flush=True); os._exit(3)"
    _replace_worker(monkeypatch, code)
    result = run_worker(_job("launch"), 60)
    assert result["error"] == "the process ended with exit code 3: illegal instruction"


def test_a_stall_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    _replace_worker(monkeypatch, "import time; time.sleep(60)")
    start = time.perf_counter()
    assert run_worker(_job("launch"), 0.5)["error"] == "no result within 0 s"
    assert time.perf_counter() - start < 30


def test_a_worker_ends_when_nobody_waits_for_it(model_dir: Path) -> None:
    """As when the notebook's kernel is killed in the middle of a launch."""
    process = subprocess.Popen(
        [sys.executable, "-m", "airust.bench.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=child.child_environment(1),
    )
    assert process.stdin is not None
    stall = '{"kind": "launch", "threads": 1, "engine": "dummy", "model": "", "seconds": 1e9,'
    stall += '"options": {"delay_s": 1000}, "workload": ' + _one_prompt() + "}\n"
    process.stdin.write(stall.encode())
    process.stdin.flush()
    time.sleep(1.0)
    assert psutil.pid_exists(process.pid) and process.poll() is None
    process.stdin.close()
    assert process.wait(timeout=30) == 1


def _one_prompt() -> str:
    return (
        '{"spec": {"streams": [1]}, "prompts": [{"text": "a", "token_ids": [1]}], "steps": '
        '[{"kind": "ttft", "streams": 1, "warmup": true,'
        ' "batches": [{"prompts": [0], "max_tokens": 1}]}]}'
    )


def test_what_an_engine_prints_does_not_spoil_the_result(
    workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os; os.write(2, b'noise on stderr')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    result = run_worker(_job("launch", engine="dummy", workload=workload.to_dict()), 60)
    assert result["error"] is None


def test_the_baseline_is_entered_twice() -> None:
    entries = with_aa_pair([Entry(name, name) for name in "abc"])
    assert [entry.label for entry in entries] == ["a", "b", "c", "a (A/A)"]
    assert with_aa_pair([]) == ()


def _bench(model: Path, workload: Workload, references: tuple[Reference, ...]) -> Bench:
    settings = RunSettings(launches=2, threads=1, seconds=30)
    return Bench(model, workload, references, Tokenizer.load(model), settings)


def test_wrong_answers_give_no_figures(workload: Workload, model_dir: Path) -> None:
    references = (Reference((0,) * 8, (1.0,) * 8),) * len(workload.prompts)
    record = _bench(model_dir, workload, references).launch(Entry("dummy", "dummy"))
    assert "wrong answers, the first: it counted" in record["error"]
    assert record["values"] == {} and record["checks"]["exact"] == 0
    assert record["steps"]  # what was measured is kept


@pytest.fixture(scope="module")
def references(model_dir: Path, workload: Workload) -> tuple[Reference, ...]:
    job = _job("reference", workload=workload.to_dict()) | {"model": str(model_dir)}
    return read_references(check_result(run_worker(job, 300), "The reference")["answers"])


@pytest.mark.parametrize("engine", ["torch", "mistralrs"])
def test_a_right_engine_gives_every_figure(
    engine: str, workload: Workload, model_dir: Path, references: tuple[Reference, ...]
) -> None:
    record = _bench(model_dir, workload, references).launch(Entry(engine, engine, {}, 2e-3))
    assert record["error"] is None, record
    assert record["checks"]["wrong"] == 0 < record["checks"]["exact"]
    assert record["settings"]["dtype"] == "float32"
    always = {"ttft", "prefill", "memory", "load", "cpu_per_token_1", "cpu_per_token_2"}
    assert always <= set(record["values"])  # on a busy machine noise may leave no decode rate
    assert all(value > 0 for values in record["values"].values() for value in values)


def test_a_claimed_reference_of_another_prompt_fails_a_right_engine(
    workload: Workload, model_dir: Path, references: tuple[Reference, ...]
) -> None:
    bench = _bench(model_dir, workload, tuple(reversed(references)))
    assert "wrong answers" in bench.launch(Entry("mistralrs", "mistralrs"))["error"]
