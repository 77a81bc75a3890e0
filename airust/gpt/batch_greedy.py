"""Greedy answers to many prompts at once, for the exam after training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from airust.gpt.model import GPT


class GrowingCache:
    """Keys and values of all positions so far; simple, and grows by one copy a step."""

    def __init__(self, layers: int) -> None:
        self.entries: list[tuple[Tensor, Tensor] | None] = [None] * layers

    @property
    def length(self) -> int:
        """Positions already held."""
        first = self.entries[0]
        return 0 if first is None else first[0].shape[2]

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append (B, K, T, D) and return everything of this layer."""
        held = self.entries[layer]
        if held is not None:
            keys, values = torch.cat((held[0], keys), 2), torch.cat((held[1], values), 2)
        self.entries[layer] = keys, values
        return keys, values


def batch_greedy(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    stop_id: int,
    batch_size: int = 256,
) -> list[list[int]]:
    """The greedy continuation of each prompt, without the stop token.

    Prompts of unlike length are padded on the left and the padding is masked; rotary positions
    are relative, so the shift changes nothing. Output that would leave the context is cut.
    LongRoPE chooses its factors by the longest text of a batch, answer included.
    """
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        found = _one_batch(model, [prompts[i] for i in rows], max_tokens, stop_id)
        for row, answer in zip(rows, found, strict=True):
            answers[row] = answer
    return answers


@torch.inference_mode()
def _one_batch(
    model: GPT, prompts: list[Sequence[int]], max_tokens: int, stop_id: int
) -> list[list[int]]:
    width, device = max(map(len, prompts)), model.embed_tokens.weight.device
    max_tokens = min(max_tokens, model.config.context - width)
    ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts], device=device)
    pads = torch.tensor([width - len(p) for p in prompts], device=device)
    total = torch.arange(width + max_tokens, device=device)
    visible = total >= pads[:, None]  # (B, S)
    causal = total[:width, None] >= total[:width]
    itself = total[:width, None] == total[:width]  # padding looks at itself: no empty softmax
    mask = (causal & visible[:, None, :width] | itself).unsqueeze(1)  # (B, 1, T, T)
    cache = GrowingCache(model.config.layers)
    length = width + max_tokens
    hidden = model.hidden(ids, mask, cache, length)[:, -1:]
    generated: list[Tensor] = []
    done = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    for _ in range(max_tokens):
        token = model.lm_head(hidden).argmax(-1)  # (B, 1)
        generated.append(token)
        done |= token[:, 0] == stop_id
        if done.all() or len(generated) == max_tokens:
            break
        seen = visible[:, None, None, : cache.length + 1]
        hidden = model.hidden(token, seen, cache, length)
    rows = torch.cat(generated, 1).tolist() if generated else [[] for _ in prompts]
    return [row[: row.index(stop_id)] if stop_id in row else row for row in rows]
