"""Quality beside speed: perplexity against one computed here, and the exam."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from airust.bench.quality import ask_all, exam_questions, held_out_text, run_job, spread
from airust.engines.registry import load_engine
from airust.gpt.checkpoint import load_model
from airust.gpt.tokenizer import Tokenizer

JOB = {"engine": "torch", "options": {}, "serve": None, "text_tokens": 100, "exam_questions": 4}


def test_perplexity_is_that_of_the_model(model_dir: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The capital of France is Paris. Rust has one owner for each value.", "utf-8")
    found = run_job(JOB | {"model": str(model_dir), "text": str(text)})["text"]
    ids = Tokenizer.load(model_dir).encode(text.read_text("utf-8"))
    with torch.inference_mode():
        logprobs = load_model(model_dir)(torch.tensor([ids])).log_softmax(-1)[0]
    mean = -sum(float(logprobs[i, t]) for i, t in enumerate(ids[1:])) / (len(ids) - 1)
    assert found["tokens"] == found["scored"] == len(ids) - 1
    assert found["perplexity"] == pytest.approx(math.exp(mean), rel=1e-4)
    assert found["reference"] == pytest.approx(math.exp(mean), rel=1e-4)
    assert abs(found["excess"]) < 1e-4


def test_fewer_bits_are_further_off(model_dir: Path) -> None:
    job = JOB | {"model": str(model_dir), "text": None, "options": {"dtype": "bfloat16"}}
    found = run_job(job)["text"]
    assert 1e-5 < abs(found["excess"]) < 0.2


def test_a_model_without_an_exam_sits_none(model_dir: Path) -> None:
    found = run_job(JOB | {"model": str(model_dir), "text": None, "text_tokens": 0})
    assert found == {"error": None, "text": None, "exam": None}


def test_the_questions_are_held_out_ones_of_both_languages() -> None:
    questions = exam_questions(40)
    assert len(questions) == 40 and {q.language for q in questions} == {"en", "zh"}
    assert {q.part for q in questions} == {"held_out", "held_out_new_wording"}
    assert questions == exam_questions(40)
    assert len(held_out_text()) > 2000


def test_all_questions_are_answered() -> None:
    with load_engine("dummy", "dummy") as engine:
        assert ask_all(engine, ["one", "two"]) == ["one", "two"]
    assert spread([1, 2], 5) == [1, 2]
