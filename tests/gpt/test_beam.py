"""Beam search: exhaustive where it can be, and as transformers searches."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
import transformers

from airust.gpt.beam import Beam, beam_search
from airust.gpt.checkpoint import load_model
from airust.gpt.config import GPTConfig
from airust.gpt.generate import generate
from airust.gpt.model import GPT
from airust.types import ContextOverflowError, SamplingParams, UserError

PROMPT = [3, 1, 2]


@pytest.fixture(scope="module")
def tiny() -> GPT:
    """Five tokens, the last of which ends a text."""
    config = GPTConfig(
        vocab_size=5, hidden_size=16, layers=2, heads=2, kv_heads=1, head_dim=8, ffn_size=16,
        context=16,
    )  # fmt: skip
    model = GPT(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(1.0 if weight.dim() == 1 else 0.0, 0.5, generator=generator)
    return model.eval()


def texts(eos: int | None, length: int) -> list[tuple[int, ...]]:
    """Every text that ends at eos or at the length."""
    found = set()
    for tokens in itertools.product(range(5), repeat=length):
        end = tokens.index(eos) + 1 if eos in tokens else length
        found.add(tokens[:end])
    return sorted(found)


@torch.inference_mode()
def every_beam(model: GPT, eos: int | None, length: int) -> list[Beam]:
    found = texts(eos, length)
    padded = [[*PROMPT, *text, *[0] * (length - len(text))] for text in found]
    logprobs = model(torch.tensor(padded)).log_softmax(-1)[:, len(PROMPT) - 1 :]  # (n, length, V)
    return [
        Beam(text, float(sum(row[i, token] for i, token in enumerate(text))))
        for text, row in zip(found, logprobs, strict=True)
    ]


@pytest.mark.parametrize("eos", [None, 4])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.5, -1.0])
def test_with_enough_beams_the_search_is_exhaustive(
    tiny: GPT, eos: int | None, length_penalty: float
) -> None:
    every = every_beam(tiny, eos, 4)
    every.sort(key=lambda b: -b.score(length_penalty))
    eos_ids = () if eos is None else (eos,)
    found = beam_search(tiny, PROMPT, 5**4, 4, length_penalty, eos_ids)
    assert [b.token_ids for b in found] == [b.token_ids for b in every]
    assert [b.logprob for b in found] == pytest.approx([b.logprob for b in every], abs=1e-4)


def test_one_beam_is_greedy(tiny: GPT) -> None:
    greedy = generate(tiny, PROMPT, SamplingParams(max_tokens=10))
    (beam,) = beam_search(tiny, PROMPT, beams=1, max_tokens=10)
    assert list(beam.token_ids) == [step.token_id for step in greedy]


def test_more_beams_find_likelier_texts(tiny: GPT) -> None:
    best = [beam_search(tiny, PROMPT, n, 10, 0.0)[0].logprob for n in (1, 8, 200)]
    assert best == sorted(best)
    assert best[0] < best[2]


@pytest.mark.parametrize("beams", [2, 3, 8])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_as_transformers_searches(model_dir: Path, beams: int, length_penalty: float) -> None:
    prompt, eos = [40, 7, 99], [30, 31, 32, 33]
    theirs = transformers.AutoModelForCausalLM.from_pretrained(model_dir)
    out = theirs.generate(
        torch.tensor([prompt]), max_new_tokens=12, num_beams=beams, num_return_sequences=beams,
        length_penalty=length_penalty, early_stopping="never", do_sample=False, eos_token_id=eos,
        pad_token_id=0, output_scores=True, return_dict_in_generate=True,
    )  # fmt: skip
    ours = beam_search(load_model(model_dir), prompt, beams, 12, length_penalty, eos)
    for beam, row in zip(ours, out.sequences[:, 3:].tolist(), strict=True):
        assert list(beam.token_ids) == row[: len(beam.token_ids)]
    scores = [beam.score(length_penalty) for beam in ours]
    assert scores == pytest.approx(out.sequences_scores.tolist(), abs=1e-4)


def test_refusals(tiny: GPT) -> None:
    with pytest.raises(UserError, match="beams is 0"):
        beam_search(tiny, PROMPT, beams=0)
    with pytest.raises(UserError, match="max_tokens is 0"):
        beam_search(tiny, PROMPT, max_tokens=0)
    with pytest.raises(UserError, match="at least one token"):
        beam_search(tiny, [])
    with pytest.raises(ContextOverflowError, match="16"):
        beam_search(tiny, PROMPT, max_tokens=14)
