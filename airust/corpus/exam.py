"""The exam: what is asked after training, and never was in it.

Three parts: facts of the entities that training had no question about, in trained wordings and in
the one wording of each relation that training never used; explanations and small talk in unseen
wordings; and made-up entities, about which the right answer would be "I do not know".
"""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass

from airust.corpus.curriculum import Corpus
from airust.corpus.documents import Fact
from airust.corpus.facts import LANGUAGES, Language
from airust.corpus.fiction import made_up_name

SEED = 2025  # which trained wording is drawn for a question


@dataclass(frozen=True, slots=True)
class Question:
    """One exam question and what a right answer contains."""

    part: str  # "held_out", "held_out_new_wording", "tuned_new_wording", "explanations", ...
    topic: str  # "country.capital", or the id of an explanation
    language: Language
    text: str
    expected: str  # the value, or the whole explanation; "" for made-up entities

    def is_right(self, answer: str) -> bool:
        """The expected value stands in the answer as a whole word, whatever its case.

        >>> Question("held_out", "river.mouth", "en", "?", "the Nile").is_right("It is The Nile.")
        True
        >>> Question("held_out", "element.number", "en", "?", "7").is_right("It is 77.")
        False
        """
        if self.language == "zh" and not self.expected.isascii():
            return self.expected in answer
        return bool(_whole_word(self.expected).search(answer))


def _whole_word(value: str) -> re.Pattern[str]:
    # \b would not hold beside Chinese letters, which count as word characters.
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])", re.IGNORECASE)


def fact_questions(corpus: Corpus) -> list[Question]:
    """Questions about facts: asked or not in training, in trained or in unseen wording."""
    rng, questions = random.Random(SEED), list[Question]()
    for fact in corpus.facts:
        templates = fact.relation.templates[fact.language]
        trained = rng.choice(templates.trained_questions)
        if fact.entity.asked:
            questions.append(_about(fact, "tuned_new_wording", templates.held_out_question))
        else:
            questions.append(_about(fact, "held_out", trained))
            questions.append(_about(fact, "held_out_new_wording", templates.held_out_question))
    return questions


def _about(fact: Fact, part: str, template: str) -> Question:
    topic = f"{fact.entity.kind}.{fact.relation.id}"
    return Question(part, topic, fact.language, fact.question(template), fact.value)


def explanation_questions(corpus: Corpus) -> list[Question]:
    """Explanations and small talk, each in its unseen wording; the whole answer is expected."""
    return [
        Question(part, entry.id, entry.language, entry.questions[-1], entry.answer)
        for part, entries in (
            ("explanations", corpus.explanations),
            ("small_talk", corpus.dialogue),
        )
        for entry in entries
    ]


def made_up_questions(corpus: Corpus, count: int = 200) -> list[Question]:
    """Questions about entities that do not exist, half in each language."""
    rng = random.Random(SEED)
    questions = []
    for number in range(count):
        language = LANGUAGES[number % 2]
        kind = rng.choice(corpus.kinds)
        relation = rng.choice(kind.relations)
        template = rng.choice(relation.templates[language].trained_questions)
        text = template.replace("{name}", made_up_name(language, rng))
        questions.append(Question("made_up", f"{kind.id}.{relation.id}", language, text, ""))
    return questions


def majority_baseline(corpus: Corpus) -> dict[tuple[str, Language], float]:
    """Per relation: the share of held-out facts that the commonest trained value would hit."""
    shares: dict[tuple[str, Language], float] = {}
    for kind in corpus.kinds:
        for relation in kind.relations:
            for language in LANGUAGES:
                values = [
                    (e.asked, e.values[relation.id][language])
                    for e in kind.entities
                    if relation.id in e.values
                ]
                trained = Counter(value for asked, value in values if asked)
                held = [value for asked, value in values if not asked]
                guess = trained.most_common(1)[0][0] if trained else ""
                topic = f"{kind.id}.{relation.id}"
                shares[topic, language] = held.count(guess) / len(held) if held else 0.0
    return shares
