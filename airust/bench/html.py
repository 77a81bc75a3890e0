"""An executed notebook as one HTML file: pictures inside, no script, no network."""

from __future__ import annotations

from pathlib import Path

from airust.gpt.checkpoint import write_atomic

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
    body, _ = exporter.from_notebook_node(node, {"metadata": {"name": _title(node, notebook.stem)}})
    write_atomic(page, lambda p: p.write_text(body, "utf-8"))


def _title(node: object, otherwise: str) -> str:
    """The notebook's first heading."""
    for cell in getattr(node, "cells", []):
        for line in cell.source.splitlines() if cell.cell_type == "markdown" else ():
            if line.startswith("# "):
                return str(line[2:].strip())
    return otherwise
