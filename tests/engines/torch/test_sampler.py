"""Sampling of a batch against sampling of its rows, one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from airust.engines.torch.sampler import Chooser, choose_rows
from airust.gpt.sampling import Dice, choose, top_logprobs
from airust.types import SamplingParams

PARAMS = [
    SamplingParams(),
    SamplingParams(temperature=1.0, seed=1),
    SamplingParams(temperature=1.0, seed=2),
    SamplingParams(temperature=0.7, top_p=0.9, seed=3, logprobs=4),
    SamplingParams(temperature=0.7, top_p=0.9, seed=4, repetition_penalty=1.5),
    SamplingParams(repetition_penalty=4.0, logprobs=0),
    SamplingParams(temperature=1.3, top_k=7, min_p=0.05, seed=5),
]
PROMPT = list(range(0, 60, 3))


def test_rows_are_sampled_as_if_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    choosers = [Chooser(params, PROMPT, 61) for params in PARAMS]
    dice = [Dice(params.seed) for params in PARAMS]
    seen = torch.zeros(len(PARAMS), 61, dtype=torch.bool)
    seen[:, PROMPT] = True
    for _ in range(70):  # more than one block of random numbers
        logits = 2 * torch.randn(len(PARAMS), 61, generator=generator)
        expected = [choose(*one) for one in zip(logits, PARAMS, dice, seen, strict=True)]
        choices = choose_rows(logits.clone(), choosers)
        assert [c.token for c in choices if c] == expected
        for i, (choice, params) in enumerate(zip(choices, PARAMS, strict=True)):
            assert choice is not None
            if params.logprobs is None:
                assert (choice.logprob, choice.top) == (None, ())
                continue
            own = logits[i].log_softmax(-1)[choice.token]
            assert choice.logprob == pytest.approx(float(own), abs=1e-6)
            assert choice.top == top_logprobs(logits[i], params.logprobs)
        for i, chooser in enumerate(choosers):
            chooser.note(expected[i])
            seen[i, expected[i]] = True


@pytest.mark.parametrize("damage", [float("nan"), float("inf")])
def test_a_row_that_is_no_number_fails_alone(damage: float) -> None:
    choosers = [Chooser(params, PROMPT, 61) for params in PARAMS[:4]]
    logits = torch.zeros(4, 61)
    logits[1, 17] = logits[3, 5] = damage
    assert [c is None for c in choose_rows(logits, choosers)] == [False, True, False, True]


def test_nothing_to_choose() -> None:
    assert choose_rows(torch.zeros(0, 61), []) == []


def test_the_engines_sampler_is_small() -> None:
    """The rules stay in airust.gpt.sampling: no softmax or filter is written twice."""
    import airust.engines.torch.sampler as module

    source = Path(module.__file__).read_text("utf-8")
    assert "cumsum" not in source
    assert "masked_fill" not in source
