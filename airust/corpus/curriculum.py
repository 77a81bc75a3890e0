"""One epoch of training documents, drawn anew each time.

Statements and questions are mixed from the first step (Allen-Zhu and Li 2023, Physics of Language
Models 3.1, section 4: mixed training makes stored facts answerable, pretraining followed by tuning
does so only with many paraphrases). The other order stays available as two stages.

Every entity has statements; only the asked half has questions.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from airust.corpus.documents import (
    Conversation,
    Fact,
    biography,
    facts,
    follow_up,
    question_and_answer,
    reword,
)
from airust.corpus.explanations import Explanation, load_dialogue, load_explanations
from airust.corpus.facts import LANGUAGES, Kind, Language, load_kinds
from airust.corpus.fiction import CopyPractice, copy_practice
from airust.types import Message

Stage = Literal["mixed", "statements", "questions"]
Document = str | Conversation | CopyPractice

COPY_PRACTICE = 0.35  # exercises for each fact that has a question
FOLLOW_UPS = 0.5  # two-turn conversations for each asked entity and language
WORDINGS = 5  # at most, in which each explanation is asked, an epoch


@dataclass(frozen=True)
class Corpus:
    """Everything that training may say, and what is kept for the exam."""

    kinds: tuple[Kind, ...]
    explanations: tuple[Explanation, ...]
    dialogue: tuple[Explanation, ...]

    @classmethod
    def load(cls) -> Corpus:
        """The corpus that comes with the package."""
        explanations, dialogue = load_explanations(), load_dialogue()
        asked = "\n".join(q for entry in (*explanations, *dialogue) for q in entry.questions)
        return cls(load_kinds(asked_about=asked), explanations, dialogue)

    @cached_property
    def facts(self) -> list[Fact]:
        """Every fact in both languages."""
        return list(facts(self.kinds))

    @cached_property
    def by_entity(self) -> list[list[Fact]]:
        """Facts grouped by entity and language."""
        groups: dict[tuple[str, Language], list[Fact]] = {}
        for fact in self.facts:
            groups.setdefault((fact.entity.id, fact.language), []).append(fact)
        return list(groups.values())

    @cached_property
    def held_names(self) -> dict[Language, frozenset[str]]:
        """Names of the entities that training has no question about."""
        held = [e for kind in self.kinds for e in kind.entities if not e.asked]
        return {lang: frozenset(e.names[lang] for e in held) for lang in LANGUAGES}

    @cached_property
    def words(self) -> dict[Language, list[str]]:
        """Ordinary words for copying practice: none is, or is in, a name kept for the exam."""
        names = self.held_names
        held_words = {word for name in names["en"] for word in re.findall(r"\w+", name)}
        english = {
            word
            for text in self._texts("en")
            for word in re.findall(r"[A-Za-z]+", text)
            if word not in held_words
        }
        runs = [run for text in self._texts("zh") for run in re.findall(r"[一-鿿]+", text)]
        chinese = {
            run[start : start + size]
            for run in runs
            for size in (1, 2, 3)
            for start in range(0, len(run) - size + 1, 2)
        }
        chinese |= {f.value for f in self.facts if f.language == "zh"}
        chinese = {w for w in chinese if not any(w in n or n in w for n in names["zh"])}
        return {"en": sorted(english), "zh": sorted(chinese)}

    def _texts(self, language: Language) -> Iterator[str]:
        for fact in self.facts:
            if fact.language == language:
                yield fact.value
                yield fact.relation.templates[language].statements[0].replace("{name}", " ")
        for explanation in self.explanations:
            if explanation.language == language:
                yield explanation.answer

    def epoch(self, rng: random.Random, stage: Stage = "mixed") -> list[Document]:
        """The documents of one epoch in random order."""
        documents: list[Document] = []
        if stage != "questions":
            documents += self._statements(rng)
        if stage != "statements":
            documents += self._questions(rng)
        rng.shuffle(documents)
        return documents

    def _statements(self, rng: random.Random) -> Iterator[Document]:
        for fact in self.facts:
            # A fact without questions is met in statements instead; Chinese, spelled in more
            # and rarer tokens, takes more of them.
            more = not fact.entity.asked and fact.language == "zh"
            yield from rng.sample(fact.statements, 2 if more else 1)
        for about in self.by_entity:
            yield biography(about, rng)

    def _questions(self, rng: random.Random) -> Iterator[Document]:
        asked = [fact for fact in self.facts if fact.entity.asked]
        for fact in asked:
            yield question_and_answer(fact, rng)
        for about in self.by_entity:
            if about[0].entity.asked and len(about) > 1 and rng.random() < FOLLOW_UPS:
                first, second = rng.sample(about, 2)
                yield follow_up(first, second, rng)
        for _ in range(int(COPY_PRACTICE * len(asked))):
            yield copy_practice(self.kinds, self.words, self.held_names, rng)
        for explanation in (*self.explanations, *self.dialogue):
            trained = explanation.questions[:-1]
            for question in rng.sample(trained, min(WORDINGS, len(trained))):
                worded = reword(question, explanation.language, rng)
                yield (Message("user", worded), Message("assistant", explanation.answer))

    def tokenizer_texts(self) -> Iterator[str]:
        """Texts to learn the tokenizer from.

        Chinese is written without spaces, and merges that crossed the border of a name would hide
        it. So names and values come as texts of their own and everything else character by
        character; the byte-level tokenizer then never learns a token that spans a border.
        """
        for fact in self.facts:
            if fact.language == "en":
                templates = fact.relation.templates["en"]
                yield from fact.statements
                yield from map(fact.question, templates.trained_questions)
            else:
                yield from [fact.name, fact.value] * 8  # as often as in the statements
        for kind in self.kinds:
            for relation in kind.relations:
                chinese = relation.templates["zh"]
                for text in (*chinese.statements, *chinese.trained_questions, *chinese.follow_ups):
                    yield from text
                yield from relation.templates["en"].follow_ups
        for explanation in (*self.explanations, *self.dialogue):
            for text in (*explanation.questions[:-1], explanation.answer):
                yield from [text] if explanation.language == "en" else text

    @cached_property
    def sha256(self) -> str:
        """A hash of everything that training can draw from."""
        content = [
            [
                (
                    f.entity.id,
                    f.relation.id,
                    f.language,
                    f.entity.asked,
                    f.statements,
                    f.relation.templates[f.language].questions,
                )
                for f in self.facts
            ],
            [
                (e.id, e.language, e.questions, e.answer)
                for e in (*self.explanations, *self.dialogue)
            ],
        ]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()
