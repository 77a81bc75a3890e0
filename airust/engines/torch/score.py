"""Teacher-forced logprobs, by the same forward pass that decodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from airust.engines.base import ScoredToken
from airust.engines.torch.forward import FastGPT
from airust.engines.torch.slots import SlotCache
from airust.engines.torch.steps import Work, plan
from airust.gpt.text import token_text
from airust.gpt.tokenizer import Tokenizer
from airust.types import TopLogprob

CHUNK = 256  # positions at a time: bounds the memory of their logits


@torch.inference_mode()
def score_tokens(
    model: FastGPT, tokenizer: Tokenizer, ids: Sequence[int], prompt_tokens: int, top_k: int
) -> list[ScoredToken]:
    """The scores of the ids that follow the first ``prompt_tokens``."""
    scores: list[ScoredToken] = []
    decode = partial(tokenizer.decode, skip_special=False)
    for start, logits in _logits(model, ids[:-1]):
        first = max(start, prompt_tokens - 1)  # the logits at i are about the token at i + 1
        logprobs = logits[first - start :].log_softmax(-1)  # (n, V)
        given = torch.tensor(ids[first + 1 : first + 1 + len(logprobs)])
        chosen = logprobs.gather(1, given[:, None]).squeeze(1).tolist()
        top = logprobs.topk(min(top_k, logprobs.shape[1]))
        for logprob, tokens, values in zip(
            chosen, top.indices.tolist(), top.values.tolist(), strict=True
        ):
            pairs = zip(tokens, values, strict=True)
            texts = (TopLogprob(i, token_text(decode, i), p) for i, p in pairs)
            scores.append(ScoredToken(logprob, tuple(texts)))
    return scores


def _logits(model: FastGPT, ids: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """The logits (n, V) of all positions, in chunks, each with its first position."""
    cache = SlotCache(model.config, 1, len(ids), model.device)
    cache.turn(0, len(ids))
    for start in range(0, len(ids), CHUNK):
        work = Work(0, start, list(ids[start : start + CHUNK]), wanted=True)
        step, _ = plan([work], cache)
        yield start, model.forward(replace(step, outputs=None), cache).cpu()
