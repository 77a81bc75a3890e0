"""One call makes a report: papermill runs the notebook, and what it found becomes files.

    out/report.ipynb    the executed notebook
    out/report.html     the same as one file that needs no network
    out/summary.md      the figures on one page
    out/results.json    everything, machine-readable
    out/launches.jsonl  one raw record a launch, written as it comes
    out/figures/*.png

A notebook that fails leaves what it had found so far, with the reason in results.json.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airust.bench.html import write_html
from airust.bench.learning import read_others
from airust.bench.notebook import NotebookFailure, run_notebook
from airust.bench.parameters import Parameters
from airust.bench.progress import Progress, watched
from airust.bench.session import (
    LAUNCHES_FILE,
    PROGRESS_FILE,
    RESULTS_FILE,
    choose_engines,
)
from airust.bench.tables import summary
from airust.gpt.checkpoint import write_atomic, write_json
from airust.types import AirustError, UserError

NAME = "engine_benchmark"


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """Where a report's files are."""

    folder: Path

    @property
    def notebook(self) -> Path:
        """The executed notebook."""
        return self.folder / "report.ipynb"

    @property
    def html(self) -> Path:
        """The report as one offline page."""
        return self.folder / "report.html"

    @property
    def results(self) -> Path:
        """Everything that was found, as JSON."""
        return self.folder / RESULTS_FILE

    @property
    def summary(self) -> Path:
        """The figures on one page of Markdown."""
        return self.folder / "summary.md"

    @property
    def overview(self) -> Path:
        """The report in one picture."""
        return self.folder / "figures" / "overview.png"


def run_report(
    model: Path,
    out: Path,
    engines: Sequence[str] | None = None,
    parameters: dict[str, Any] | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    template: Path | None = None,
) -> ReportPaths:
    """Run the benchmark notebook on a model.

    Args:
        engines: None for every engine that is installed.
        parameters: further parameters of the notebook by name, for instance ``{"launches": 5}``.
        progress: called from another thread whenever something was done.
        template: a notebook other than the benchmark's own.

    Raises:
        UserError: a parameter is unknown or does not fit, an engine is unknown, there is no
            model, or ``out`` cannot be written.
        AirustError: the notebook failed; its partial result is in ``out``.
    """
    notebook = template or find_notebook()
    values = {
        "model": _short(model),
        "out": _short(out),
        "engines": None if engines is None else list(engines),
    } | _further(parameters or {})
    _check(values)
    paths = ReportPaths(out)
    _prepare(paths)
    with watched(out / PROGRESS_FILE, progress):
        try:
            run_notebook(notebook, paths.notebook, values)
        except NotebookFailure as failure:
            _keep_partial(paths, str(failure))
            kind = UserError if failure.user_error else AirustError
            raise kind(f"The report failed: {failure} What was found is in '{out}'.") from failure
        except KeyboardInterrupt:
            _keep_partial(paths, "It was stopped.")
            raise
    _finish(paths)
    return paths


def find_notebook(name: str = NAME) -> Path:
    """The notebook of a report: in the repository, or beside this file in an installed package.

    Raises:
        AirustError: it is in neither place.
    """
    here = Path(__file__).resolve()
    places = (here.parents[2] / "notebooks" / "reports", here.parent / "notebooks")
    for place in places:
        if (place / f"{name}.ipynb").is_file():
            return place / f"{name}.ipynb"
    raise AirustError(f"The notebook {name}.ipynb is missing from this installation.")


def _short(path: Path) -> str:
    """A path as it goes into the report: relative where it can be, so that it names no machine."""
    try:
        return path.resolve().relative_to(Path.cwd().resolve()).as_posix()
    except ValueError:
        return str(path)


def _further(parameters: dict[str, Any]) -> dict[str, Any]:
    taken = {"model", "out", "engines"} & set(parameters)
    if taken:
        raise UserError(f"{min(taken)} is not given as a parameter but as an argument of its own.")
    return parameters


def _check(values: dict[str, Any]) -> None:
    """Refuse before anything is written what the notebook would fail on."""
    known = Parameters.__dataclass_fields__
    for name in values:
        if name not in known:
            raise UserError(f"Unknown parameter '{name}'; the report knows: {', '.join(known)}.")
    try:
        given = Parameters(**values)
        given.spec()
    except TypeError as error:
        raise UserError(f"A parameter has the wrong type: {error}.") from error
    choose_engines(given.engines)
    read_others(given.compare)


def _prepare(paths: ReportPaths) -> None:
    """Make the folder and take away what an earlier report left there."""
    try:
        paths.folder.mkdir(parents=True, exist_ok=True)
        for name in (LAUNCHES_FILE, PROGRESS_FILE):
            (paths.folder / name).unlink(missing_ok=True)
        for path in (paths.notebook, paths.html, paths.results, paths.summary):
            path.unlink(missing_ok=True)
        for figure in (paths.folder / "figures").glob("*.png"):
            figure.unlink()
    except OSError as error:
        raise UserError(f"Cannot write to '{paths.folder}': {error.strerror or error}.") from error


def _finish(paths: ReportPaths) -> None:
    results = json.loads(paths.results.read_text("utf-8"))
    write_atomic(paths.summary, lambda p: p.write_text(summary(results), "utf-8"))
    write_html(paths.notebook, paths.html)


def _keep_partial(paths: ReportPaths, reason: str) -> None:
    """results.json with the reason, and as much of the pages as there is."""
    results: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        results = json.loads(paths.results.read_text("utf-8"))
    with contextlib.suppress(UserError):  # a full disk must not hide the reason
        write_json(paths.results, results | {"error": reason})
        text = f"# This report is not complete\n\n{reason}\n"
        write_atomic(paths.summary, lambda p: p.write_text(text, "utf-8"))
        if paths.notebook.is_file():
            write_html(paths.notebook, paths.html)
