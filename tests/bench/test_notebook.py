"""The notebook of the report, and how notebooks are run and turned into pages."""

from __future__ import annotations

import ast
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
from airust.bench.notebook import NotebookFailure, parameter_names, run_notebook
from airust.bench.parameters import Parameters
from airust.bench.report import find_notebook
from airust.types import AirustError, UserError

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def _write(path: Path, *cells: Any) -> Path:
    nbformat.write(new_notebook(cells=list(cells), metadata=KERNEL), path)
    return path


def _parameters(source: str) -> Any:
    return new_code_cell(source, metadata={"tags": ["parameters"]})


@pytest.fixture(scope="module")
def report() -> Any:
    return nbformat.read(find_notebook(), as_version=4)


def test_the_committed_notebook_has_no_outputs(report: Any) -> None:
    nbformat.validate(report)
    for cell in report.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
    assert "widgets" not in report.metadata and "papermill" not in report.metadata


def test_its_parameters_are_those_of_the_session_with_the_same_defaults(report: Any) -> None:
    (cell,) = [c for c in report.cells if "parameters" in c.metadata.get("tags", [])]
    given: dict[str, Any] = {}
    exec(cell.source, given)
    assert parameter_names(find_notebook()) == tuple(field.name for field in fields(Parameters))
    for field in fields(Parameters):
        value = given[field.name]
        value = tuple(value) if isinstance(value, list) else value
        assert field.default in (MISSING, value), field.name


def test_every_parameter_reaches_the_session(report: Any) -> None:
    (source,) = [c.source for c in report.cells if "Parameters(" in c.source]
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    (call,) = [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "Parameters"]
    assert [k.arg for k in call.keywords] == list(parameter_names(find_notebook()))


def test_cells_are_small_and_the_prose_holds_no_measured_number(report: Any) -> None:
    for cell in report.cells:
        assert len(cell.source.splitlines()) <= 25
        if cell.cell_type == "markdown":
            assert not re.search(r"\d+(\.\d+)? ?(tokens/s|ms|GB|%)", cell.source)
    assert sum(cell.source.startswith("# ") for cell in report.cells) == 1


def test_parity_stands_before_the_first_timing(report: Any) -> None:
    source = "\n".join(cell.source for cell in report.cells)
    assert source.index("prove_parity") < source.index("session.run()")


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
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """papermill writes to stderr about each line of the parameters cell that it cannot parse."""
    node = nbformat.read(find_notebook(), as_version=4)
    (cell,) = [c for c in node.cells if "parameters" in c.metadata.get("tags", [])]
    notebook = _write(tmp_path / "in.ipynb", _parameters(cell.source))
    run_notebook(notebook, tmp_path / "out.ipynb", {"engines": ["torch"], "parity_prompts": 3})
    assert "".join(capfd.readouterr()) == ""


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
