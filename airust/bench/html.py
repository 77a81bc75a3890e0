"""An executed notebook as one HTML file: pictures inside, no script, no network."""

from __future__ import annotations

import html
from pathlib import Path

from airust.files import write_atomic

TEMPLATES = Path(__file__).parent / "templates"


def write_html(notebook: Path, page: Path) -> None:
    """Convert a notebook with the report template.

    Raises:
        UserError: the page cannot be written.
    """
    import nbformat
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        template_name="report",
        extra_template_basedirs=[str(TEMPLATES)],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    node = nbformat.read(notebook, as_version=4)
    given = {"metadata": {"name": _title(node, notebook.stem)}, "style": _style()}
    body, _ = exporter.from_notebook_node(node, given)
    write_atomic(page, lambda p: p.write_text(body, "utf-8"))


def page(title: str, body: str) -> str:
    """Any HTML as a page that looks like a report and needs no network."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{_style()}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _style() -> str:
    return (TEMPLATES / "report" / "style.css").read_text("utf-8")


def _title(node: object, otherwise: str) -> str:
    """The notebook's first heading."""
    for cell in getattr(node, "cells", []):
        for line in cell.source.splitlines() if cell.cell_type == "markdown" else ():
            if line.startswith("# "):
                return str(line[2:].strip())
    return otherwise
