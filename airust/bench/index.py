"""A page that lists all reports in a folder: ``README.md`` and ``index.html``."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airust.bench.html import page
from airust.bench.kinds import MEASUREMENTS
from airust.bench.report import ReportPaths
from airust.files import write_text

TITLES = {"engines": "engines compared", "serve": "serving under load", "train": "training"}
LONGEST = 160  # characters of a beginning


@dataclass(frozen=True, slots=True)
class Line:
    """One report."""

    folder: str
    title: str
    created: str
    about: str  # the first sentence of its headline, or why there is none
    link: str  # of the page to read


def lines(reports: Path) -> Iterator[Line]:
    """Every folder with a summary or with the results of one of our measurements, newest first."""
    for folder in sorted((path for path in reports.glob("*") if path.is_dir()), reverse=True):
        line = _of_measurement(folder) or _of_summary(folder)
        if line is not None:
            yield line


def _of_measurement(folder: Path) -> Line | None:
    """A folder with a results.json that one of our measurements wrote."""
    paths = ReportPaths(folder)
    try:
        results = json.loads(paths.results.read_text("utf-8"))
        kind = MEASUREMENTS[results["kind"]]
        about, created = _about(results, kind), results["created"].partition("T")[0]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # something else, or of an older schema
    shown = next(filter(Path.is_file, (paths.html, paths.summary)), paths.results)
    title = _question(paths.notebook) or TITLES[results["kind"]]
    return Line(folder.name, title, created, about, f"{folder.name}/{shown.name}")


def _about(results: dict[str, Any], kind: Any) -> str:
    if "error" in results:
        return f"Not complete: {results['error']}"
    if not results["complete"]:
        return f"Not complete: {results['ended']}"
    first = kind.headline(results).splitlines()[0]
    return str(first).removeprefix("- ")


def _question(notebook: Path) -> str:
    """What a notebook asks: its first heading; nothing where there is none."""
    try:
        cells = json.loads(notebook.read_text("utf-8"))["cells"]
        first = "".join(cells[0]["source"]).splitlines()[0]
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return ""
    return first.removeprefix("# ") if first.startswith("# ") else ""


def _of_summary(folder: Path) -> Line | None:
    """A folder with a summary of another kind: what it says first."""
    summary = ReportPaths(folder).summary
    try:
        head, *parts = summary.read_text("utf-8").split("\n\n")
    except (OSError, ValueError):
        return None
    about = " ".join(parts[0].split()) if parts else ""
    if len(about) > LONGEST:
        about = f"{about[:LONGEST].rpartition(' ')[0]} ..."
    day = re.match(r"\d{4}-\d\d-\d\d", folder.name)
    created = day[0] if day else ""
    return Line(folder.name, head.lstrip("# "), created, about, f"{folder.name}/{summary.name}")


def write_index(reports: Path) -> None:
    """Write both pages anew.

    Raises:
        UserError: they cannot be written.
    """
    if not reports.is_dir():
        return
    found = list(lines(reports))
    head = "| report | what | day | in short |\n| :-- | :-- | :-- | :-- |\n"
    rows = "".join(
        f"| [{x.folder}]({x.link}) | {x.title} | {x.created} | {x.about} |\n" for x in found
    )
    log = (
        "\nWhat was tried, failures too: [LOG.md](LOG.md).\n"
        if (reports / "LOG.md").is_file()
        else ""
    )
    write_text(reports / "README.md", f"# Reports\n\n{head}{rows}{log}")
    cells = "".join(
        f'<tr><td><a href="{html.escape(x.link)}">{html.escape(x.folder)}</a></td>'
        f"<td>{html.escape(x.title)}</td><td>{x.created}</td>"
        f"<td>{html.escape(x.about.replace('**', ''))}</td></tr>\n"
        for x in found
    )
    names = "".join(f"<th>{name}</th>" for name in ("report", "what", "day", "in short"))
    head = f"<thead><tr>{names}</tr></thead>"
    body = f"<h1>Reports</h1>\n<table>{head}\n<tbody>\n{cells}</tbody></table>"
    write_text(reports / "index.html", page("Reports", body))
