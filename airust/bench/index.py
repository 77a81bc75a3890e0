"""A page that lists all reports in a folder: ``README.md`` and ``index.html``."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airust.bench.html import page
from airust.bench.kinds import MEASUREMENTS
from airust.bench.run_folder import RESULTS_FILE, SUMMARY_FILE
from airust.files import write_text

TITLES = {"engines": "engines compared", "serve": "serving under load", "train": "training"}


@dataclass(frozen=True, slots=True)
class Line:
    """One report."""

    folder: str
    kind: str
    created: str
    about: str  # the first sentence of its headline, or why there is none
    link: str  # of the page to read


def lines(reports: Path) -> Iterator[Line]:
    """Every folder with a results.json that one of our measurements wrote, the newest first."""
    for path in sorted(reports.glob(f"*/{RESULTS_FILE}"), reverse=True):
        try:
            results = json.loads(path.read_text("utf-8"))
            kind = MEASUREMENTS[results["kind"]]
            about = _about(results, kind)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # something else, or of an older schema
        shown = [n for n in ("report.html", SUMMARY_FILE) if (path.parent / n).is_file()]
        link = f"{path.parent.name}/{shown[0] if shown else RESULTS_FILE}"
        created = results["created"].partition("T")[0]
        yield Line(path.parent.name, TITLES[results["kind"]], created, about, link)


def _about(results: dict[str, Any], kind: Any) -> str:
    if "error" in results:
        return f"Not complete: {results['error']}"
    if not results["complete"]:
        return f"Not complete: {results['ended']}"
    first = kind.headline(results).splitlines()[0]
    return str(first).removeprefix("- ")


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
        f"| [{x.folder}]({x.link}) | {x.kind} | {x.created} | {x.about} |\n" for x in found
    )
    log = (
        "\nWhat was tried, failures too: [LOG.md](LOG.md).\n"
        if (reports / "LOG.md").is_file()
        else ""
    )
    write_text(reports / "README.md", f"# Reports\n\n{head}{rows}{log}")
    cells = "".join(
        f'<tr><td><a href="{html.escape(x.link)}">{html.escape(x.folder)}</a></td>'
        f"<td>{html.escape(x.kind)}</td><td>{x.created}</td>"
        f"<td>{html.escape(x.about.replace('**', ''))}</td></tr>\n"
        for x in found
    )
    names = "".join(f"<th>{name}</th>" for name in ("report", "what", "day", "in short"))
    head = f"<thead><tr>{names}</tr></thead>"
    body = f"<h1>Reports</h1>\n<table>{head}\n<tbody>\n{cells}</tbody></table>"
    write_text(reports / "index.html", page("Reports", body))
