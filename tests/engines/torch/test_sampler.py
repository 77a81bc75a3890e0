"""Sampling of a batch against sampling of its rows, one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from airust.engines.constraint import Constraint, Grammars, Vocabulary, read_vocabulary
from airust.engines.torch.sampler import Choice, Chooser, choose_rows
from airust.gpt.sampling import Adjustments, Dice, choose, top_logprobs
from airust.gpt.tokenizer import Tokenizer
from airust.types import EngineError, SamplingParams

PARAMS = [
    SamplingParams(),
    SamplingParams(temperature=1.0, seed=1),
    SamplingParams(temperature=1.0, seed=2),
    SamplingParams(temperature=0.7, top_p=0.9, seed=3, logprobs=4),
    SamplingParams(temperature=0.7, top_p=0.9, seed=4, repetition_penalty=1.5),
    SamplingParams(repetition_penalty=4.0, logprobs=0),
    SamplingParams(temperature=1.3, top_k=7, min_p=0.05, seed=5),
    SamplingParams(presence_penalty=1.5, frequency_penalty=0.3, logprobs=2),
    SamplingParams(temperature=1.0, seed=6, logit_bias=((7, 3.0), (9, -100.0)), logprobs=1),
    SamplingParams(frequency_penalty=-0.5, logit_bias=((7, 1.0),), repetition_penalty=1.1),
]
PROMPT = list(range(0, 60, 3))


def test_rows_are_sampled_as_if_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    choosers = [Chooser(params, PROMPT, 61) for params in PARAMS]
    dice = [Dice(params.seed) for params in PARAMS]
    adjust = [Adjustments(params, PROMPT, 61) for params in PARAMS]
    for _ in range(70):  # more than one block of random numbers
        logits = 2 * torch.randn(len(PARAMS), 61, generator=generator)
        expected = [choose(*one) for one in zip(logits, PARAMS, dice, adjust, strict=True)]
        choices = choose_rows(logits.clone(), choosers)
        assert [c.token for c in choices if isinstance(c, Choice)] == expected
        for i, (choice, params) in enumerate(zip(choices, PARAMS, strict=True)):
            assert isinstance(choice, Choice)
            if params.logprobs is None:
                assert (choice.logprob, choice.top) == (None, ())
                continue
            own = logits[i].log_softmax(-1)[choice.token]
            assert choice.logprob == pytest.approx(float(own), abs=1e-6)
            assert choice.top == top_logprobs(logits[i], params.logprobs)
        for i, chooser in enumerate(choosers):
            chooser.note(expected[i])
            adjust[i].note(expected[i])


@pytest.mark.parametrize("damage", [float("nan"), float("inf")])
def test_a_row_that_is_no_number_fails_alone(damage: float) -> None:
    choosers = [Chooser(params, PROMPT, 61) for params in PARAMS[:4]]
    logits = torch.zeros(4, 61)
    logits[1, 17] = logits[3, 5] = damage
    choices = choose_rows(logits, choosers)
    assert [isinstance(c, EngineError) for c in choices] == [False, True, False, True]


def test_a_grammar_holds_for_its_row_only(model_dir: Path) -> None:
    tokenizer = Tokenizer.load(model_dir)
    size = tokenizer.vocab_size + 5  # a model may have more rows than its tokenizer has tokens

    def load() -> Vocabulary:
        return read_vocabulary(tokenizer.backend.to_str(), size, [tokenizer.turn_end])

    params = SamplingParams(regex="(no)+", logprobs=2)
    constraint = Grammars(load, size).constraint(params)
    choosers = [Chooser(SamplingParams(), [], size), Chooser(params, [], size, constraint)]
    logits = torch.zeros(2, size)
    logits[:, size - 1], logits[:, tokenizer.encode("o")[0]] = 9.0, 8.0
    free, bound = choose_rows(logits.clone(), choosers)
    assert isinstance(free, Choice)
    assert isinstance(bound, Choice)
    assert free.token == size - 1
    assert tokenizer.decode([bound.token]) in ("n", "no")
    assert bound.logprob == pytest.approx(float(logits[1].log_softmax(-1)[bound.token]))
    assert bound.top == top_logprobs(logits[1], 2)


def test_a_grammar_without_a_next_token_fails_alone() -> None:
    class DeadEnd(Constraint):
        def __init__(self) -> None: ...

        def allowed(self) -> torch.Tensor:
            raise EngineError("a dead end")

    choosers = [Chooser(SamplingParams(), [], 61), Chooser(SamplingParams(), [], 61, DeadEnd())]
    fine, failed = choose_rows(torch.zeros(2, 61), choosers)
    assert isinstance(fine, Choice)
    assert str(failed) == "a dead end"


def test_nothing_to_choose() -> None:
    assert choose_rows(torch.zeros(0, 61), []) == []


def test_the_engines_sampler_is_small() -> None:
    """The rules stay in airust.gpt.sampling: no softmax or filter is written twice."""
    import airust.engines.torch.sampler as module

    source = Path(module.__file__).read_text("utf-8")
    assert "cumsum" not in source
    assert "masked_fill" not in source
