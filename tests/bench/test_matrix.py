"""Several reports from one file, the index of all, and a cluster's journals as one."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airust.bench import matrix
from airust.bench.index import write_index
from airust.bench.kinds import MEASURE
from airust.bench.matrix import Row, folder_for, is_complete, read_matrix, run_matrix
from airust.bench.report import ReportPaths
from airust.types import AirustError, UserError

TODAY = datetime.date.today().isoformat()


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


RESULTS = {
    "kind": "train", "complete": True, "created": "2026-01-02T03:04:05", "presets": [],
}  # fmt: skip


def two(folder: Path) -> Path:
    return write(
        folder / "matrix.toml",
        f'out = "{folder / "reports"}"\n'
        '[[report]]\nname = "first"\nnotebook = "training_scaling"\n'
        '[report.parameters]\npresets = ["smoke"]\nsteps = 6\n'
        '[[report]]\nname = "second"\nnotebook = "training_scaling"\n',
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, dict[str, Any]]]:
    """Note what run_report is asked, and leave a complete report; "second" fails."""
    calls: list[tuple[str, str, dict[str, Any]]] = []

    def run_report(
        name: str,
        out: Path,
        parameters: dict[str, Any],
        progress: object = None,
        resume: bool = False,
    ) -> ReportPaths:
        calls.append((name, out.name, parameters))
        out.mkdir(parents=True, exist_ok=True)
        (out / "raw.jsonl").touch()
        results = RESULTS
        if "second" in out.name:
            (out / "results.json").write_text(json.dumps(results | {"error": "No <luck>."}))
            raise AirustError("No <luck>.")
        (out / "results.json").write_text(json.dumps(results))
        (out / "report.html").touch()
        return ReportPaths(out)

    monkeypatch.setattr(matrix, "run_report", run_report)
    return calls


def test_one_that_fails_does_not_hold_up_the_others(
    tmp_path: Path, asked: list[Any], check_offline: Callable[[Path], None]
) -> None:
    found = read_matrix(two(tmp_path))
    outcomes = run_matrix(found)
    assert [(o.row.name, o.error) for o in outcomes] == [("first", None), ("second", "No <luck>.")]
    assert [call[1] for call in asked] == [f"{TODAY}-first", f"{TODAY}-second"]
    assert asked[0][2] == {"presets": ["smoke"], "steps": 6}
    run_matrix(found)  # what is complete is left alone
    assert [call[1] for call in asked[2:]] == [f"{TODAY}-second"]
    run_matrix(found, force=True)
    assert len(asked) == 5
    index = tmp_path / "reports" / "index.html"
    check_offline(index)
    page = index.read_text("utf-8")
    assert f'<a href="{TODAY}-first/report.html">' in page
    assert "Not complete: No &lt;luck&gt;." in page
    text = (tmp_path / "reports" / "README.md").read_text("utf-8")
    assert f"[{TODAY}-first]({TODAY}-first/report.html) | training | 2026-01-02 |" in text


def test_a_run_goes_on_in_the_folder_of_an_earlier_day(tmp_path: Path) -> None:
    row = Row("engines", "engine_comparison")
    assert folder_for(row, tmp_path) == tmp_path / f"{TODAY}-engines"
    old = tmp_path / "2020-01-01-engines"
    old.mkdir()
    (old / "raw.jsonl").touch()
    assert folder_for(row, tmp_path) == old
    assert folder_for(row, tmp_path, force=True) == tmp_path / f"{TODAY}-engines"
    (tmp_path / "2020-01-01-more-engines").mkdir()
    assert folder_for(row, tmp_path) == old
    assert not is_complete(old)


def test_what_was_measured_elsewhere_is_only_shown(tmp_path: Path, asked: list[Any]) -> None:
    def measure(row: Row, folder: Path) -> list[Path]:
        return [folder, folder.with_name(f"{folder.name}-2")]

    first = read_matrix(two(tmp_path)).rows[:1]
    run_matrix(matrix.Matrix(tmp_path / "reports", first), measure=measure)
    assert [(call[1], call[2][MEASURE]) for call in asked] == [
        (f"{TODAY}-first", False),
        (f"{TODAY}-first-2", False),
    ]


HEAD = '[[report]]\nname = "a"\nnotebook = "training_scaling"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[report", "is not TOML"),
        ("", r"needs \[\[report\]\] tables"),
        (f"colour = 1\n{HEAD}", "it has no place for 'colour'"),
        ("[[report]]\nname = 'a'", "needs name and notebook"),
        (HEAD + "colour = 1", "needs name and notebook"),
        (HEAD.replace('"a"', '"../a"'), "must be of small letters"),
        (HEAD + HEAD, "gives two reports the same name"),
        (HEAD.replace("training_scaling", "weather"), "Report 'a': There is no report 'weather'"),
        (f"{HEAD}[report.parameters]\nsteps = 1", "Report 'a': steps is 1"),
        (f"{HEAD}[report.parameters]\nstep = 9", "Report 'a': Unknown parameter 'step'"),
    ],
)
def test_a_matrix_is_checked_before_anything_runs(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_matrix(write(tmp_path / "m.toml", text))


def test_a_missing_matrix_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read .*no\.toml"):
        read_matrix(tmp_path / "no.toml")


def test_the_matrix_of_make_bench_can_be_read(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = Path(__file__).parents[2] / "notebooks" / "reports" / "bench.toml"
    monkeypatch.setattr("airust.bench.kinds.random_model", lambda name: tmp_path)
    found = read_matrix(path)
    assert {row.notebook for row in found.rows} == {
        "engine_comparison", "serving_load", "training_scaling", "quantisation",
    }  # fmt: skip


def test_folders_that_hold_something_else_are_left_out(tmp_path: Path) -> None:
    for name, text in (("a", "{}"), ("b", "["), ("c", '{"kind": "engines"}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(text)
    (tmp_path / "empty").mkdir()
    write_index(tmp_path)
    assert "results.json" not in (tmp_path / "README.md").read_text("utf-8")
    write_index(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_the_index_tells_what_a_notebook_asks_and_how_a_summary_begins(tmp_path: Path) -> None:
    made = tmp_path / "2026-01-02-bits"
    made.mkdir()
    (made / "results.json").write_text(json.dumps(RESULTS))
    cells = [{"cell_type": "markdown", "source": ["# What do fewer bits cost?\n", "Much."]}]
    (made / "report.ipynb").write_text(json.dumps({"cells": cells}))
    other = tmp_path / "2026-01-03-load"
    other.mkdir()
    (other / "summary.md").write_text("# Load\n\nMade by\nanother script.\n\n| a | b |\n")
    write_index(tmp_path)
    text = (tmp_path / "README.md").read_text("utf-8")
    link = "2026-01-03-load/summary.md"
    bits = "2026-01-02-bits"
    assert (
        f"| [2026-01-03-load]({link}) | Load | 2026-01-03 | Made by another script. |\n"
        f"| [{bits}]({bits}/results.json) | What do fewer bits cost? | 2026-01-02 | "
    ) in text
