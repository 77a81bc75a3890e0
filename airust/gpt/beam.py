"""Beam search: look for a likely text instead of choosing token by token.

Greedy decoding takes the likeliest token now and may miss a better text that begins with a less
likely one. Beam search carries the b likeliest beginnings along (Sutskever et al. 2014, section
3.2). A sum of logprobs shrinks with every token, so texts are ranked by

    score = logprob / length^length_penalty

as in Hugging Face's ``generate``: 0 ranks by the sum, 1 by the mean, more favours longer texts.
With V^(max_tokens - 1) beams nothing is ever dropped, and the search is exhaustive.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from airust.gpt.generate import prefill
from airust.gpt.kv_cache import KVCache
from airust.gpt.model import GPT
from airust.types import ContextOverflowError, UserError


@dataclass(frozen=True, slots=True)
class Beam:
    """A text that follows the prompt."""

    token_ids: tuple[int, ...]  # with the token that ended it
    logprob: float  # of all of them together; natural logarithm

    def score(self, length_penalty: float) -> float:
        """The logprob, made comparable between texts of different lengths.

        >>> Beam((5, 6), -3.0).score(length_penalty=1.0)
        -1.5
        """
        return self.logprob / float(len(self.token_ids) ** length_penalty)


@torch.inference_mode()
def beam_search(
    model: GPT,
    token_ids: Sequence[int],
    beams: int = 4,
    max_tokens: int = 32,
    length_penalty: float = 1.0,
    eos_ids: Collection[int] = (),
) -> list[Beam]:
    """The best continuations found, best first, ``beams`` at most.

    LongRoPE chooses its factors by the length that the texts may reach.

    Raises:
        UserError: the prompt is empty, or beams or max_tokens is below 1.
        ContextOverflowError: prompt and max_tokens go beyond the model's context.
    """
    _check(model, token_ids, beams, max_tokens)
    device, dtype = model.embed_tokens.weight.device, model.embed_tokens.weight.dtype
    reach = len(token_ids) + max_tokens
    cache = KVCache(model.config, beams, reach, dtype, device)
    logits = prefill(model, token_ids, cache, length=reach)[None]  # (1, V)
    alive, finished = [Beam((), 0.0)], list[Beam]()
    for length in range(1, max_tokens + 1):
        rows, ranked = _candidates(alive, logits, beams * (1 + len(eos_ids)))
        ended = [b.token_ids[-1] in eos_ids or length == max_tokens for b in ranked]
        finished += [b for b, end in zip(ranked[:beams], ended, strict=False) if end]
        finished = sorted(finished, key=lambda b: -b.score(length_penalty))[:beams]
        going = [i for i, end in enumerate(ended) if not end][:beams]
        alive = [ranked[i] for i in going]
        if not alive or _settled(alive, finished, beams, length_penalty, max_tokens):
            break
        cache.select(torch.tensor([rows[i] for i in going], device=device))
        newest = torch.tensor([b.token_ids[-1:] for b in alive], device=device)  # (b, 1)
        logits = model(newest, cache=cache, length=reach)[:, -1]  # (b, V)
    return finished


def _candidates(alive: list[Beam], logits: Tensor, count: int) -> tuple[list[int], list[Beam]]:
    """The likeliest texts that are one token longer, and the beam that each goes on from."""
    so_far = torch.tensor([beam.logprob for beam in alive], device=logits.device)
    totals = so_far[:, None] + logits.float().log_softmax(-1)  # (b, V)
    top = totals.flatten().topk(min(count, totals.numel()))
    rows, tokens = top.indices // logits.shape[-1], top.indices % logits.shape[-1]
    found = [
        Beam((*alive[row].token_ids, token), logprob)
        for row, token, logprob in zip(
            rows.tolist(), tokens.tolist(), top.values.tolist(), strict=True
        )
    ]
    return rows.tolist(), found


def _settled(
    alive: list[Beam], finished: list[Beam], beams: int, length_penalty: float, max_tokens: int
) -> bool:
    """Whether no text that is still growing can become one of the best."""
    if len(finished) < beams:
        return False
    # A logprob only sinks, so the best to hope for is today's one at the most favourable length.
    length = max_tokens if length_penalty > 0 else len(alive[0].token_ids) + 1
    hope = alive[0].logprob / length**length_penalty
    return bool(hope <= finished[-1].score(length_penalty))


def _check(model: GPT, token_ids: Sequence[int], beams: int, max_tokens: int) -> None:
    for name, value in (("beams", beams), ("max_tokens", max_tokens)):
        if value < 1:
            raise UserError(f"{name} is {value} but must be at least 1.")
    if not token_ids:
        raise UserError("A beam search needs at least one token to go on from.")
    if len(token_ids) + max_tokens > model.config.context:
        raise ContextOverflowError(
            f"{len(token_ids)} tokens and {max_tokens} new ones do not fit into the model's "
            f"context of {model.config.context}."
        )
