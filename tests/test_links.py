"""Every link inside the repository leads somewhere, down to the heading; nothing is fetched."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("docs", "plans", "notes", "courses")
PAGES = sorted(
    {
        *ROOT.glob("*.md"),
        *(
            f
            for folder in ("docs", "plans", "notes", "courses")
            for f in (ROOT / folder).rglob("*.md")
        ),
        *ROOT.glob("notebooks/*.md"),
        *ROOT.glob("notebooks/*.ipynb"),
        *ROOT.glob("notebooks/reports/*.ipynb"),
        *ROOT.glob("crates/*/*.md"),
        ROOT / "reports" / "LOG.md",
    }
)
MADE_BY_RUN = ("runs/", "reports/latest/")  # not in the repository


@cache
def prose(page: Path) -> str:
    """The Markdown of a page or notebook without code and formulas."""
    if page.suffix == ".ipynb":
        cells = nbformat.read(page, as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    else:
        text = page.read_text("utf-8")
    return re.sub(r"^```.*?^```|\$\$.*?\$\$|`[^`\n]+`(?!\])", "", text, flags=re.M | re.S)


@cache
def anchors(page: Path) -> frozenset[str]:
    """Anchors of the headings as GitHub makes them: the second of a name ends in -1."""
    seen: Counter[str] = Counter()
    found = set(re.findall(r'\bid="([^"]+)"', prose(page)))
    for heading in re.findall(r"^#+ (.+)$", page_text(page), re.M):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


@cache
def page_text(page: Path) -> str:
    """Like prose, with the words between backticks, which headings keep."""
    if page.suffix == ".ipynb":
        return prose(page)
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)


def targets(page: Path) -> list[str]:
    text = prose(page)
    written = re.findall(r"\]\(([^)\s]+)(?:\s\"[^\"]*\")?\)", text)
    return [*written, *re.findall(r'\b(?:src|href)="([^"]+)"', text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path):
    for target in targets(page):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if file.resolve().relative_to(ROOT).as_posix().startswith(MADE_BY_RUN):
            continue
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`\n\n## Same\n\n## Same\n\n[a](b.md#c) ![d](e.png)\n\n`[f](g)`\n\n"
        '```\n# No heading\n[h](i)\n```\n\n<img src="j.png">\n'
    )
    assert targets(page) == ["b.md#c", "e.png", "j.png"]
    assert anchors(page) == {"one-two", "same", "same-1"}


def test_every_document_is_listed():
    text = (ROOT / "docs" / "README.md").read_text("utf-8")
    names = {page.name for page in ROOT.glob("docs/*.md")} - {"README.md", "index.md"}
    assert not [name for name in sorted(names) if f"({name})" not in text]
