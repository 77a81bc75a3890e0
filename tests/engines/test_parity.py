"""Parity: who agrees passes, who differs fails, and a tie is told from an error."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from airust.engines import parity
from airust.engines.base import Capabilities, Engine, ScoredToken
from airust.engines.dummy import DummyEngine
from airust.engines.parity import Answer, EngineParity, run_parity
from airust.engines.parity_prompts import built_in_requests, fitted_ids
from airust.engines.registry import list_engines
from airust.gpt.checkpoint import load_model, save_model
from airust.gpt.config import GPTConfig
from airust.gpt.model import GPT
from airust.gpt.tokenizer import Tokenizer, character_tokenizer
from airust.types import EngineError, Message, Request, TokenEvent, TopLogprob, UserError

FEW = built_in_requests()[6:18:3]


@pytest.fixture(scope="module")
def answers(model_dir: Path) -> list[Answer]:
    model, tokenizer = load_model(model_dir), Tokenizer.load(model_dir)
    return parity.reference_answers(model, [fitted_ids(r, tokenizer, 240) for r in FEW], 16)


def test_the_reference_is_what_the_uncached_model_says(
    model_dir: Path, answers: list[Answer]
) -> None:
    model = load_model(model_dir)
    for answer in answers:
        ids = list(answer.prompt)
        for _ in range(16):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
        assert answer.tokens == ids[len(answer.prompt) :]


def test_a_wrong_guess_does_not_change_the_reference(
    model_dir: Path, answers: list[Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "batch_greedy", lambda *a: [[7] * 5] * len(answers))
    prompts = [answer.prompt for answer in answers]
    again = parity.reference_answers(load_model(model_dir), prompts, 16)
    assert [a.tokens for a in again] == [a.tokens for a in answers]


def test_every_installed_engine_agrees(model_dir: Path) -> None:
    report = run_parity(model_dir, prompts=FEW, new_tokens=16)
    here = [e.name for e in list_engines() if e.available and not e.remote]
    expected = [name for name in here if name != "dummy"]
    assert [found.engine for found in report.engines] == expected
    for found in report.engines:
        assert (found.status, found.divergence) == ("passed", None), found.reason
        assert found.equal == found.prompts == len(FEW)
        assert found.positions == 16 * len(FEW)
        assert found.unscored == 0
        assert found.max_delta is not None
        assert 0 <= (found.mean_delta or 0) <= found.max_delta < 1e-4
        assert found.max_kl is not None
        assert 0 <= found.max_kl < 1e-6
        assert found.dtype == "float32"
        assert found.version
    assert report.passed


COARSE = ["torch:dtype=bfloat16", "transformers:dtype=bfloat16"]
if find_spec("mistralrs"):
    COARSE += ["mistralrs:quantize=Q8_0", "mistralrs:dtype=bfloat16"]
if find_spec("llama_cpp"):
    COARSE += ["llamacpp:dtype=q8_0"]


def test_fewer_bits_are_measured_and_not_judged(model_dir: Path) -> None:
    report = run_parity(model_dir, ["torch", *COARSE], prompts=FEW, new_tokens=8)
    exact, *coarse = report.engines
    assert exact.status == "passed"
    assert [found.engine for found in coarse] == COARSE
    for found in coarse:
        assert (found.status, found.passed) == ("measured", False)
        assert found.max_delta is not None and exact.max_delta is not None
        assert exact.max_delta < found.max_delta < 5
        assert found.mean_kl is not None and found.mean_kl > 0
        assert found.version
        assert found.dtype is not None and found.dtype != "float32"
        assert found.reason.startswith(f"In {found.dtype} a logprob is off by up to ")
    assert report.passed


def test_an_option_that_an_engine_does_not_know(model_dir: Path) -> None:
    report = run_parity(model_dir, ["torch:colour=red"], prompts=FEW[:1], new_tokens=2)
    (refused,) = report.engines
    assert (refused.engine, refused.status) == ("torch:colour=red", "unavailable")
    assert "colour" in refused.reason
    with pytest.raises(UserError, match="must look like NAME:OPTION=VALUE"):
        run_parity(model_dir, ["torch:colour"])
    with pytest.raises(UserError, match="no engine 'gpt5'"):
        run_parity(model_dir, ["gpt5:colour=red"])


def test_there_are_enough_prompts_in_both_languages() -> None:
    requests = built_in_requests()
    texts = [r.prompt or (r.messages or ())[-1].content for r in requests]
    assert len(set(texts)) == len(requests) >= 20
    chinese = [any("\u4e00" <= c <= "\u9fff" for c in text) for text in texts]
    assert sum(chinese) >= 8
    assert len(chinese) - sum(chinese) >= 8
    assert sum(r.messages is not None for r in requests) >= 8


def test_a_tiny_context_and_a_vocabulary_of_characters(tmp_path: Path) -> None:
    tokenizer = character_tokenizer(["To be, or not to be"])
    config = GPTConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=16, layers=1, heads=1, kv_heads=1,
        head_dim=16, ffn_size=16, context=32,
    )  # fmt: skip
    save_model(GPT(config), tokenizer, tmp_path)
    report = run_parity(tmp_path, ["transformers"], new_tokens=64)
    assert report.new_tokens == 16
    assert report.prompts >= 20
    assert report.engines[0].positions == 16 * report.prompts


class Fake(Engine):
    """Answers from the reference, with faults that a test asks for."""

    name: ClassVar[str] = "fake"
    capabilities: ClassVar[Capabilities] = Capabilities(
        token_ids=True, logprobs=True, ignore_eos=True
    )
    offset = 0.0  # added to each logprob
    wrong: int | None = None  # position where greedy decoding takes the second choice
    short = 0  # tokens that are missing at the end
    unscored = 0
    closed = False

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.answers = {tuple(answer.prompt): answer for answer in answers}

    load = submit = None  # type: ignore[assignment]

    def greedy(self, prompt_ids: Sequence[int], max_tokens: int, top_k: int = 0) -> Any:
        answer = self.answers[tuple(prompt_ids)]
        tokens = list(answer.tokens)[: max_tokens - self.short]
        if self.wrong is not None:
            tokens[self.wrong] = list(answer.top[self.wrong])[1]
        return [TokenEvent("", token) for token in tokens]

    def score(self, prompt_ids: Any, continuation_ids: Any, top_k: int = 8) -> Any:
        answer = self.answers[tuple(prompt_ids)]
        scores: list[ScoredToken | None] = []
        for token, top in zip(continuation_ids, answer.top, strict=True):
            alternatives = tuple(TopLogprob(i, "", p + self.offset) for i, p in top.items())
            scores.append(ScoredToken(top[token] + self.offset, alternatives))
        scores[: self.unscored] = [None] * self.unscored
        return scores

    def close(self) -> None:
        self.closed = True


Fake.__abstractmethods__ = frozenset()


@pytest.fixture
def fake(answers: list[Answer], monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    engine = Fake(answers)
    monkeypatch.setattr(parity, "load_engine", lambda name, model: engine)
    yield engine
    assert engine.closed


def check(model_dir: Path, **options: Any) -> EngineParity:
    report = run_parity(model_dir, ["dummy"], prompts=FEW, new_tokens=16, **options)
    json.dumps(report.to_dict(), allow_nan=False)
    assert report.passed == report.engines[0].passed
    return report.engines[0]


def test_a_perfect_engine(fake: Fake, model_dir: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    found = check(model_dir, on_progress=lambda *step: steps.append(step))
    assert found.passed
    assert (found.max_delta, found.max_kl) == (0, 0)
    assert steps[0] == ("reference", 0, len(FEW))
    assert steps[-1] == ("dummy", len(FEW) - 1, len(FEW))


def test_logprobs_beyond_the_tolerance_fail(fake: Fake, model_dir: Path) -> None:
    fake.offset = -0.01
    found = check(model_dir)
    assert (found.status, found.equal) == ("failed", len(FEW))
    assert found.max_delta == pytest.approx(0.01)
    assert "0.01, more than 0.001" in found.reason
    assert check(model_dir, tolerance=0.02).passed


def test_a_different_token_fails(fake: Fake, model_dir: Path, answers: list[Answer]) -> None:
    fake.wrong = 3
    found = check(model_dir)
    assert (found.status, found.equal, found.tied) == ("failed", 0, 0)
    assert "4 of 4 greedy answers differ, first at prompt 0, token 3" in found.reason
    assert found.divergence is not None
    assert found.divergence.margin == pytest.approx(answers[0].margin(3))
    assert found.divergence.gap == pytest.approx(answers[0].margin(3))
    assert not found.divergence.tied


def test_a_tie_within_the_measured_error_passes(
    fake: Fake, model_dir: Path, answers: list[Answer]
) -> None:
    fake.wrong = 3
    widest = max(answer.margin(3) for answer in answers)
    fake.offset = -widest  # so the measured error is as wide as the margins
    found = check(model_dir, tolerance=2 * widest)
    assert found.passed
    assert (found.equal, found.tied) == (0, len(FEW))
    assert found.divergence is not None
    assert found.divergence.tied


def test_an_answer_that_ends_early_fails(fake: Fake, model_dir: Path) -> None:
    fake.short = 2
    found = check(model_dir)
    assert found.status == "failed"
    assert found.divergence is not None
    assert (found.divergence.position, found.divergence.got) == (14, None)


def test_positions_without_a_score_are_counted(fake: Fake, model_dir: Path) -> None:
    fake.unscored = 3
    found = check(model_dir)
    assert (found.positions, found.unscored) == (13 * len(FEW), 3 * len(FEW))


def test_logprobs_that_are_no_numbers_are_an_error(fake: Fake, model_dir: Path) -> None:
    fake.offset = math.nan
    found = check(model_dir)
    assert (found.status, found.max_delta) == ("error", None)


def test_an_engine_without_logprobs_is_judged_by_its_tokens(
    fake: Fake, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fake, "capabilities", replace(Fake.capabilities, logprobs=False))
    found = check(model_dir)
    assert found.passed
    assert (found.positions, found.max_delta, found.mean_kl) == (0, None, None)
    assert "greedy tokens agree" in found.reason
    fake.wrong = 0
    assert check(model_dir).status == "failed"


def test_a_crash_is_reported_and_hides_nobody(
    fake: Fake, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*args: object) -> None:
        raise EngineError("out of memory")

    monkeypatch.setattr(Fake, "greedy", crash)
    found = check(model_dir)
    assert (found.status, found.reason) == ("error", "EngineError: out of memory.")


def test_an_engine_that_does_not_load_is_unavailable(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, model: Path) -> Engine:
        raise UserError("Not this model.")

    monkeypatch.setattr(parity, "load_engine", refuse)
    report = run_parity(model_dir, ["torch", "mistralrs"], prompts=FEW[:1], new_tokens=2)
    assert [found.status for found in report.engines] == ["unavailable"] * 2
    assert report.engines[0].reason == "Not this model."
    assert not report.passed


def test_the_dummy_engine_takes_no_token_ids(model_dir: Path) -> None:
    report = run_parity(model_dir, ["dummy"], prompts=FEW[:1], new_tokens=2)
    assert report.engines[0].status == "error"
    assert "token ids" in report.engines[0].reason
    assert DummyEngine.capabilities.token_ids is False


def test_unknown_engines_and_broken_models_are_refused(model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no engine 'gpt5'"):
        run_parity(model_dir, ["gpt5"])
    with pytest.raises(UserError):
        run_parity(tmp_path, ["transformers"])


def test_prompts_are_shortened_by_their_text(model_dir: Path) -> None:
    tokenizer = Tokenizer.load(model_dir)
    long = Request(messages=(Message("user", "What is rain? " * 50),))
    ids = fitted_ids(long, tokenizer, 60)
    assert 50 <= len(ids) <= 60
    assert tokenizer.decode(ids).endswith("assistant\n")
    assert len(fitted_ids(Request(token_ids=(5,) * 90), tokenizer, 60)) == 60
    assert len(fitted_ids(Request(messages=long.messages), tokenizer, 4)) <= 4
