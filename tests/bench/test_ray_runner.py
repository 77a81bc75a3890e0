"""A matrix on a real Ray cluster of this machine: one job at a time, also after a kill."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from airust.bench import ray_runner
from airust.bench.engine_plan import EnginePlan
from airust.bench.engine_results import build_results
from airust.bench.engine_tables import summary_page
from airust.bench.journal import read_records
from airust.bench.matrix import Matrix, Row, run_matrix
from airust.bench.ray_runner import BLOCKS, Job, Machine, RayRunner, merge
from airust.types import AirustError, EngineUnavailableError

SIZES: dict[str, Any] = {
    "streams": [1, 2], "prefill_tokens": 64, "prompt_tokens": 48, "new_tokens": 8, "launches": 2,
    "repeats": 1, "parity_prompts": 2, "parity_tokens": 8, "tune_s": 0.0, "cores": 1,
    "text_tokens": 0,
}  # fmt: skip
SCHEMA = Path(ray_runner.__file__).parent / "schemas" / "engines.json"


def valid(results: dict[str, Any]) -> None:
    Draft202012Validator(json.loads(SCHEMA.read_text("utf-8"))).validate(results)


def made(label: str, machine: Machine, model: Path, out: Path) -> Job:
    """A job as if it had measured the baseline and one engine, two blocks of each."""
    plan = EnginePlan((str(model),), str(out), ("torch", label), launches=2, cores=1)
    first = {
        "key": ["plan"], "created": "2026-01-02T03:04:05+00:00", "command": "x", "seconds": 1.0,
        "parameters": {name: getattr(plan, name) for name in plan.__slots__}, "fingerprint": {},
        "host": {}, "versions": {}, "missing": [], "models": [],
    }  # fmt: skip
    records: list[dict[str, Any]] = [first, {"key": ["ceilings", "before"], "ceilings": {}}]
    for name in ("torch", label):
        records.append({"key": ["parity", "m", name], "made by": label})
        records += [
            {"key": ["launch", "m", name, block], "block": block, "made by": label}
            for block in range(2)
        ]
    records.append({"key": ["end"], "reason": "All launches were made."})
    job = Job(label, machine, "engine_comparison", {})
    job.found = {"records": records, "started": 1.0, "ended": 2.0}
    return job


def test_journals_become_one_with_blocks_of_their_own(model_dir: Path, tmp_path: Path) -> None:
    machine = Machine("id", "machine 1", 2.0)
    jobs = [made(label, machine, model_dir, tmp_path) for label in ("mistralrs", "transformers")]
    jobs[1].lost.append("The worker died.")
    plan = EnginePlan((str(model_dir),), "o", ("torch", "mistralrs", "transformers"), launches=2)
    merge(jobs, plan, tmp_path / "out")
    records = read_records(tmp_path / "out" / "raw.jsonl")
    assert records[0]["parameters"]["engines"] == ["torch", "mistralrs", "transformers"]
    assert records[0]["command"].startswith("airust bench engines --model")
    keys = [json.dumps(record["key"]) for record in records]
    assert len(set(keys)) == len(keys)
    parity = [x["key"][2] for x in records if x["key"][0] == "parity"]
    assert parity == ["torch", "mistralrs", "transformers"]
    blocks: dict[str, list[int]] = {}
    for record in records:
        if record["key"][0] == "launch":
            assert record["key"][-1] == record["block"]
            blocks.setdefault(record["key"][2], []).append(record["block"])
    assert blocks == {
        "torch": [0, 1, BLOCKS, BLOCKS + 1], "mistralrs": [0, 1],
        "transformers": [BLOCKS, BLOCKS + 1],
    }  # fmt: skip
    told = [x for x in records if x["key"][0] == "job"]
    assert [(x["key"][1], x["attempts"]) for x in told] == [("mistralrs", 1), ("transformers", 2)]
    assert records[-1]["reason"] == "All launches were made. (2 jobs on a Ray cluster.)"


def test_what_the_others_found_is_kept_where_a_job_failed(model_dir: Path, tmp_path: Path) -> None:
    machine = Machine("id", "machine 1", 2.0)
    failed = Job("transformers", machine, "engine_comparison", {}, error="It broke.")
    plan = EnginePlan((str(model_dir),), "o", ("torch", "mistralrs", "transformers"))
    merge([failed, made("mistralrs", machine, model_dir, tmp_path)], plan, tmp_path / "out")
    records = read_records(tmp_path / "out" / "raw.jsonl")
    assert records[1]["error"] == "It broke." and records[1]["attempts"] == 0
    assert not any(record["key"][0] == "end" for record in records)  # not complete


def test_without_ray_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineUnavailableError, match=r"pip install 'airust\[ray\]'"):
        RayRunner()


@pytest.fixture
def cluster(parrots: str) -> Any:
    """Its workers know the engines of the tests, which are light."""
    with RayRunner() as found:
        yield found


def _row(model: Path, *engines: str, **changes: Any) -> Row:
    values = {"models": [str(model)], "engines": list(engines), **SIZES, **changes}
    return Row("engines", "engine_comparison", values)


@pytest.mark.full
def test_one_job_an_engine_never_two_at_once_and_one_report(
    cluster: RayRunner, reciter_dir: Path, tmp_path: Path
) -> None:
    row = _row(reciter_dir, "parrot", "serial", "slowing", launches=1)
    outcomes = run_matrix(
        Matrix(tmp_path, (row,)), measure=lambda row, folder: cluster.measure(row, folder)
    )
    assert [outcome.error for outcome in outcomes] == [None]
    results = json.loads((outcomes[0].folder / "results.json").read_text("utf-8"))
    valid(results)
    assert results["complete"] and "2 jobs on a Ray cluster" in results["ended"]
    (model,) = results["models"]
    timed = set(model["summary"]["ttft"]["engines"])
    assert timed == {"parrot", "serial", "slowing", "parrot (A/A)"}
    assert set(model["summary"]["ttft"]["ratios"]) == timed - {"parrot"}
    (first, second) = sorted(results["jobs"], key=lambda job: float(job["started"]))
    assert first["ended"] <= second["started"]  # all processors belong to one job
    assert {first["label"], second["label"]} == {"serial", "slowing"}
    assert (outcomes[0].folder / "report.html").is_file()


@pytest.mark.full
def test_a_killed_job_is_made_again_and_says_so(
    cluster: RayRunner, reciter_dir: Path, tmp_path: Path
) -> None:
    scratch = Path(tempfile.gettempdir()) / ray_runner.SCRATCH
    killed: list[int] = []

    def kill() -> None:
        """The worker of this run, as soon as it has made a launch."""
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and not killed:
            for raw in scratch.glob(f"{cluster.run}-*-parrot/raw.jsonl"):
                if '{"key": ["launch"' in raw.read_text("utf-8"):
                    killed.append(int((raw.parent / "pid").read_text("utf-8")))
                    os.kill(killed[0], signal.SIGKILL)
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    (folder,) = cluster.measure(_row(reciter_dir, "parrot", launches=3), tmp_path / "out")
    thread.join()
    results = json.loads(json.dumps(build_results(read_records(folder / "raw.jsonl"))))
    valid(results)
    assert killed and results["complete"]
    (job,) = results["jobs"]
    assert job["attempts"] == 2 and len(job["lost"]) == 1 and job["error"] is None
    assert "| parrot | machine 1 | 2 | lost: " in summary_page(results)
    assert len(results["models"][0]["launches"]) == 6


@pytest.mark.full
def test_a_job_that_fails_is_a_failure_with_its_reason(
    cluster: RayRunner, tmp_path: Path, reciter_dir: Path
) -> None:
    row = _row(reciter_dir, "parrot")
    (reciter_dir / "config.json").rename(reciter_dir / "away.json")
    try:
        with pytest.raises(AirustError, match=r"There is no model|config\.json"):
            cluster.measure(row, tmp_path / "out")
    finally:
        (reciter_dir / "away.json").rename(reciter_dir / "config.json")


def test_no_cluster_at_an_address_is_one_sentence() -> None:
    pytest.importorskip("ray")
    with pytest.raises(AirustError, match=r"^There is no Ray cluster at 127.0.0.1:1: .*refused"):
        RayRunner("127.0.0.1:1")
