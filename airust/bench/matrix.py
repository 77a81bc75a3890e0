"""Several reports from one file, ``matrix.toml``:

    out = "reports"                    # folder for all of them; this one if it is left out

    [[report]]
    name = "engines"                   # reports/<date>-engines
    notebook = "engine_comparison"     # of notebooks/reports
    [report.parameters]                # as in the notebook's first cell
    models = ["runs/tiny", "runs/random-qwen3-100m"]

Each becomes a folder with the day in its name. A matrix that is run again goes on with the
folders that are not complete, and leaves those alone that are.
"""

from __future__ import annotations

import datetime
import json
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airust.bench.index import write_index
from airust.bench.kinds import MEASURE, make_plan, measurement
from airust.bench.pace import Status
from airust.bench.report import run_report, short_path
from airust.bench.run_folder import RAW_FILE, RESULTS_FILE
from airust.types import AirustError, UserError

DATE = r"\d{4}-\d{2}-\d{2}"
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Row:
    """One report of a matrix."""

    name: str
    notebook: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Matrix:
    """All reports, and the folder that they go to."""

    out: Path
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one report."""

    row: Row
    folder: Path
    error: str | None  # None: it is complete


# Measures a report elsewhere: folders with a raw.jsonl each, one a machine.
Measure = Callable[[Row, Path], list[Path]]


def read_matrix(path: Path) -> Matrix:
    """A matrix file, checked whole before anything runs.

    Raises:
        UserError: it cannot be read, or something in it does not fit.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"Cannot read '{path}': {error.strerror or error}.") from error
    except ValueError as error:
        raise UserError(f"'{path}' is not TOML: {error}.") from error
    unknown = set(values) - {"out", "report"}
    tables = values.get("report")
    if unknown or not isinstance(tables, list) or not tables:
        extra = f"; it has no place for '{min(unknown)}'" if unknown else ""
        raise UserError(f"'{path}' needs [[report]] tables and may have out{extra}.")
    rows = tuple(_row(path, number, table) for number, table in enumerate(tables, 1))
    if len({row.name for row in rows}) < len(rows):
        raise UserError(f"'{path}' gives two reports the same name.")
    matrix = Matrix(Path(values.get("out", "reports")), rows)
    for row in rows:
        check_row(row, matrix.out)
    return matrix


def _row(path: Path, number: int, table: dict[str, Any]) -> Row:
    try:
        row = Row(**table)
    except TypeError as error:
        raise UserError(
            f"Report {number} of '{path}' needs name and notebook, and may have parameters."
        ) from error
    if not isinstance(row.name, str) or not NAME.fullmatch(row.name):
        raise UserError(f"The name '{row.name}' must be of small letters, digits and hyphens.")
    return row


def check_row(row: Row, out: Path) -> Any:
    """The plan of a report.

    Raises:
        UserError: a parameter is unknown or does not fit; the message says of which report.
    """
    try:
        given = {key: value for key, value in row.parameters.items() if key != MEASURE}
        return make_plan(measurement(row.notebook), given | {"out": short_path(out / row.name)})
    except UserError as error:
        raise UserError(f"Report '{row.name}': {error}") from error


def folder_for(row: Row, out: Path, force: bool = False) -> Path:
    """The folder to go on with, or a new one of today.

    It is that of the newest run of this name, unless ``force`` asks for another one of today.
    """
    named = re.compile(f"{DATE}-{re.escape(row.name)}")
    known = sorted(p for p in out.glob("*") if named.fullmatch(p.name) and (p / RAW_FILE).is_file())
    if known and not force:
        return known[-1]
    return out / f"{datetime.date.today().isoformat()}-{row.name}"


def is_complete(folder: Path) -> bool:
    """The report in a folder was finished."""
    try:
        results = json.loads((folder / RESULTS_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return (
        bool(results.get("complete"))
        and "error" not in results
        and (folder / "report.html").is_file()
    )


def run_matrix(
    matrix: Matrix,
    progress: Callable[[Status], None] = lambda _: None,
    force: bool = False,
    measure: Measure | None = None,
) -> Sequence[Outcome]:
    """Every report in turn; one that fails does not hold up the others.

    Args:
        force: begin anew even where a report is complete.
        measure: measures elsewhere; the notebook then only shows what came back.
    """
    outcomes = []
    for row in matrix.rows:
        folder = folder_for(row, matrix.out, force)
        error = (
            None
            if is_complete(folder) and not force
            else _run(row, folder, progress, force, measure)
        )
        outcomes.append(Outcome(row, folder, error))
        write_index(matrix.out)
    return outcomes


def _run(
    row: Row, folder: Path, progress: Callable[[Status], None], force: bool, measure: Measure | None
) -> str | None:
    def told(status: Status) -> None:
        progress(Status(f"{row.name}: {status.what}", status.spent_s, status.left_s))

    try:
        if measure is None:
            run_report(row.notebook, folder, row.parameters, told, resume=not force)
            return None
        for place in measure(row, folder):
            run_report(row.notebook, place, row.parameters | {MEASURE: False}, told)
    except AirustError as error:
        return str(error)
    return None
