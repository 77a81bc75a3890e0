"""Make the pictures and tables of the documents that come from data.

    python scripts/documents.py

Writes docs/images/{learning-path,field,system}.png, the three pictures of the README's first
screen, which are outputs of notebooks, and the tables between `<!-- NAME -->` and `<!-- /NAME -->`.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
from matplotlib.figure import Figure
from PIL import Image

from airust.lessons.field import field_map, field_table, system_map
from airust.lessons.path import path_map
from airust.lessons.rust_figures import Box, memory

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
DRAWN: dict[str, Callable[[], Figure]] = {
    "learning-path": path_map,
    "field": field_map,
    "system": system_map,
}
# name of the picture -> notebook, words its alternative text begins with, left and right edge
TAKEN = {
    "path-autograd": (
        "04-build-autograd",
        "Left: the loss falls over the training steps",
        0.509,
        1,
    ),
    "path-attention": ("07-assemble-attention", "Attention map of one head", 0, 1),
}
SIZE = (480, 384)  # readable when three stand side by side
TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "docs/taxonomy_2025.md": {"field": field_table},
    "docs/curricula_2025.md": {},
    "docs/foundations.md": {},
}


def png(figure: Figure) -> Image.Image:
    """A figure as a picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer)


def output(notebook: str, alt: str) -> Image.Image:
    """A figure among the outputs of a notebook, found by its alternative text.

    Raises:
        LookupError: no figure begins so.
    """
    cells = nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4).cells
    for cell in cells:
        for found in cell.get("outputs", []):
            if found.get("metadata", {}).get("image/png", {}).get("alt", "").startswith(alt):
                return Image.open(io.BytesIO(base64.b64decode(found["data"]["image/png"])))
    raise LookupError(f"{notebook} has no figure whose words begin with '{alt}'.")


def moved_string() -> Figure:
    """The move of notebook R1, narrow enough for a small picture."""
    figure = memory(
        [
            Box("name", ("ptr", "len 12", "cap 12"), "moved", ((0, "bytes"),)),
            Box("owner", ("ptr", "len 12", "cap 12"), "owner", ((0, "bytes"),)),
        ],
        [Box("bytes", ("embed_tokens",))],
        "let owner = name;",
    )
    figure.set_size_inches(4.4, 3.5)
    for text in figure.axes[0].texts:
        if text.get_text() == "heap or static memory":
            text.set_text("heap")  # there is no room for more
    return figure


def fitted(image: Image.Image) -> Image.Image:
    """Scaled to SIZE with white at the sides."""
    image = image.convert("RGB")
    scale = min(SIZE[0] / image.width, SIZE[1] / image.height)
    small = image.resize(
        (round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS
    )
    canvas = Image.new("RGB", SIZE, "white")
    canvas.paste(small, ((SIZE[0] - small.width) // 2, (SIZE[1] - small.height) // 2))
    return canvas


def with_tables(text: str, tables: dict[str, Callable[[], str]]) -> str:
    """A document with its tables made anew."""
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        head, _, rest = text.partition(begin)
        tail = rest.partition(end)[2]
        text = f"{head}{begin}\n\n{table()}\n\n{end}{tail}"
    return text


def with_notebooks(text: str) -> str:
    """A document whose tables link each notebook that exists, in the columns about notebooks."""
    names = {path.name[:2]: path.name for path in (ROOT / "notebooks").glob("[0-9R][0-9]-*.ipynb")}

    def link(found: re.Match[str]) -> str:
        number = found[0]
        return f"[{number}](../notebooks/{names[number]})" if number in names else number

    lines: list[str] = []
    columns: set[int] = set()
    for line in text.split("\n"):
        cells = line.split("|")
        heads = [cell.strip() for cell in cells]
        if "Notebook" in heads or "Here" in heads:
            columns = {n for n, head in enumerate(heads) if head in ("Notebook", "Here")}
        elif not line.startswith("|"):
            columns = set()
        for column in columns & set(range(len(cells))):
            cells[column] = re.sub(r"(?<![\w\[/.-])(\d\d|R\d)(?![\w\]-])", link, cells[column])
        lines.append("|".join(cells))
    return "\n".join(lines)


def main() -> None:
    """Write all of them."""
    for name, draw in DRAWN.items():
        draw().savefig(IMAGES / f"{name}.png", metadata={"Software": None})
    for name, (notebook, alt, left, right) in TAKEN.items():
        image = output(notebook, alt)
        box = (round(left * image.width), 0, round(right * image.width), image.height)
        fitted(image.crop(box)).save(IMAGES / f"{name}.png", optimize=True)
    fitted(png(moved_string())).save(IMAGES / "path-rust.png", optimize=True)
    for page, tables in TABLES.items():
        path = ROOT / page
        path.write_text(with_notebooks(with_tables(path.read_text("utf-8"), tables)), "utf-8")


if __name__ == "__main__":
    main()
