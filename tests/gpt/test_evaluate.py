"""Batched greedy answers and the exam."""

from __future__ import annotations

from pathlib import Path

import torch

from airust.corpus.curriculum import Corpus
from airust.corpus.exam import Question
from airust.gpt.batch_greedy import batch_greedy
from airust.gpt.checkpoint import load_model
from airust.gpt.evaluate import perplexity
from airust.gpt.tokenizer import Tokenizer


def test_batched_answers_equal_one_by_one_without_a_cache(model_dir: Path) -> None:
    model = load_model(model_dir)
    prompts = [[5, 6, 7], [9] * 11, [4], [20, 30, 40, 50, 60]]
    stop = 2
    answers = batch_greedy(model, prompts, 12, stop, batch_size=3)
    for prompt, answer in zip(prompts, answers, strict=True):
        ids, slow = list(prompt), []
        with torch.no_grad():
            for _ in range(12):
                token = int(model(torch.tensor([ids]))[0, -1].argmax())
                if token == stop:
                    break
                slow.append(token)
                ids.append(token)
        assert answer == slow


def test_a_value_counts_only_as_a_whole_word() -> None:
    def right(expected: str, answer: str, language: str = "en") -> bool:
        return Question("held_out", "a.b", language, "?", expected).is_right(answer)  # type: ignore[arg-type]

    assert right("Paris", "The capital of France is Paris.")
    assert not right("7", "The number is 17.")
    assert right("7", "氮的原子序数是7。", "zh")
    assert not right("7", "铝的原子序数是77。", "zh")
    assert right(".fr", "法国的互联网域名是.fr。", "zh")
    assert right("巴黎", "法国的首都是巴黎。", "zh")


def test_perplexity_of_an_untrained_model_is_large(model_dir: Path) -> None:
    found = perplexity(load_model(model_dir), Tokenizer.load(model_dir), Corpus.load())
    assert set(found) == {"en", "zh"}
    assert all(value > 50 for value in found.values())
