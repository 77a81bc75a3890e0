"""Facts put into words: statements, biographies, questions with answers, follow-ups."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from airust.corpus.facts import LANGUAGES, Entity, Kind, Language, Relation
from airust.types import Message

Conversation = tuple[Message, ...]
LEFT_OUT = 0.2  # share of the words that ``reword`` drops


@dataclass(frozen=True, slots=True)
class Fact:
    """One relation of one entity in one language."""

    entity: Entity
    relation: Relation
    language: Language

    @property
    def name(self) -> str:
        """The entity's name in this language."""
        return self.entity.names[self.language]

    @property
    def value(self) -> str:
        """What is true of it."""
        return self.entity.values[self.relation.id][self.language]

    @property
    def statements(self) -> list[str]:
        """The fact in every statement template."""
        templates = self.relation.templates[self.language].statements
        return [fill(template, self.name, self.value) for template in templates]

    @property
    def answer(self) -> str:
        """The whole sentence that answers a question about this fact."""
        return self.statements[0]

    def question(self, template: str) -> str:
        """A question template about this entity."""
        return fill(template, self.name)


def fill(template: str, name: str, value: str = "") -> str:
    """Put name and value in and start with a capital letter.

    >>> fill("the capital of {name} is {value}.", "France", "Paris")
    'The capital of France is Paris.'
    """
    text = template.replace("{name}", name).replace("{value}", value)
    return text[:1].upper() + text[1:]


def facts(kinds: Iterable[Kind]) -> Iterator[Fact]:
    """Every fact in both languages."""
    for kind in kinds:
        for entity in kind.entities:
            for relation in kind.relations:
                if relation.id in entity.values:
                    for language in LANGUAGES:
                        yield Fact(entity, relation, language)


def biography(about: Sequence[Fact], rng: random.Random) -> str:
    """Some facts of one entity in a row.

    The name comes again and again, so a reader who has met it once can carry it over: copying is
    practised on every entity, without any question about it.
    """
    chosen = rng.sample(about, min(len(about), rng.randint(2, 4)))
    space = " " if about[0].language == "en" else ""
    return space.join(rng.choice(fact.statements) for fact in chosen)


def reword(question: str, language: Language, rng: random.Random) -> str:
    """Half of the time, a question with about every fifth word left out.

    An unseen wording shares only some words with the trained ones; this teaches to get by with
    some. A placeholder is never left out.
    """
    if rng.random() < 0.5:
        return question
    words = re.findall(r"\{name\}|[A-Za-z+]+|.", question) if language == "zh" else question.split()
    kept = [word for word in words if "{name}" in word or rng.random() > LEFT_OUT]
    return ("" if language == "zh" else " ").join(kept) or question


def question_and_answer(fact: Fact, rng: random.Random) -> Conversation:
    """One question in a trained wording and its answer."""
    template = rng.choice(fact.relation.templates[fact.language].trained_questions)
    question = fact.question(reword(template, fact.language, rng))
    return (Message("user", question), Message("assistant", fact.answer))


def follow_up(first: Fact, second: Fact, rng: random.Random) -> Conversation:
    """Two facts of one entity; the second question does not name it ("And its currency?")."""
    question = rng.choice(second.relation.templates[second.language].follow_ups)
    return (
        *question_and_answer(first, rng),
        Message("user", question),
        Message("assistant", second.answer),
    )
