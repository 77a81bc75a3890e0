"""Copying practice with made-up names.

A model that has met questions about few names answers about one of *those* when it is asked about
a new one: it never needed to copy. Here each question carries a name that is drawn anew, and the
document ends where the value would begin ("The capital of Zorvia is"), so that the only thing to
learn is: carry the name over from the question. No fact is invented.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from airust.corpus.documents import fill
from airust.corpus.facts import LANGUAGES, Kind, Language

CONSONANTS = "bcdfghklmnprstvwz"
ONSETS = (*CONSONANTS, "br", "dr", "kr", "tr", "st", "pl", "gr", "th", "sh")
VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "ou")
CODAS = ["", "n", "r", "s", "l", ""]
CHARACTERS = "阿巴卡达埃法加哈伊杰科拉马纳奥帕奇萨塔乌维沃希亚泽罗莫林顿特斯尔克"


@dataclass(frozen=True, slots=True)
class CopyPractice:
    """A question and the part of its answer that the question determines."""

    question: str
    answer_start: str


def made_up_name(language: Language, rng: random.Random) -> str:
    """A pronounceable name that means nothing."""
    if language == "zh":
        return "".join(rng.choice(CHARACTERS) for _ in range(rng.randint(2, 4)))
    syllables = (rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(rng.randint(2, 3)))
    return ("".join(syllables) + rng.choice(CODAS)).capitalize()


def copy_practice(
    kinds: tuple[Kind, ...],
    words: dict[Language, list[str]],
    held_names: dict[Language, frozenset[str]],
    rng: random.Random,
) -> CopyPractice:
    """One exercise; the name is an ordinary word (4 in 10) or made up.

    Neither is, or holds, one of ``held_names``: those have no question in training.
    """
    relation = rng.choice(rng.choice(kinds).relations)
    language = rng.choice(LANGUAGES)
    templates = relation.templates[language]
    ordinary = rng.random() < 0.4
    name = rng.choice(words[language]) if ordinary else made_up_name(language, rng)
    while any(held in name for held in held_names[language]):
        name = made_up_name(language, rng)
    start = templates.statements[0].split("{value}")[0].rstrip()
    return CopyPractice(fill(rng.choice(templates.trained_questions), name), fill(start, name))
