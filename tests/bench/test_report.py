"""The whole report: what it refuses, what a failure leaves, and real runs."""

from __future__ import annotations

import json
import re
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

from airust.bench import report
from airust.bench.engine_tables import summary_page
from airust.bench.kinds import MEASURE, Report, make_plan, measurement
from airust.bench.pace import Status
from airust.bench.progress import tell, watched
from airust.bench.report import find_notebook, run_report
from airust.bench.tables import number
from airust.types import AirustError, UserError

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
NAME = "engine_comparison"
QUICK = {
    "launches": 1, "streams": [1, 2], "repeats": 1, "parity_prompts": 2, "parity_tokens": 8,
    "prefill_tokens": 64, "new_tokens": 8, "tune_s": 0.0, "text_tokens": 16,
}  # fmt: skip


def _template(path: Path, *sources: str) -> Path:
    """A notebook with the report's parameters cell and other cells behind it."""
    original = nbformat.read(find_notebook(NAME), as_version=4)
    cells = [c for c in original.cells if "parameters" in c.metadata.get("tags", [])]
    cells += [new_code_cell(source) for source in sources]
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), path)
    return path


def _run(model: Path, out: Path, /, **given: Any) -> report.ReportPaths:
    template = given.pop("template", None)
    return run_report(NAME, out, {"models": [str(model)]} | given, template=template)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"lunches": 5}, "Unknown parameter 'lunches'; the report knows: models,"),
        ({"launches": 0}, "launches is 0"),
        ({"cores": 10_000}, "cores is 10000 but must be a whole number, between 1 and"),
        ({"streams": 5}, r"streams is 5 but must be a list, such as \[...\]"),
        ({"launches": "many"}, "launches is 'many' but must be a whole number, at least 1"),
        ({"repeats": 1.5}, "repeats is 1.5"),
        ({"launch_s": "long"}, "has the wrong type"),
        ({"out": "elsewhere"}, "argument of its own"),
        ({"text": "no/such.txt"}, "There is no text file"),
    ],
)
def test_a_parameter_that_cannot_be_is_the_users_mistake(
    model_dir: Path, tmp_path: Path, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        _run(model_dir, tmp_path / "out", **parameters)
    assert not (tmp_path / "out").exists()


def test_an_unknown_report_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no report 'weather'; there are: engine_comp"):
        run_report("weather", tmp_path / "out")


def test_a_folder_that_cannot_be_made_is_the_users_mistake(model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="Cannot write to"):
        _run(model_dir, tmp_path / "file" / "out")


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="a place where not even root may write")
def test_a_read_only_folder_is_the_users_mistake(model_dir: Path) -> None:
    with pytest.raises(UserError, match="Cannot write to"):
        _run(model_dir, Path("/sys/airust"))


def test_a_failure_leaves_what_was_found_and_the_reason(model_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = "import json, pathlib; pathlib.Path(out, 'results.json').write_text('{\"found\": 1}')"
    template = _template(tmp_path / "t.ipynb", found, "raise RuntimeError('the disk is on fire')")
    (out / "figures").mkdir(parents=True)
    for name in ("figures/overview.png", "summary.md", "report.html", "mine.txt"):
        (out / name).write_text("of an earlier report")
    with pytest.raises(AirustError, match="The report failed: the disk is on fire") as caught:
        _run(model_dir, out, template=template)
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
        _run(model_dir, tmp_path / "out", template=template)


INTERRUPTED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from airust.bench.report import run_report
try:
    given = {"models": [sys.argv[2]]}
    run_report("engine_comparison", Path(sys.argv[3]), given, template=Path(sys.argv[4]))
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
    seen: list[Status] = []
    path = tmp_path / ".progress"
    with watched(path, seen.append):
        tell(path, Status("parity: torch", 0.0, 9.5))
        tell(path, Status("figures", 9.0, 0.5))
    assert seen == [Status("parity: torch", 0.0, 9.5), Status("figures", 9.0, 0.5)]
    assert not path.exists()


def _parameters(name: str) -> dict[str, Any]:
    (cell,) = [
        c
        for c in nbformat.read(find_notebook(name), as_version=4).cells
        if "parameters" in c.metadata.get("tags", [])
    ]
    given: dict[str, Any] = {}
    exec(cell.source, given)
    return given


def test_the_command_makes_the_same_report(model_dir: Path) -> None:
    given = _parameters(NAME) | {"models": ["runs/x y"], "launches": 7, "out": "reports/z"}
    given["engines"] = ["torch"]
    assert Report(NAME, given).command() == (
        "```bash\nairust report engine_comparison --out reports/z --set 'models=[\"runs/x y\"]' "
        "--set 'engines=[\"torch\"]' --set launches=7\n```"
    )


def test_a_random_model_is_made_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kind = measurement(NAME)
    plan = make_plan(kind, {"models": ["runs/random-qwen3-1m"], "out": "o"})
    assert (tmp_path / plan.models[0] / "model.safetensors").is_file()


def test_nothing_measured_is_nothing_to_show(model_dir: Path, tmp_path: Path) -> None:
    given = _parameters(NAME) | {"models": [str(model_dir)], "out": str(tmp_path), MEASURE: False}
    with pytest.raises(UserError, match="There is nothing to show in"):
        Report(NAME, given).measure()


def _words(notebook: Path) -> str:
    """All Markdown that the executed notebook shows."""
    node = nbformat.read(notebook, as_version=4)
    outputs = [o for c in node.cells for o in c.get("outputs", [])]
    return "\n".join(o["data"].get("text/markdown", "") for o in outputs if "data" in o)


def _check_pages(paths: report.ReportPaths, check_offline: Callable[[Path], None]) -> None:
    check_offline(paths.html)
    page = paths.html.read_text("utf-8")
    assert "<em>Not measured yet" not in page and "Traceback" not in page
    assert page.count("<img") >= 1 and list((paths.folder / "figures").glob("*.png"))


@pytest.mark.parametrize(
    "engines", [["mistralrs"], pytest.param([], marks=pytest.mark.full)], ids=["one", "all"]
)
def test_a_whole_report(
    engines: list[str],
    model_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    check_offline: Callable[[Path], None],
    check_numbers: Callable[..., None],
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[Status] = []
    given = {"models": [str(model_dir)], "engines": engines, **QUICK}
    paths = run_report(NAME, Path("out"), given, seen.append)
    results = json.loads(paths.results.read_text("utf-8"))
    (model,) = results["models"]
    labels = [entry["label"] for entry in model["entries"]]
    assert all(entry["reason"] is None for entry in model["entries"]), model["entries"]
    assert len(model["launches"]) == len(labels) and labels[-1] == f"{labels[0]} (A/A)"
    assert sum(launch["checks"]["wrong"] for launch in model["launches"]) == 0
    assert all(found["error"] is None for found in model["quality"].values())
    assert set(model["summary"]["ttft"]["engines"]) == set(labels)
    assert paths.summary.read_text("utf-8") == summary_page(results)
    _check_pages(paths, check_offline)
    assert str(tmp_path) not in paths.notebook.read_text("utf-8").replace(str(model_dir), "")
    assert seen[-1].what == "figures" and len(seen) > 5
    # Shown again without measuring: the same figures, and the same records.
    raw = (tmp_path / "out" / "raw.jsonl").read_bytes()
    run_report(NAME, Path("out"), given | {MEASURE: False})
    again = json.loads(paths.results.read_text("utf-8"))
    assert again["models"] == results["models"]
    assert (tmp_path / "out" / "raw.jsonl").read_bytes() == raw
    derived = re.findall(
        r"[\d.,]+", Report(NAME, _parameters(NAME) | given | {"out": "o"}).command()
    )
    pairs = [a / b for a in _estimates(model) for b in _estimates(model) if b]
    ratios = [form for ratio in pairs for form in (f"{ratio:.2f}", number(ratio))]
    check_numbers(_words(paths.notebook), results, [*derived, *ratios, str(len(labels) - 1), "01"])


def _estimates(model: dict[str, Any]) -> list[float]:
    found = [v["estimate"] for m in model["summary"].values() for v in m["engines"].values()]
    return [
        *found,
        *(x for launch in model["launches"] for x in launch["values"].get("streamed_1", [])),
    ]


@pytest.mark.full
def test_a_report_of_training_and_one_of_serving(
    model_dir: Path, tmp_path: Path, check_offline: Callable[[Path], None]
) -> None:
    """Through papermill as a user gets them; what they measure is tested with their benches."""
    train = {"presets": ["smoke"], "threads": [1], "steps": 6, "launches": 1}
    paths = run_report("training_scaling", tmp_path / "train", train)
    _check_pages(paths, check_offline)
    assert json.loads(paths.results.read_text("utf-8"))["kind"] == "train"
    serve = {
        "model": str(model_dir), "serve": [], "engines": ["torch"], "concurrency": [1, 2],
        "requests": 3, "prompt_tokens": 32, "new_tokens": 6, "launches": 1, "cores": 1,
    }  # fmt: skip
    paths = run_report("serving_load", tmp_path / "serve", serve)
    _check_pages(paths, check_offline)
    assert json.loads(paths.results.read_text("utf-8"))["summary"]["concurrency_2"]


@pytest.mark.full
def test_a_report_of_quantisation(
    model_dir: Path, tmp_path: Path, check_offline: Callable[[Path], None]
) -> None:
    given = {"models": [str(model_dir)], "engines": ["torch", "torch:dtype=bfloat16"], **QUICK}
    # The rate of one stream is a difference of two times: answers of 8 tokens may give none.
    given |= {"new_tokens": 64, "repeats": 3}
    paths = run_report("quantisation", tmp_path / "out", given)
    _check_pages(paths, check_offline)
    words = _words(paths.notebook)
    assert "**torch:dtype=bfloat16** decodes" in words and "at a mean divergence of" in words
