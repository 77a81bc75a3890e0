"""The embedded corpus: large enough, well formed, and without a leak into the exam."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from airust.corpus.curriculum import Corpus
from airust.corpus.exam import explanation_questions, fact_questions, made_up_questions
from airust.corpus.facts import LANGUAGES, is_named, load_kinds
from airust.corpus.fiction import CopyPractice
from airust.types import Message, UserError


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus.load()


@pytest.fixture(scope="module")
def epochs(corpus: Corpus) -> list[object]:
    return [doc for seed in range(6) for doc in corpus.epoch(random.Random(seed))]


def conversations(epochs: list[object]) -> list[tuple[Message, ...]]:
    return [doc for doc in epochs if isinstance(doc, tuple)]


def test_four_wordings_are_enough_for_an_explanation(corpus: Corpus) -> None:
    entry = corpus.explanations[0]
    few = replace(entry, questions=entry.questions[-4:])
    documents = replace(corpus, explanations=(few,)).epoch(random.Random(0))
    answers = [doc[-1].content for doc in documents if isinstance(doc, tuple)]
    assert answers.count(entry.answer) == 3  # the fourth is held out


def test_it_is_as_large_as_promised(corpus: Corpus) -> None:
    assert sum(len(kind.entities) for kind in corpus.kinds) >= 300
    assert sum(kind.fact_count for kind in corpus.kinds) >= 1500
    for language in LANGUAGES:
        entries = [e for e in corpus.explanations if e.language == language]
        assert len(entries) >= 120
        assert all(len(entry.questions) >= 4 for entry in entries)
    assert all(kind.sources for kind in corpus.kinds)


def test_every_relation_has_its_templates_and_entities(corpus: Corpus) -> None:
    for kind in corpus.kinds:
        for relation in kind.relations:
            assert sum(relation.id in e.values for e in kind.entities) >= 20, relation.id
            for language in LANGUAGES:
                templates = relation.templates[language]
                assert len(set(templates.statements)) >= 5
                assert len(set(templates.questions)) >= 4
                assert templates.held_out_question not in templates.trained_questions


def test_half_of_the_entities_of_each_kind_have_no_question(corpus: Corpus) -> None:
    for kind in corpus.kinds:
        assert sum(entity.asked for entity in kind.entities) == len(kind.entities) // 2


def test_no_exam_question_is_in_training(corpus: Corpus, epochs: list[object]) -> None:
    asked = {m.content for doc in conversations(epochs) for m in doc if m.role == "user"}
    asked |= {doc.question for doc in epochs if isinstance(doc, CopyPractice)}
    exam = {q.text for q in (*fact_questions(corpus), *explanation_questions(corpus))}
    assert not exam & asked


def test_no_question_in_training_names_a_held_out_entity(
    corpus: Corpus, epochs: list[object]
) -> None:
    answers = {fact.answer for fact in corpus.facts if not fact.entity.asked}
    said = {m.content for doc in conversations(epochs) for m in doc if m.role == "assistant"}
    assert not answers & said
    # Whole questions, also those of explanations: none is about a held-out entity.
    for language in LANGUAGES:
        text = "\n".join(
            q for e in (*corpus.explanations, *corpus.dialogue) for q in e.questions
            if e.language == language
        )  # fmt: skip
        for name in corpus.held_names[language]:
            assert not is_named(name, language, text), name
    for doc in epochs:
        if isinstance(doc, CopyPractice):
            for names in corpus.held_names.values():
                assert not any(doc.answer_start.endswith(f" {name} is") for name in names)


def test_every_held_out_fact_is_stated(corpus: Corpus, epochs: list[object]) -> None:
    texts = "\n".join(doc for doc in epochs if isinstance(doc, str))
    for fact in corpus.facts:
        if not fact.entity.asked:
            assert any(statement in texts for statement in fact.statements), fact.answer


def test_an_epoch_depends_on_its_generator_alone(corpus: Corpus) -> None:
    assert corpus.epoch(random.Random(3)) == corpus.epoch(random.Random(3))
    assert corpus.epoch(random.Random(3)) != corpus.epoch(random.Random(4))


def test_two_stages_divide_the_documents(corpus: Corpus) -> None:
    first = corpus.epoch(random.Random(0), "statements")
    second = corpus.epoch(random.Random(0), "questions")
    assert all(isinstance(doc, str) for doc in first)
    assert not any(isinstance(doc, str) for doc in second)


def test_made_up_names_are_not_in_the_corpus(corpus: Corpus) -> None:
    names = {e.names[lang] for k in corpus.kinds for e in k.entities for lang in LANGUAGES}
    for question in made_up_questions(corpus):
        text = question.text
        assert not any(len(n) > 2 and f" {n}?" in text for n in names)


TOML = """
kind = "city"
label = { en = "city", zh = "城市" }
sources = ["an atlas"]
[[relation]]
id = "country"
"""
TEMPLATES = """
[relation.%s]
statements = ["a {name} {value}", "b {name} {value}", "c {name} {value}", "d {name} {value}",
              "e {name} {value}"]
questions = ["a {name}?", "b {name}?", "c {name}?", "d {name}?"]
follow_ups = ["and?"]
"""


def write_kind(folder: Path, toml: str, csv: str) -> None:
    (folder / "city.toml").write_text(toml, "utf-8")
    (folder / "city.csv").write_text(csv, "utf-8")


def test_a_person_can_add_a_kind_without_code(tmp_path: Path) -> None:
    header = "en,zh,country.en,country.zh\n"
    write_kind(
        tmp_path,
        TOML + TEMPLATES % "en" + TEMPLATES % "zh",
        header + "Lyon,里昂,France,法国\nKyoto,京都,Japan,日本\n",
    )
    (kind,) = load_kinds(tmp_path)
    assert kind.fact_count == 2
    assert [entity.id for entity in kind.entities] == ["Lyon", "Kyoto"]


@pytest.mark.parametrize(
    ("toml", "csv", "complaint"),
    [
        (TOML, "en,zh\n", "lacks the entry"),
        ("kind =", "en,zh\n", "cannot be read"),
        (TOML + (TEMPLATES % "en").replace('"a {name}?", ', "") + TEMPLATES % "zh",
         "en,zh\n", "at least 4"),
        (TOML + (TEMPLATES % "en").replace("e {name}", "e") + TEMPLATES % "zh",
         "en,zh\n", "must hold"),
        (TOML + TEMPLATES % "en" + TEMPLATES % "zh",
         "en,zh,country.en,country.zh\nLyon,里昂,France,\n", "one language only"),
        (TOML + TEMPLATES % "en" + TEMPLATES % "zh",
         "en,zh,country\nLyon,里昂,F\nLyon,京都,J\n", "used twice"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_named(tmp_path: Path, toml: str, csv: str, complaint: str) -> None:
    write_kind(tmp_path, toml, csv)
    with pytest.raises(UserError, match=complaint):
        load_kinds(tmp_path)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no fact files"):
        load_kinds(tmp_path)
