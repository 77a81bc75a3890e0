"""The whole report: what it refuses, what a failure leaves, and one real run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from airust.bench import report, tables
from airust.bench.parameters import Parameters
from airust.bench.progress import Progress, tell, watched
from airust.bench.report import run_report
from airust.bench.session import choose_engines
from airust.types import AirustError, UserError

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
QUICK = {"launches": 2, "streams": [1, 2], "repeats": 1, "parity_prompts": 4, "parity_tokens": 8}


def _template(path: Path, *sources: str) -> Path:
    """A notebook with the report's parameters cell and other cells behind it."""
    original = nbformat.read(report.find_notebook(), as_version=4)
    cells = [c for c in original.cells if "parameters" in c.metadata.get("tags", [])]
    cells += [new_code_cell(source) for source in sources]
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), path)
    return path


def test_an_unknown_parameter_fails_before_anything_is_written(
    model_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match="Unknown parameter 'lunches'; the report knows: model,"):
        run_report(model_dir, out, parameters={"lunches": 5})
    assert not out.exists()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"launches": 0}, "launches is 0"),
        ({"threads": 10_000}, "threads is 10000 but must be a whole number, between 1 and"),
        ({"prompt_tokens": 100_000}, "do not fit into a context of 256"),
        ({"streams": 5}, "streams is 5 but must be a list"),
        ({"launches": "many"}, "launches is 'many' but must be a whole number, at least 1"),
        ({"repeats": 1.5}, "repeats is 1.5"),
        ({"seconds_per_launch": 0}, "seconds_per_launch is 0"),
        ({"out": "elsewhere"}, "argument of its own"),
    ],
)
def test_a_parameter_that_cannot_be_is_the_users_mistake(
    model_dir: Path, tmp_path: Path, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run_report(model_dir, tmp_path / "out", parameters=parameters)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("engines", "message"),
    [
        (["nonsense"], "There is no engine 'nonsense'"),
        ([], "at least one"),
        (["torch"] * 2, "diff"),
    ],
)
def test_unknown_engines_are_the_users_mistake(
    model_dir: Path, tmp_path: Path, engines: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run_report(model_dir, tmp_path / "out", engines)


def test_the_baseline_comes_first_and_the_echo_is_not_measured() -> None:
    assert choose_engines(["mistralrs", "torch"]) == ["torch", "mistralrs"]
    found = choose_engines(None)
    assert found[0] == "torch" and "dummy" not in found


def test_a_folder_without_a_model_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json is missing"):
        run_report(tmp_path, tmp_path / "out")


def test_a_folder_that_cannot_be_made_is_the_users_mistake(model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="Cannot write to"):
        run_report(model_dir, tmp_path / "file" / "out")


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="a place where not even root may write")
def test_a_read_only_folder_is_the_users_mistake(model_dir: Path) -> None:
    with pytest.raises(UserError, match="Cannot write to"):
        run_report(model_dir, Path("/sys/airust"))


def test_a_failure_leaves_what_was_found_and_the_reason(model_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = "import json, pathlib; pathlib.Path(out, 'results.json').write_text('{\"found\": 1}')"
    template = _template(tmp_path / "t.ipynb", found, "raise RuntimeError('the disk is on fire')")
    (out / "figures").mkdir(parents=True)
    for name in ("figures/overview.png", "summary.md", "report.html", "mine.txt"):
        (out / name).write_text("of an earlier report")
    with pytest.raises(AirustError, match="The report failed: the disk is on fire") as caught:
        run_report(model_dir, out, template=template)
    assert not isinstance(caught.value, UserError)
    results = json.loads((out / "results.json").read_text())
    assert results == {"found": 1, "error": "the disk is on fire"}
    assert "the disk is on fire" in (out / "summary.md").read_text()
    assert "the disk is on fire" in (out / "report.html").read_text()
    assert not (out / "figures" / "overview.png").exists()
    assert (out / "mine.txt").exists()
    assert not (out / ".progress").exists()


def test_a_users_mistake_inside_the_notebook_stays_one(model_dir: Path, tmp_path: Path) -> None:
    source = "from airust.types import UserError\nraise UserError('not like this')"
    template = _template(tmp_path / "t.ipynb", source)
    with pytest.raises(UserError, match="not like this"):
        run_report(model_dir, tmp_path / "out", template=template)


INTERRUPTED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from airust.bench.report import run_report
try:
    run_report(Path(sys.argv[2]), Path(sys.argv[3]), template=Path(sys.argv[4]))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_ctrl_c_ends_everything_and_keeps_what_was_found(model_dir: Path, tmp_path: Path) -> None:
    source = "import time, pathlib; pathlib.Path(out, 'up').touch(); time.sleep(600)"
    template = _template(tmp_path / "t.ipynb", "print('early')", source)
    root, out = str(Path(report.__file__).parents[2]), tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, root, str(model_dir), str(out), str(template)],
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 120
    while not (out / "up").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    kernels = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors.decode()
    _, alive = psutil.wait_procs(kernels, timeout=30)
    assert kernels and not alive
    assert json.loads((out / "results.json").read_text())["error"] == "It was stopped."
    assert "early" in (out / "report.html").read_text()


def test_progress_reaches_the_caller(tmp_path: Path) -> None:
    seen: list[Progress] = []
    path = tmp_path / ".progress"
    with watched(path, seen.append):
        tell(path, "parity", 0.0)
        tell(path, "parity", 0.5, "torch")
        tell(path, "figures", 1.0)
    assert [progress.stage for progress in seen] == ["parity", "parity: torch", "figures"]
    assert [progress.fraction for progress in seen] == [0.0, 0.11, 1.0]
    assert not path.exists()


@pytest.mark.parametrize("value", ["reports/other", 5, [5]])
def test_what_is_no_list_of_folders_is_one_sentence(value: object) -> None:
    with pytest.raises(UserError, match=r"^compare is .* but must be a list"):
        Parameters("m", "o", compare=value)  # type: ignore[arg-type]


def test_the_command_makes_the_same_report() -> None:
    given = Parameters("runs/tiny", "reports/x y", ("torch", "mistralrs"), launches=5, streams=(1,))
    assert given.command() == (
        "airust report --model runs/tiny --out 'reports/x y' --engines torch,mistralrs "
        "--set launches=5 --set 'streams=[1]'"
    )
    assert Parameters("m", "o").command() == "airust report --model m --out o"


@pytest.mark.parametrize(
    "engines", [["mistralrs"], pytest.param(None, marks=pytest.mark.full)], ids=["one", "all"]
)
def test_a_whole_report(
    engines: list[str] | None,
    model_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    check_offline: Callable[[Path], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[Progress] = []
    paths = run_report(model_dir, Path("out"), engines, QUICK, seen.append)
    results = json.loads(paths.results.read_text("utf-8"))
    names = choose_engines(engines)
    labels = [*names, f"{names[0]} (A/A)"]

    found = results["parity"]["engines"]
    assert [(e["engine"], e["status"]) for e in found] == [(name, "passed") for name in names]
    assert [e["label"] for e in results["entries"]] == labels
    assert all(e["reason"] is None for e in results["entries"]), results["entries"]
    assert len(results["launches"]) == 2 * len(labels)
    assert sum(launch["checks"]["wrong"] for launch in results["launches"]) == 0
    for key in ("ttft", "prefill", "memory", "load"):
        metric = results["summary"][key]
        assert set(metric["engines"]) == set(labels)
        for value in metric["engines"].values():
            assert 0 < value["low"] <= value["estimate"] <= value["high"]
        assert metric["aa_band"] >= 1
    assert results["command"].endswith("--set parity_tokens=8")
    raw = (tmp_path / "out" / "launches.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in raw] == results["launches"]

    assert paths.summary.read_text("utf-8") == tables.summary(results)
    assert paths.overview.is_file()
    check_offline(paths.html)
    page = paths.html.read_text("utf-8")
    assert "<em>Not measured yet" not in page and "Traceback" not in page
    assert str(tmp_path) not in page
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions) and len(fractions) > 10
