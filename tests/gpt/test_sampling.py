"""Filters against transformers', draws against exact probabilities."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.generation import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from airust.gpt.sampling import (
    Adjustments,
    Dice,
    apply_temperature,
    choose,
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalise_repetition,
    probabilities,
    top_logprobs,
)
from airust.types import SamplingParams, UserError

NO_TEXT = torch.zeros(5, 0, dtype=torch.long)


def random_logits(scale: float, rows: int = 5, tokens: int = 301) -> Tensor:
    return scale * torch.randn(rows, tokens, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("scale", [0.01, 1.0, 20.0])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda x: keep_top_k(x, 1), TopKLogitsWarper(1)),
        (lambda x: keep_top_k(x, 40), TopKLogitsWarper(40)),
        (lambda x: keep_top_k(x, 1000), TopKLogitsWarper(1000)),
        (lambda x: keep_top_p(x, 0.001), TopPLogitsWarper(0.001)),
        (lambda x: keep_top_p(x, 0.5), TopPLogitsWarper(0.5)),
        (lambda x: keep_top_p(x, 0.95), TopPLogitsWarper(0.95)),
        (lambda x: keep_min_p(x, 0.02), MinPLogitsWarper(0.02)),
        (lambda x: keep_min_p(x, 0.7), MinPLogitsWarper(0.7)),
    ],
)
def test_filters_are_those_of_transformers(
    ours: Callable[[Tensor], Tensor], theirs: Any, scale: float
) -> None:
    logits = random_logits(scale)
    assert torch.equal(ours(logits), theirs(NO_TEXT, logits))


def test_repetition_penalty_is_that_of_transformers() -> None:
    logits = random_logits(2.0)
    text = torch.randint(0, 301, (5, 40), generator=torch.Generator().manual_seed(4))
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(1, text, True)
    expected = RepetitionPenaltyLogitsProcessor(1.3)(text, logits.clone())
    assert torch.equal(penalise_repetition(logits, seen, 1.3), expected)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "min_p"),
    list(itertools.product((0.3, 1.0, 1.7), (0, 20), (0.7, 1.0), (0.0, 0.1))),
)
def test_the_chain_is_that_of_transformers(
    temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    params = SamplingParams(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    steps: list[Any] = [TemperatureLogitsWarper(temperature)]
    steps += [TopKLogitsWarper(top_k)] if top_k else []
    steps += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    steps += [MinPLogitsWarper(min_p)] if min_p else []
    logits = random_logits(2.0)
    expected = LogitsProcessorList(steps)(NO_TEXT, logits).softmax(-1)
    torch.testing.assert_close(probabilities(logits, params), expected, atol=1e-6, rtol=1e-5)


def test_every_row_of_a_batch_has_its_own_nucleus() -> None:
    peaked, flat = torch.tensor([9.0, 0.0, 0.0, 0.0]), torch.zeros(4)
    kept = keep_top_p(torch.stack((peaked, flat)), 0.5).isfinite().sum(-1)
    assert kept.tolist() == [1, 2]


def test_a_temperature_near_zero_is_greedy_and_not_a_number_never() -> None:
    logits = torch.tensor([[3.0, 1e4, -1e4, 0.0]])
    for temperature in (1e-30, 1e-6):
        assert torch.equal(
            apply_temperature(logits, temperature).softmax(-1), torch.tensor([[0.0, 1.0, 0.0, 0.0]])
        )


def test_half_precision_logits_are_computed_in_float32() -> None:
    logits = random_logits(2.0).bfloat16()
    params = SamplingParams(temperature=0.8, top_p=0.9)
    assert torch.equal(probabilities(logits, params), probabilities(logits.float(), params))


def slow_draw(probability: list[float], luck: float) -> int:
    """The first token at which the sum reaches luck * total, in exact arithmetic."""
    total, target = 0.0, luck * math.fsum(probability)
    for token, p in enumerate(probability):
        total = math.fsum((total, p))
        if p > 0 and total >= target - 1e-12:
            return token
    raise AssertionError


def test_draw_is_inverse_transform_sampling() -> None:
    probability = random_logits(2.0, rows=1, tokens=17).softmax(-1)
    for luck in torch.linspace(0.013, 1.0, 50).tolist():
        token = draw(probability, torch.tensor([luck], dtype=torch.float64))
        assert int(token) == slow_draw(probability[0].tolist(), luck)


@pytest.mark.parametrize("luck", [5e-324, 2.0**-53, 0.5, 1 - 2.0**-53, 1.0])
def test_what_is_out_is_never_drawn(luck: float) -> None:
    probability = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0]])
    assert int(draw(probability, torch.tensor([luck], dtype=torch.float64))) in (1, 3)


def test_draws_follow_the_distribution() -> None:
    """Pearson's chi-square with 7 degrees of freedom; 24.3 is exceeded once in a thousand."""
    params = SamplingParams(temperature=0.9, top_k=8)
    expected = probabilities(random_logits(1.0, rows=1), params)[0]
    dice = Dice(seed=5)
    luck = torch.tensor([dice.roll() for _ in range(20_000)], dtype=torch.float64)
    drawn = draw(expected.expand(len(luck), -1), luck).bincount(minlength=len(expected))
    kept = expected > 0
    assert int(kept.sum()) == 8
    assert int(drawn[~kept].sum()) == 0
    counts, wanted = drawn[kept].double(), expected[kept].double() * len(luck)
    assert float(((counts - wanted) ** 2 / wanted).sum()) < 24.3


def test_dice() -> None:
    rolls = [Dice(seed).roll() for seed in (0, 1, -1, 2**64 - 1, 2**64)]
    assert rolls[0] == rolls[4] != rolls[1]
    assert rolls[2] == rolls[3]
    assert Dice().roll() != Dice().roll()
    dice = Dice(1)
    many = [dice.roll() for _ in range(1000)]
    assert 0 < min(many) < max(many) <= 1
    assert len(set(many)) == 1000


def test_choose() -> None:
    logits = torch.tensor([2.0, 1.9, 0.0])
    greedy = SamplingParams()
    assert choose(logits, greedy, Dice(0)) == 0
    penalised = SamplingParams(repetition_penalty=2.0)
    assert choose(logits, penalised, Dice(0), Adjustments(penalised, [0], 3)) == 1
    assert choose(logits, greedy, Dice(0), Adjustments(greedy, [0], 3)) == 0
    assert choose(logits, greedy, Dice(0), allowed=torch.tensor([False, False, True])) == 2


def test_a_token_that_is_not_allowed_is_never_drawn() -> None:
    params, dice = SamplingParams(temperature=1.0, top_p=0.9), Dice(0)
    allowed = torch.tensor([False, True, True])
    logits = torch.tensor([9.0, 0.0, 0.0])
    assert {choose(logits, params, dice, allowed=allowed) for _ in range(50)} == {1, 2}


def test_bias_is_that_of_transformers() -> None:
    logits = random_logits(2.0)
    theirs = SequenceBiasLogitsProcessor({(7,): 2.5, (300,): -100.0})
    expected = theirs(torch.ones(5, 1, dtype=torch.long), logits.clone())
    params = SamplingParams(logit_bias=((7, 2.0), (300, -100.0), (7, 0.5)))
    found = torch.stack([Adjustments(params, [], 301)(row) for row in logits])
    torch.testing.assert_close(found, expected)


def test_presence_and_frequency_count_what_was_generated() -> None:
    """mu[j] - c[j] * frequency - (c[j] > 0) * presence, as OpenAI's API defines it."""
    params = SamplingParams(presence_penalty=0.7, frequency_penalty=-0.2)
    adjust = Adjustments(params, [1, 2, 2], 5)  # the prompt does not count
    logits = random_logits(1.0, rows=1, tokens=5)[0]
    assert torch.equal(adjust(logits), logits)
    for token in (3, 4, 3, 3):
        adjust.note(token)
    expected = logits - torch.tensor([0, 0, 0, 0.7 - 0.6, 0.7 - 0.2])
    torch.testing.assert_close(adjust(logits), expected)


def test_adjustments_in_their_order() -> None:
    params = SamplingParams(
        repetition_penalty=2.0, presence_penalty=1.0, logit_bias=((0, 3.0), (1, -3.0))
    )
    adjust = Adjustments(params, [0], 3)
    adjust.note(1)
    found = adjust(torch.tensor([1.0, 1.0, 1.0]))
    assert found.tolist() == [(1 + 3) / 2, (1 - 3) * 2 - 1, 1]


def test_adjustments_that_are_not_needed() -> None:
    assert not Adjustments(SamplingParams(temperature=1.0, seed=3), [1], 5).needed
    for params in (
        SamplingParams(repetition_penalty=1.1),
        SamplingParams(presence_penalty=-1.0),
        SamplingParams(frequency_penalty=0.1),
        SamplingParams(logit_bias=((0, 1.0),)),
    ):
        assert Adjustments(params, [1], 5).needed


@pytest.mark.parametrize("token", [-1, 5])
def test_a_bias_outside_the_vocabulary_is_refused(token: int) -> None:
    with pytest.raises(UserError, match=f"token id {token}, which is outside the vocabulary of 5"):
        Adjustments(SamplingParams(logit_bias=((0, 1.0), (token, 1.0))), [], 5)


def test_top_logprobs() -> None:
    found = top_logprobs(torch.tensor([0.25, 0.5, 0.125, 0.125]).log(), 2)
    assert [token for token, _ in found] == [1, 0]
    assert [p for _, p in found] == pytest.approx([math.log(0.5), math.log(0.25)])
    assert top_logprobs(torch.zeros(3), 0) == ()
    assert len(top_logprobs(torch.zeros(3), 9)) == 3
