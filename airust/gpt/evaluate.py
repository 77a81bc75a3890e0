"""Grade a trained model: the exam of the embedded corpus by greedy decoding, and perplexity.

``eval.json`` beside the checkpoint holds, for each part of the exam and language, n and the exact
match; for each relation also the majority baseline, which is what a model would score that always
gave the commonest answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch

from airust.corpus.curriculum import Corpus
from airust.corpus.documents import Fact
from airust.corpus.exam import (
    Question,
    explanation_questions,
    fact_questions,
    made_up_questions,
    majority_baseline,
)
from airust.corpus.facts import LANGUAGES, Language
from airust.gpt.batch_greedy import batch_greedy
from airust.gpt.data import collate, corpus_document
from airust.gpt.loss import NextTokenLoss
from airust.gpt.model import GPT
from airust.gpt.tokenizer import Tokenizer
from airust.types import Message

ANSWER_TOKENS = 80  # the longest answer of the corpus is shorter
WRONG_KEPT = 500  # wrong answers listed in eval.json
REFUSALS = {"en": "I do not know", "zh": "我不知道"}
RUST_ORIGINAL = (
    "For comparison: RustGPT, the Rust program this began with, has 493 thousand parameters, "
    "78 training examples and no held-out set, so nothing of this could be measured there."
)


def evaluate(model: GPT, tokenizer: Tokenizer, corpus: Corpus, every: int = 1) -> dict[str, Any]:
    """Sit the exam, or every n-th question of it; the result is ready for eval.json."""
    questions = [
        *fact_questions(corpus),
        *explanation_questions(corpus),
        *made_up_questions(corpus),
    ][::every]
    answers = ask_all(model, tokenizer, [question.text for question in questions])
    graded = list(zip(questions, answers, strict=True))
    return {
        "data_sha256": corpus.sha256,
        "parameters": model.parameter_count(),
        "scores": _scores([g for g in graded if g[0].part != "made_up"]),
        "relations": _by_relation(graded, corpus),
        "made_up": _made_up([g for g in graded if g[0].part == "made_up"]),
        "perplexity": perplexity(model, tokenizer, corpus),
        "wrong": [
            {"part": q.part, "question": q.text, "expected": q.expected, "answer": a}
            for q, a in graded
            if q.expected and not q.is_right(a)
        ][:WRONG_KEPT],
        "comparison": RUST_ORIGINAL,
    }


def ask_all(model: GPT, tokenizer: Tokenizer, texts: Sequence[str]) -> list[str]:
    """The greedy answer to each question, asked alone."""
    prompts = [tokenizer.encode_chat([Message("user", text)]) for text in texts]
    answers = batch_greedy(model, prompts, ANSWER_TOKENS, tokenizer.turn_end)
    return [tokenizer.decode(answer) for answer in answers]


Graded = list[tuple[Question, str]]


def _scores(graded: Graded) -> dict[str, dict[str, dict[str, float]]]:
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for part in sorted({question.part for question, _ in graded}):
        scores[part] = {}
        for language in LANGUAGES:
            found = [q.is_right(a) for q, a in graded if (q.part, q.language) == (part, language)]
            scores[part][language] = {"n": len(found), "exact": sum(found) / max(1, len(found))}
    return scores


def _by_relation(graded: Graded, corpus: Corpus) -> list[dict[str, Any]]:
    baseline = majority_baseline(corpus)

    def key(item: tuple[Question, str]) -> tuple[str, Language]:
        return (item[0].topic, item[0].language)

    held = sorted((g for g in graded if g[0].part.startswith("held_out")), key=key)
    rows = []
    for (topic, group_language), group in groupby(held, key):
        right = [question.is_right(answer) for question, answer in group]
        kind, relation = topic.split(".")
        rows.append(
            {
                "kind": kind,
                "relation": relation,
                "language": group_language,
                "n": len(right),
                "exact": sum(right) / len(right),
                "majority": baseline[topic, group_language],
            }
        )
    return rows


def _made_up(graded: Graded) -> dict[str, dict[str, float]]:
    """How often the model says that it does not know, and how often it invents an answer."""
    result: dict[str, dict[str, float]] = {}
    for language in LANGUAGES:
        answers = [answer for question, answer in graded if question.language == language]
        refused = sum(REFUSALS[language] in answer for answer in answers) / max(1, len(answers))
        result[language] = {"n": len(answers), "refused": refused, "invented": 1 - refused}
    return result


@torch.no_grad()
def perplexity(model: GPT, tokenizer: Tokenizer, corpus: Corpus) -> dict[str, float]:
    """exp of the mean loss a token on the held-out entities' statements, for each language."""
    result: dict[str, float] = {}
    loss = NextTokenLoss(model)
    for language in LANGUAGES:
        held = [f for f in corpus.facts if not f.entity.asked and f.language == language]
        result[language] = math.exp(_mean_loss(loss, tokenizer, held))
    return result


def _mean_loss(loss: NextTokenLoss, tokenizer: Tokenizer, held: Sequence[Fact]) -> float:
    documents = [corpus_document(tokenizer, fact.answer) for fact in held]
    length = max(len(document.ids) for document in documents) - 1
    batch = collate([[document] for document in documents], length, tokenizer.end_of_text, 0)
    total = loss(batch.inputs, batch.targets, batch.mask)
    return float(total) / int((batch.targets >= 0).sum())
