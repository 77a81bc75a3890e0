"""What the smaller commands of ``airust bench`` print; `engines` is tested with the benchmarks."""

import json

import pytest

from airust.bench import child, compare
from airust.bench.statistics import Interval

CEILINGS = {
    "threads": 2,
    "bandwidth": {"4000000": 100.0, "256000000": 20.0},
    "matmul_fp32": 200.0,
    "matmul_bf16": 400.0,
    "matmul_int8": 800.0,
}


@pytest.fixture
def measured(monkeypatch):
    """Note the job instead of measuring."""
    jobs = []

    def run_worker(job, timeout_s):
        jobs.append(job)
        return {"error": None, "ceilings": CEILINGS}

    monkeypatch.setattr(child, "run_worker", run_worker)
    return jobs


def test_ceilings_as_a_table(airust, measured):
    done = airust("bench", "ceilings", "--parameters", "1000000", "--cores", "1")
    assert done.exit_code == 0
    (job,) = measured
    assert job["threads"] == 1 and {2_000_000, 4_000_000} <= set(job["working_sets"])
    for text in (
        "4.00 MB",
        "100 GB/s",
        "200 GFLOP/s",
        "800 GOP/s",
        "float32, 1 streams",
        "25,000 tokens/s",
    ):
        assert text in done.stdout, done.stdout


def test_ceilings_for_other_programs(airust, measured):
    assert json.loads(airust("bench", "ceilings", "--json").stdout) == CEILINGS


def _change(engine, verdict, estimate):
    interval = Interval(estimate, 0.9 * estimate, 1.1 * estimate, 5)
    return compare.Change(
        "tiny", "decode_1", "Decode rate, 1 stream", "tokens/s", engine, interval, 1.05, verdict
    )


@pytest.fixture
def compared(monkeypatch):
    """Two runs that differ in known ways; the options that were asked for."""
    asked = []
    monkeypatch.setattr(compare, "read_results", lambda path: path.name)

    def found(before, after, against):
        asked.append((before, after, against))
        return [_change("torch", "faster", 1.5), _change("other", "no difference", 1.0)]

    monkeypatch.setattr(compare, "compare", found)
    monkeypatch.setattr(compare, "drift_notes", lambda before, after: ["torch: 1 before, 2 after."])
    return asked


def test_compare_shows_what_changed_and_counts_the_rest(airust, compared):
    done = airust("bench", "compare", "a.json", "b.json", "--against", "llamacpp")
    assert done.exit_code == 0
    assert compared == [("a.json", "b.json", "llamacpp")]
    for text in ("1.50x", "1.35 to 1.65", "faster: 1; no difference: 1", "- torch: 1 before"):
        assert text in done.stdout, done.stdout
    assert "other" not in done.stdout
    assert "other" in airust("bench", "compare", "a.json", "b.json", "--all").stdout


def test_compare_for_other_programs(airust, compared):
    found = json.loads(airust("bench", "compare", "a.json", "b.json", "--json").stdout)
    assert [change["verdict"] for change in found["changes"]] == ["faster", "no difference"]
    assert found["changes"][0]["ratio"]["low"] == pytest.approx(1.35)


def test_a_run_that_is_not_there_is_one_sentence(airust):
    done = airust("bench", "compare", "a.json", "b.json")
    assert done.exit_code == 2
    assert "Cannot read 'a.json'" in done.stderr
