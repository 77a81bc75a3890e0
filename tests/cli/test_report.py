"""What the command passes on and prints; the report itself is tested with the benchmarks."""

import pytest

from airust.bench import report
from airust.types import AirustError


@pytest.fixture
def asked(monkeypatch):
    """Note what run_report is asked instead of measuring."""
    calls = []

    def run_report(model, out, engines, parameters, progress):
        progress(report.Progress("timing", 0.5))
        calls.append((model, out, engines, parameters))
        if parameters.get("break"):
            raise AirustError("The report failed.")
        return report.ReportPaths(out)

    monkeypatch.setattr(report, "run_report", run_report)
    return calls


def test_the_page_is_printed_for_other_programs(airust, asked, tmp_path):
    done = airust("report", "--model", str(tmp_path), "--out", "reports/x")
    assert (done.exit_code, done.stdout.split()) == (0, ["reports/x/report.html"])
    assert "results.json" in done.stderr
    assert asked[0][2:] == (None, {})


def test_engines_and_parameters_are_passed_on(airust, asked, tmp_path):
    values = ("--set", "launches=5", "-p", "streams=[1,4]", "-p", "note=warm start")
    done = airust("report", "-m", str(tmp_path), "-o", "r", "--engines", "torch, dummy", *values)
    assert done.exit_code == 0
    parameters = {"launches": 5, "streams": [1, 4], "note": "warm start"}
    assert asked[0][2:] == (["torch", "dummy"], parameters)


def test_a_failed_report_is_exit_1(airust, asked, tmp_path):
    done = airust("report", "-m", str(tmp_path), "-o", "r", "--set", "break=true")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Error: The report failed.\n" in done.stderr


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--set", "launches"], "NAME=VALUE"),
        (["--set", "=5"], "NAME=VALUE"),
        (["--set", "a=1", "--set", "a=2"], "given twice"),
        (["--engines", " "], "at least one name"),
    ],
)
def test_mistakes(airust, asked, tmp_path, args, sentence):
    done = airust("report", "--model", str(tmp_path), "--out", "r", *args)
    assert (done.exit_code, asked) == (2, [])
    assert sentence in done.stderr


def test_a_missing_model_is_said_before_anything_else(airust, asked):
    done = airust("report", "--model", "no/such", "--out", "r")
    assert (done.exit_code, asked) == (2, [])
    assert "airust train --preset tiny" in done.stderr


def test_an_unknown_parameter_fails(airust, model_dir, tmp_path):
    args = ("--out", str(tmp_path / "r"), "--set", "warp=9")
    done = airust("report", "--model", str(model_dir), *args)
    assert (done.exit_code, (tmp_path / "r").exists()) == (2, False)
    assert "Unknown parameter 'warp'" in done.stderr
