"""How good an engine's answers are, beside how fast: perplexity, and the held-out questions.

* **perplexity**: exp of the mean negative logprob of the tokens of a text, teacher-forced. An
  engine that shows only its likeliest tokens cannot score all of them; how many it did is told,
  and ``excess`` compares it with the reference on the very tokens that it scored;
* **exam**: the share of held-out questions whose greedy answer holds the right value. The same
  questions for every engine; only of models that were trained on the embedded corpus.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airust.bench.own_server import served
from airust.engines.base import Engine
from airust.engines.registry import load_engine
from airust.types import DoneEvent, ErrorEvent, Event, Message, Request, SamplingParams, TokenEvent

if TYPE_CHECKING:
    from airust.corpus.exam import Question

ANSWER_TOKENS = 80  # the longest answer of the corpus is shorter
TOP_K = 20  # alternatives that engines without a forward pass are asked for
PARTS = ("held_out", "held_out_new_wording")


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """The worker's side; what cannot be measured is None."""
    folder = Path(job["model"])
    with served(job) as (where, _):
        options = job["options"] | where
        with load_engine(job["engine"], job["model"], **options) as engine:
            text = _perplexity(engine, folder, job["text"], job["text_tokens"])
            exam = _exam(engine, folder, job["exam_questions"])
    return {"error": None, "text": text, "exam": exam}


def _perplexity(
    engine: Engine, folder: Path, file: str | None, count: int
) -> dict[str, Any] | None:
    if not count or not engine.capabilities.logprobs or not engine.capabilities.token_ids:
        return None
    import torch

    from airust.gpt.checkpoint import load_model
    from airust.gpt.tokenizer import Tokenizer

    tokenizer, model = Tokenizer.load(folder), load_model(folder)
    text = held_out_text() if file is None else Path(file).read_text("utf-8", errors="replace")
    ids = tokenizer.encode(text[: 16 * count])[: count + 1]
    window = model.config.context // 2
    engine_sum = reference_sum = 0.0
    scored = tokens = 0
    for start in range(0, len(ids) - 1, window):
        part = ids[start : start + window + 1]
        given, wanted = part[:1], part[1:]
        with torch.inference_mode():
            logprobs = model(torch.tensor([part])).float().log_softmax(-1)[0]
        for place, (token, score) in enumerate(
            zip(wanted, engine.score(given, wanted, TOP_K), strict=True)
        ):
            tokens += 1
            if score is not None:
                scored += 1
                engine_sum -= score.logprob
                reference_sum -= float(logprobs[place, token])
    if not scored:
        return None
    return {
        "tokens": tokens,
        "scored": scored,
        "perplexity": math.exp(min(engine_sum / scored, 700.0)),
        "reference": math.exp(min(reference_sum / scored, 700.0)),
        "excess": (engine_sum - reference_sum) / scored,
    }


def held_out_text() -> str:
    """Statements about entities that training had no question about, in both languages in turn."""
    from airust.corpus.curriculum import Corpus

    held = [fact.answer for fact in Corpus.load().facts if not fact.entity.asked]
    return " ".join(spread(held, 200))


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """So many of the items, at equal distances.

    >>> spread(range(10), 3)
    [0, 3, 6]
    """
    count = min(count, len(items))
    return [items[number * len(items) // count] for number in range(count)]


def _exam(engine: Engine, folder: Path, count: int) -> dict[str, Any] | None:
    if not count or not (folder / "eval.json").is_file():
        return None
    questions = exam_questions(count)
    answers = ask_all(engine, [question.text for question in questions])
    right = sum(q.is_right(a) for q, a in zip(questions, answers, strict=True))
    return {"n": len(questions), "right": right}


def exam_questions(count: int) -> list[Question]:
    """Held-out questions, spread over all of them."""
    from airust.corpus.curriculum import Corpus
    from airust.corpus.exam import fact_questions

    asked = [q for q in fact_questions(Corpus.load()) if q.part in PARTS]
    return spread(asked, count)


def ask_all(engine: Engine, texts: Sequence[str]) -> list[str]:
    """The greedy answer to each question, all submitted at once.

    Raises:
        AirustError: a request failed.
    """
    waiting = [_Waiting() for _ in texts]
    params = SamplingParams(max_tokens=ANSWER_TOKENS)
    for text, listener in zip(texts, waiting, strict=True):
        engine.submit(Request(messages=(Message("user", text),), params=params), listener)
    return [listener.answer() for listener in waiting]


class _Waiting:
    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.ended = threading.Event()
        self.error: Exception | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, TokenEvent):
            self.pieces.append(event.text)
        elif isinstance(event, DoneEvent | ErrorEvent):
            self.error = event.error if isinstance(event, ErrorEvent) else None
            self.ended.set()

    def answer(self) -> str:
        self.ended.wait()
        if self.error is not None:
            raise self.error
        return "".join(self.pieces)
