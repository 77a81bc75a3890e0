"""The surveys say what their data say, and their answers are right."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from airust.lessons import field, nb01
from airust.lessons.path import STATIONS
from scripts import documents
from tests.notebooks.lesson_files import NOTEBOOKS, prose

DOCS = Path(__file__).resolve().parent.parent / "docs"
SURVEYS = ("taxonomy_2025", "curricula_2025", "foundations")


@pytest.mark.parametrize("name", SURVEYS)
def test_a_survey_has_a_chinese_summary_at_its_head_and_dated_sources(name: str):
    text = (DOCS / f"{name}.md").read_text("utf-8")
    head = text.split("\n\n")[1]
    assert head.startswith("**中文摘要。**")
    assert len(re.findall(r"[一-鿿]", head)) >= 150
    assert "2026-11-28" in text


@pytest.mark.parametrize("page", documents.TABLES)
def test_tables_are_those_of_the_data_and_link_the_notebooks_that_exist(page: str):
    text = (documents.ROOT / page).read_text("utf-8")
    for name in documents.TABLES[page]:
        assert f"<!-- {name} -->\n\n| " in text
    made = documents.with_notebooks(documents.with_tables(text, documents.TABLES[page]))
    assert made == text, "run: python scripts/documents.py"


def test_numbers_become_links_only_where_notebooks_are_meant():
    table = "| Notebook | Next |\n|---|---|\n| 04 and R1, 99 | 04 |\n\n| Years | |\n| 04 | |\n"
    first, second = (next(p.name for p in NOTEBOOKS if p.name[:2] == n) for n in ("04", "R1"))
    linked = f"| [04](../notebooks/{first}) and [R1](../notebooks/{second}), 99 | 04 |"
    assert documents.with_notebooks(table) == table.replace("| 04 and R1, 99 | 04 |", linked)
    assert documents.with_notebooks(documents.with_notebooks(table)).count("04-") == 1


@pytest.mark.parametrize(
    "name", [*documents.DRAWN, *documents.TAKEN, "path-rust"], ids=lambda name: str(name)
)
def test_pictures_are_there_and_small(name: str):
    assert 5_000 < (documents.IMAGES / f"{name}.png").stat().st_size < 200_000


def test_alternative_texts_are_those_of_the_figures():
    text = (DOCS / "taxonomy_2025.md").read_text("utf-8")
    for words, picture in ((field.FIELD_ALT, "field"), (field.SYSTEM_ALT, "system")):
        assert f"![{words.rstrip('.')}](images/{picture}.png)" in text


def test_the_field_has_the_places_of_the_exercise():
    assert tuple(branch.key for branch in field.FIELD) == nb01.BRANCHES
    for layer in field.SYSTEM:
        assert set(layer.branches) <= set(nb01.BRANCHES)


def test_the_map_fades_what_is_younger_and_other_branches():
    def shown(**options) -> float:
        bars = field.field_map(**options).axes[0].patches
        return sum(bar.get_alpha() > 0.3 for bar in bars)

    everything = shown()
    assert everything == len(field.FIELD) + sum(len(branch.topics) for branch in field.FIELD)
    assert shown(until=1960) < shown(until=1990) < everything
    assert shown(branch="logic") == 1 + len(field.FIELD[1].topics)


@pytest.mark.parametrize("name", ("curricula_2025", "foundations"))
def test_every_notebook_has_its_row(name: str):
    text = (DOCS / f"{name}.md").read_text("utf-8")
    rows = " ".join(re.findall(r"^\| ([^|]+) \|", text, flags=re.MULTILINE))
    assert not [number for number in STATIONS if not re.search(rf"\b{number}\b", rows)]


def test_answers_of_the_self_tests_are_right():
    done = doctest.testfile(
        str(DOCS / "foundations.md"), module_relative=False, encoding="utf-8", verbose=False
    )
    assert done.attempted > 40
    assert not done.failed


@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda page: page.stem)
def test_terms_with_a_chinese_name_are_in_the_glossary(page: Path):
    glossary = (DOCS / "glossary.md").read_text("utf-8")
    given = re.findall(r"\*\*[^*\n]+\*\*s? [(（]([^()（）\n]*)[)）]", prose(page))
    terms = [part.strip() for text in given for part in re.split(r"[,;:，；：]", text)]
    chinese = [term for term in terms if re.search(r"[一-鿿]", term)]
    assert not [term for term in chinese if term not in glossary]
