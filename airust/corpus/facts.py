"""Read the fact base: kinds, their entities, and what is true of each.

A kind is two files. ``country.csv`` has the columns ``en,zh`` (the entity's name) and, for each
relation, ``capital.en,capital.zh`` or one column ``domain`` where both languages share the value.
``country.toml`` has for each relation and language at least five statements, four questions (the
last one is never trained on) and two follow-ups.
"""

from __future__ import annotations

import csv
import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from airust.types import UserError

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Templates:
    """How one relation is put into words in one language."""

    statements: tuple[str, ...]  # with {name} and {value}; the first is also the answer
    questions: tuple[str, ...]  # with {name}; the last is held out of training
    follow_ups: tuple[str, ...]  # asked after another question about the same entity

    @property
    def trained_questions(self) -> tuple[str, ...]:
        """The wordings that training may use."""
        return self.questions[:-1]

    @property
    def held_out_question(self) -> str:
        """The wording kept for the exam."""
        return self.questions[-1]


@dataclass(frozen=True, slots=True)
class Relation:
    """One thing that can be true of every entity of a kind."""

    id: str
    templates: dict[Language, Templates]


@dataclass(frozen=True, slots=True)
class Entity:
    """One row of the fact base."""

    kind: str
    names: dict[Language, str]
    values: dict[str, dict[Language, str]]  # relation id -> language -> value
    asked: bool  # False: training has no question about it

    @property
    def id(self) -> str:
        """The English name."""
        return self.names["en"]


@dataclass(frozen=True, slots=True)
class Kind:
    """Entities that share their relations."""

    id: str
    labels: dict[Language, str]
    sources: tuple[str, ...]
    relations: tuple[Relation, ...]
    entities: tuple[Entity, ...]

    @property
    def fact_count(self) -> int:
        """Facts, each counted once over both languages."""
        return sum(len(entity.values) for entity in self.entities)


def load_kinds(folder: Path = FOLDER / "facts", asked_about: str = "") -> tuple[Kind, ...]:
    """Read every kind in a folder, in the order of their names.

    Args:
        folder: where the files are.
        asked_about: questions of other parts of training; an entity named there is put into the
            asked half, so that the other half has no question about it anywhere.

    Raises:
        UserError: a file is missing, not readable, or breaks a rule; the message says where.
    """
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise UserError(f"There are no fact files (*.toml) in '{folder}'.")
    kinds = tuple(_load_kind(path, asked_about) for path in paths)
    _check_names(kinds)
    return kinds


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        UserError: it is missing or broken.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"'{path}' cannot be read: {error}.") from error


def _load_kind(path: Path, asked_about: str) -> Kind:
    table = read_toml(path)
    try:
        relations = tuple(
            Relation(r["id"], {lang: _templates(r[lang], path, r["id"]) for lang in LANGUAGES})
            for r in table["relation"]
        )
        entities = _load_entities(path, table["kind"], relations, asked_about)
        return Kind(
            table["kind"], dict(table["label"]), tuple(table["sources"]), relations, entities
        )
    except KeyError as error:
        raise UserError(f"'{path}' lacks the entry {error}.") from error


def _templates(entry: dict[str, list[str]], path: Path, relation: str) -> Templates:
    templates = Templates(
        tuple(entry["statements"]), tuple(entry["questions"]), tuple(entry["follow_ups"])
    )
    for texts, marks, least in (
        (templates.statements, ("{name}", "{value}"), 5),
        (templates.questions, ("{name}",), 4),
    ):
        if len(texts) < least:
            raise UserError(
                f"'{path}', {relation}: {len(texts)} templates, at least {least} needed."
            )
        for text in texts:
            if any(text.count(mark) != 1 for mark in marks):
                raise UserError(
                    f"'{path}', {relation}: '{text}' must hold {' and '.join(marks)} once."
                )
    return templates


def _load_entities(
    kind_path: Path, kind: str, relations: tuple[Relation, ...], asked_about: str
) -> tuple[Entity, ...]:
    path = kind_path.with_suffix(".csv")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' cannot be read: {error}.") from error
    asked = _asked_half(rows, asked_about)
    return tuple(
        Entity(
            kind,
            {lang: row[lang].strip() for lang in LANGUAGES},
            {r.id: v for r in relations if (v := _values(row, r.id, path)) is not None},
            row["en"] in asked,
        )
        for row in rows
    )


def _values(row: dict[str, str], relation: str, path: Path) -> dict[Language, str] | None:
    cells = {
        lang: (row.get(f"{relation}.{lang}") or row.get(relation) or "").strip()
        for lang in LANGUAGES
    }
    if any(cells.values()) and not all(cells.values()):
        raise UserError(f"'{path}': {row['en']} has {relation} in one language only.")
    return cells if all(cells.values()) else None


def _asked_half(rows: list[dict[str, str]], asked_about: str) -> set[str]:
    # By hash, so that adding an entity moves few others to the other side.
    def order(row: dict[str, str]) -> tuple[bool, bytes]:
        named = any(is_named(row[lang].strip(), lang, asked_about) for lang in LANGUAGES)
        return not named, hashlib.sha256(row["en"].encode()).digest()

    return {row["en"] for row in sorted(rows, key=order)[: len(rows) // 2]}


def is_named(name: str, language: Language, text: str) -> bool:
    """Whether an entity is spoken of in a text.

    >>> is_named("the bee", "en", "How do bees make honey?")
    True
    >>> is_named("Io", "en", "What is ionisation?")
    False
    """
    if language == "zh" and not name.isascii():
        return name in text
    bare = re.escape(name.removeprefix("the "))
    return bool(re.search(rf"(?<![A-Za-z]){bare}(s|es)?(?![A-Za-z])", text))


def _check_names(kinds: tuple[Kind, ...]) -> None:
    for lang in LANGUAGES:
        seen: set[str] = set()
        for kind in kinds:
            for entity in kind.entities:
                name = entity.names[lang]
                if not name or name in seen:
                    raise UserError(
                        f"The entity name '{name}' in {kind.id} is empty or used twice."
                    )
                seen.add(name)
