"""One call makes a report: papermill runs a notebook, and what it found becomes files.

    out/report.ipynb    the executed notebook
    out/report.html     the same as one file that needs no network
    out/summary.md      the figures on one page
    out/results.json    everything, machine-readable, with a published schema
    out/raw.jsonl       every record, written as it comes
    out/figures/*.png

A notebook that fails leaves what it had found so far, with the reason in results.json.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airust.bench.html import write_html
from airust.bench.kinds import MEASURE, PROGRESS_FILE, make_plan, measurement
from airust.bench.notebook import NotebookFailure, run_notebook
from airust.bench.pace import Status
from airust.bench.progress import watched
from airust.bench.run_folder import RAW_FILE, RESULTS_FILE, SCRATCH, SUMMARY_FILE
from airust.files import write_json, write_text
from airust.types import AirustError, UserError


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
        return self.folder / SUMMARY_FILE


def run_report(
    name: str,
    out: Path,
    parameters: dict[str, Any] | None = None,
    progress: Callable[[Status], None] = lambda _: None,
    resume: bool = False,
    template: Path | None = None,
) -> ReportPaths:
    """Run a report's notebook.

    Args:
        name: a notebook of notebooks/reports, such as ``engine_comparison``.
        parameters: of the notebook, by name, for instance ``{"launches": 5}``.
        progress: called from another thread whenever something begins.
        resume: go on with what ``out`` holds, rather than begin anew.
        template: another notebook with the same parameters.

    Raises:
        UserError: a parameter is unknown or does not fit, or ``out`` cannot be written.
        AirustError: the notebook failed; its partial result is in ``out``.
    """
    given = parameters or {}
    if "out" in given:
        raise UserError("out is not given as a parameter but as an argument of its own.")
    values = given | {"out": short_path(out)}
    kind = measurement(name)
    make_plan(kind, {key: value for key, value in values.items() if key != MEASURE})
    notebook, paths = template or find_notebook(name), ReportPaths(out)
    _prepare(paths, keep=resume or not values.get(MEASURE, True))
    with watched(out / PROGRESS_FILE, progress):
        try:
            run_notebook(notebook, paths.notebook, values)
        except NotebookFailure as failure:
            _keep_partial(paths, str(failure))
            error = UserError if failure.user_error else AirustError
            raise error(f"The report failed: {failure} What was found is in '{out}'.") from failure
        except KeyboardInterrupt:
            _keep_partial(paths, "It was stopped.")
            raise
    write_html(paths.notebook, paths.html)
    return paths


def find_notebook(name: str) -> Path:
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


def short_path(path: Path) -> str:
    """A path as it goes into the report: relative where it can be, so that it names no machine."""
    try:
        return path.resolve().relative_to(Path.cwd().resolve()).as_posix()
    except ValueError:
        return str(path)


def _prepare(paths: ReportPaths, keep: bool) -> None:
    """Make the folder and take away what an earlier report left there."""
    try:
        paths.folder.mkdir(parents=True, exist_ok=True)
        (paths.folder / PROGRESS_FILE).unlink(missing_ok=True)
        for path in (paths.notebook, paths.html, paths.results, paths.summary):
            path.unlink(missing_ok=True)
        for figure in (paths.folder / "figures").glob("*.png"):
            figure.unlink()
        if not keep:
            (paths.folder / RAW_FILE).unlink(missing_ok=True)
            shutil.rmtree(paths.folder / SCRATCH, ignore_errors=True)
    except OSError as error:
        raise UserError(f"Cannot write to '{paths.folder}': {error.strerror or error}.") from error


def _keep_partial(paths: ReportPaths, reason: str) -> None:
    """results.json with the reason, and as much of the pages as there is."""
    results: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        results = json.loads(paths.results.read_text("utf-8"))
    with contextlib.suppress(UserError):  # a full disk must not hide the reason
        write_json(paths.results, results | {"error": reason})
        text = f"# This report is not complete\n\n{reason}\n"
        with contextlib.suppress(OSError):
            text += f"\n{paths.summary.read_text('utf-8')}"
        write_text(paths.summary, text)
        if paths.notebook.is_file():
            write_html(paths.notebook, paths.html)
