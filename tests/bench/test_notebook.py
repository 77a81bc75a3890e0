"""The notebook of the report, and how notebooks are run and turned into pages."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from airust.bench.html import write_html
from airust.bench.kinds import MEASURE, NOTEBOOKS
from airust.bench.notebook import NotebookFailure, parameter_names, run_notebook
from airust.bench.report import find_notebook
from airust.types import AirustError, UserError

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def _write(path: Path, *cells: Any) -> Path:
    nbformat.write(new_notebook(cells=list(cells), metadata=KERNEL), path)
    return path


def _parameters(source: str) -> Any:
    return new_code_cell(source, metadata={"tags": ["parameters"]})


@pytest.fixture(scope="module", params=sorted(NOTEBOOKS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def report(name: str) -> Any:
    return nbformat.read(find_notebook(name), as_version=4)


def test_the_committed_notebook_has_no_outputs(report: Any) -> None:
    nbformat.validate(report)
    for cell in report.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
    assert "widgets" not in report.metadata and "papermill" not in report.metadata


# A report's own choice, where the plan has none or another one.
OWN = {"models", "out", "engines", "model", "serve", "streams", "parity_prompts", "text_tokens"}
OWN |= {"exam_questions"}


def test_its_parameters_are_those_of_its_plan_with_the_same_defaults(
    report: Any, name: str
) -> None:
    (cell,) = [c for c in report.cells if "parameters" in c.metadata.get("tags", [])]
    given: dict[str, Any] = {}
    exec(cell.source, given)
    known = fields(NOTEBOOKS[name].plan)
    assert sorted(parameter_names(find_notebook(name))) == sorted(
        [*(field.name for field in known), MEASURE]
    )
    for field in known:
        value = given[field.name]
        value = tuple(value) if isinstance(value, list) else value
        if field.name not in OWN or (name == "engine_comparison" and field.default == value):
            assert field.default in (MISSING, value), field.name


def test_cells_are_small_and_the_prose_holds_no_measured_number(report: Any) -> None:
    for cell in report.cells:
        assert len(cell.source.splitlines()) <= 32
        if cell.cell_type == "markdown":
            assert not re.search(r"\d+(\.\d+)? ?(tokens/s|ms|GB|%)", cell.source)
    assert sum(cell.source.startswith("# ") for cell in report.cells) == 1


def test_every_figure_has_words(report: Any) -> None:
    calls = [line for c in report.cells for line in c.source.splitlines() if "show_figure(" in line]
    shown = [line for line in calls if "import" not in line]
    assert shown and all("alt" in line for line in shown)


def test_a_notebook_runs_with_its_parameters(tmp_path: Path) -> None:
    cells = [
        _parameters("number = 1  # a number: say 1\nwords = None  # or a list"),
        new_code_cell("import os, sys; print(sys.executable, number, words)"),
    ]
    notebook = _write(tmp_path / "in.ipynb", *cells)
    executed = tmp_path / "a {brace}" / "out.ipynb"
    executed.parent.mkdir()
    run_notebook(notebook, executed, {"number": 2, "words": ["水", None]})
    done = nbformat.read(executed, as_version=4)
    printed = "".join(o.text for cell in done.cells for o in cell.get("outputs", []))
    assert printed == f"{sys.executable} 2 ['水', None]\n"
    assert str(tmp_path) not in str(done.metadata)


def test_parameters_are_parsed_without_a_word(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """papermill would warn of each line of the parameters cell that it cannot parse."""
    node = nbformat.read(find_notebook(name), as_version=4)
    (cell,) = [c for c in node.cells if "parameters" in c.metadata.get("tags", [])]
    notebook = _write(tmp_path / "in.ipynb", _parameters(cell.source))
    run_notebook(notebook, tmp_path / "out.ipynb", {"launches": 3, "out": "o"})
    assert [record.getMessage() for record in caplog.records] == []


def test_an_unknown_parameter_fails(tmp_path: Path) -> None:
    notebook = _write(tmp_path / "in.ipynb", _parameters("number = 1"))
    with pytest.raises(UserError, match="Unknown parameter 'numbre'; the notebook has: number"):
        run_notebook(notebook, tmp_path / "out.ipynb", {"numbre": 2})


@pytest.mark.parametrize("count", [0, 2])
def test_a_notebook_needs_one_parameters_cell(tmp_path: Path, count: int) -> None:
    notebook = _write(tmp_path / "in.ipynb", *(_parameters("x = 1") for _ in range(count)))
    with pytest.raises(AirustError, match=f"has {count} parameters cells"):
        parameter_names(notebook)


def test_a_failing_cell_fails_and_leaves_the_cells_before_it(tmp_path: Path) -> None:
    cells = [_parameters("x = 1"), new_code_cell("print('early')"), new_code_cell("1 / 0")]
    notebook = _write(tmp_path / "in.ipynb", *cells)
    with pytest.raises(NotebookFailure, match="division by zero") as caught:
        run_notebook(notebook, tmp_path / "out.ipynb", {})
    assert not caught.value.user_error
    assert "early" in (tmp_path / "out.ipynb").read_text()


def test_a_dead_kernel_is_a_failure(tmp_path: Path) -> None:
    cells = [_parameters("x = 1"), new_code_cell("import os; os._exit(9)")]
    notebook = _write(tmp_path / "in.ipynb", *cells)
    with pytest.raises(NotebookFailure):
        run_notebook(notebook, tmp_path / "out.ipynb", {})


def test_a_page_needs_no_network_and_folds_the_code(
    tmp_path: Path, check_offline: Callable[[Path], None]
) -> None:
    figure = {"image/png": "iVBORw0KGgo=", "text/plain": "<Image>"}
    alt = {"image/png": {"alt": "a <small> figure"}}
    formula = new_markdown_cell("# A title & more\n\n$x^2$ https://example.org")
    table = {"text/markdown": "| a | b |\n|:--|--:|\n| 1 | 2 |"}
    outputs = [
        nbformat.v4.new_output("display_data", figure, metadata=alt),
        nbformat.v4.new_output("display_data", table),
        nbformat.v4.new_output("stream", name="stderr", text="a warning"),
    ]
    notebook = _write(
        tmp_path / "in.ipynb", formula, new_code_cell("secret = '<b>'", outputs=outputs)
    )
    page = tmp_path / "out.html"
    write_html(notebook, page)
    text = page.read_text("utf-8")
    check_offline(page)
    assert "<title>A title &amp; more</title>" in text
    assert "<details" in text and "secret = '&lt;b&gt;'" in text
    assert 'alt="a &lt;small&gt; figure"' in text
    assert "<table>" in text and "a warning" in text
