"""What the command passes on and prints; the report itself is tested with the benchmarks."""

from pathlib import Path

import pytest

from airust.bench import report
from airust.bench.pace import Status
from airust.types import AirustError


@pytest.fixture
def asked(monkeypatch):
    """Note what run_report is asked instead of measuring."""
    calls = []

    def run_report(name, out, parameters, progress, resume):
        progress(Status("timing", 1.0, 1.0))
        calls.append((name, out, parameters, resume))
        if parameters.get("break"):
            raise AirustError("The report failed.")
        return report.ReportPaths(out)

    monkeypatch.setattr(report, "run_report", run_report)
    return calls


def test_the_page_is_printed_for_other_programs(airust, asked, tmp_path):
    done = airust("report", "--model", str(tmp_path), "--out", "reports/x")
    assert (done.exit_code, done.stdout.split()) == (0, ["reports/x/report.html"])
    assert "results.json" in done.stderr
    assert asked == [("engine_comparison", Path("reports/x"), {"models": [str(tmp_path)]}, False)]


def test_engines_and_parameters_are_passed_on(airust, asked, tmp_path):
    values = ("--set", "launches=5", "-p", "streams=[1,4]", "-p", "note=warm start")
    done = airust("report", "-m", str(tmp_path), "-o", "r", "--engines", "torch, dummy", *values)
    assert done.exit_code == 0
    parameters = {"launches": 5, "streams": [1, 4], "note": "warm start"}
    parameters |= {"models": [str(tmp_path)], "engines": ["torch", "dummy"]}
    assert asked[0][2:] == (parameters, False)


def test_quick_is_less_of_everything_but_what_is_given(airust, asked, tmp_path):
    words = ("report", "-m", str(tmp_path), "-o", "r", "--quick", "--set", "launches=2")
    assert airust(*words).exit_code == 0
    parameters = asked.pop()[2]
    assert (parameters["launches"], parameters["tune_s"]) == (2, 0)
    assert airust("report", "training_scaling", "-o", "r", "--quick").exit_code == 0
    assert asked.pop()[2] == {"launches": 3, "budget_s": 90}


def test_other_reports_have_one_model_or_none(airust, asked, tmp_path):
    assert airust("report", "training_scaling", "-o", "r", "--resume").exit_code == 0
    assert asked.pop() == ("training_scaling", Path("r"), {}, True)
    assert airust("report", "serving_load", "-m", str(tmp_path), "-o", "r").exit_code == 0
    assert asked.pop()[2] == {"model": str(tmp_path)}


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


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ([], "Say with --out where"),
        (["--matrix", "no.toml"], "Cannot read 'no.toml'"),
        (["--matrix", "no.toml", "--out", "r"], "A matrix says everything itself"),
        (["--matrix", "no.toml", "--runner", "slurm"], "must be here or ray"),
    ],
)
def test_mistakes_with_a_matrix(airust, asked, args, sentence):
    done = airust("report", *args)
    assert (done.exit_code, asked) == (2, [])
    assert sentence in done.stderr
