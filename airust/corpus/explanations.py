"""Read explanations ("How do mountains form?") and small talk.

Each has one answer and at least four wordings of the question in each language; the last wording
is never trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from airust.corpus.facts import FOLDER, LANGUAGES, Language, read_toml
from airust.types import UserError


@dataclass(frozen=True, slots=True)
class Explanation:
    """A question in several wordings and its answer, in one language."""

    id: str
    language: Language
    questions: tuple[str, ...]  # the last is held out of training
    answer: str


def load_explanations(folder: Path = FOLDER / "explanations") -> tuple[Explanation, ...]:
    """Every explanation of every file in the folder.

    Raises:
        UserError: a file cannot be read or breaks a rule.
    """
    paths = sorted(folder.glob("*.toml"))
    return tuple(e for path in paths for e in _load(path, "explanation"))


def load_dialogue(path: Path = FOLDER / "dialogue.toml") -> tuple[Explanation, ...]:
    """Greetings and small talk.

    Raises:
        UserError: the file cannot be read or breaks a rule.
    """
    return _load(path, "exchange")


def _load(path: Path, table: str) -> tuple[Explanation, ...]:
    try:
        found = tuple(
            Explanation(entry["id"], lang, tuple(entry[lang]["questions"]), entry[lang]["answer"])
            for entry in read_toml(path)[table]
            for lang in LANGUAGES
        )
    except KeyError as error:
        raise UserError(f"'{path}' lacks the entry {error}.") from error
    for explanation in found:
        if len(explanation.questions) < 4:
            raise UserError(f"'{path}': {explanation.id} needs at least 4 wordings.")
    return found
