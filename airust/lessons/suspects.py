"""Engines with and without bugs, for notebook 14: who computes another function?

A small random model stands for the checkpoint. Every suspect claims to run it; what it really does
is hidden behind ``Suspect.logprobs``, as it would be behind a compiled library.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from airust.gpt.block import Block
from airust.gpt.config import GPTConfig
from airust.gpt.kv_cache import KVCache
from airust.gpt.model import GPT
from airust.gpt.rope import rotary_table

CONFIG = GPTConfig(
    vocab_size=61, hidden_size=32, layers=2, heads=2, kv_heads=1, head_dim=16, ffn_size=48,
    context=96,
)  # fmt: skip
WRONG_BASE = 50_000.0
NO_BUG, BASE, PAIRS, STRETCHED, LATE = "no bug", "base", "pairs", "stretched", "late"
FAR = 64  # position from which the forgetful one goes wrong
RARE = 37  # token that one of them embeds wrongly


class Suspect:
    """An engine, seen from outside.

    Args:
        prefill: what it runs on the first piece of a text.
        decode: what it runs on later pieces, if that is something else.
    """

    def __init__(self, prefill: GPT, decode: GPT | None = None) -> None:
        self._prefill, self._decode = prefill, decode or prefill

    @torch.no_grad()
    def logprobs(self, ids: Sequence[int], sizes: Sequence[int] = ()) -> Tensor:
        """Logprobs of the next token at every position: (T) -> (T, V).

        Args:
            sizes: of the pieces that the text is computed in, through a KV cache; one piece and
                no cache if absent.
        """
        row = torch.tensor([list(ids)])
        if not sizes:
            found: Tensor = self._prefill(row)[0].double().log_softmax(-1)
            return found
        if sum(sizes) != len(ids) or min(sizes) < 1:
            raise ValueError(f"{len(ids)} tokens cannot be cut into pieces of {list(sizes)}.")
        cache, rows = KVCache(CONFIG), []
        for number, piece in enumerate(row.split(list(sizes), dim=1)):
            rows.append((self._decode if number else self._prefill)(piece, cache=cache)[0])
        return torch.cat(rows).double().log_softmax(-1)


def checkpoint() -> GPT:
    """The model that all of them should run; the same in every process."""
    model, generator = GPT(CONFIG), torch.Generator().manual_seed(14)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                size = 0.5 if weight is model.embed_tokens.weight else weight.shape[1] ** -0.5
                weight.copy_(size * torch.randn(weight.shape, generator=generator))
    return model.eval().requires_grad_(False)


def lineup() -> tuple[dict[str, Suspect], dict[str, str]]:
    """Six suspects of notebook 14's exercise by letter, and what each has done."""
    model = checkpoint()
    engines = {
        NO_BUG: Suspect(twin(model)),
        BASE: Suspect(turned(model, base=WRONG_BASE)),
        PAIRS: Suspect(interleaved(model)),
        STRETCHED: Suspect(turned(model, slower=2.0)),
        LATE: Suspect(model, turned(model, later=1)),
    }
    cases = [*engines.items(), (NO_BUG, Suspect(turned(model, later=9)))]
    random.Random(14).shuffle(cases)
    letters = "ABCDEF"
    suspects = {letter: suspect for letter, (_, suspect) in zip(letters, cases, strict=True)}
    return suspects, {letter: name for letter, (name, _) in zip(letters, cases, strict=True)}


def trial() -> tuple[dict[str, Suspect], dict[str, Suspect]]:
    """Those who compute the same function, and those who do not, for a test of a test."""
    model = checkpoint()
    honest = {
        "the checkpoint itself": Suspect(model),
        "the same sums in another order": Suspect(twin(model)),
        "positions that are all counted from 9": Suspect(turned(model, later=9)),
    }
    guilty = {
        "the wrong base": Suspect(turned(model, base=WRONG_BASE)),
        "pairs of neighbours": Suspect(interleaved(model)),
        "positions that are one late while decoding": Suspect(model, turned(model, later=1)),
        f"positions that are right up to {FAR}": Suspect(turned(model, stop=FAR)),
        "a wrong embedding of a single token": Suspect(misprinted(model)),
    }
    return honest, guilty


def turned(
    model: GPT, base: float = 0.0, slower: float = 1.0, later: int = 0, stop: int = 0
) -> GPT:
    """A copy whose queries and keys are turned by other angles."""
    config = replace(
        model.config,
        rope_theta=base or model.config.rope_theta,
        context=model.config.context + later,
    )
    cos, sin = (table[later:] for table in rotary_table(config))
    if slower != 1:
        angles = torch.atan2(sin[1], cos[1]) / slower  # of one position
        turns = torch.outer(torch.arange(len(cos), dtype=torch.float32), angles)
        cos, sin = turns.cos(), turns.sin()
    if stop:
        cos, sin = cos.clone(), sin.clone()
        cos[stop:], sin[stop:] = cos[stop - 1], sin[stop - 1]
    changed = copy.deepcopy(model)
    changed.rope_cos, changed.rope_sin = cos, sin
    return changed


def interleaved(model: GPT) -> GPT:
    """A copy that turns numbers 2i and 2i + 1 of a head together, instead of i and i + D/2."""
    changed, size = copy.deepcopy(model), model.config.head_dim
    order = torch.cat((torch.arange(0, size, 2), torch.arange(1, size, 2)))
    for block in _blocks(changed):
        for projection in (block.self_attn.q_proj, block.self_attn.k_proj):
            heads = projection.weight.view(-1, size, projection.in_features)
            projection.weight.data = heads[:, order].flatten(0, 1)
    return changed


def twin(model: GPT) -> GPT:
    """A copy whose feed-forward layers add up in another order."""
    changed, generator = copy.deepcopy(model), torch.Generator().manual_seed(1)
    for block in _blocks(changed):
        order = torch.randperm(model.config.ffn_size, generator=generator)
        mlp = block.mlp
        mlp.gate_proj.weight.data = mlp.gate_proj.weight[order]
        mlp.up_proj.weight.data = mlp.up_proj.weight[order]
        mlp.down_proj.weight.data = mlp.down_proj.weight[:, order]
    return changed


def misprinted(model: GPT) -> GPT:
    """A copy that knows one token by another vector."""
    changed = copy.deepcopy(model)
    changed.embed_tokens.weight.data[RARE] *= 0.9
    return changed


def _blocks(model: GPT) -> list[Block]:
    return [block for block in model.layers if isinstance(block, Block)]
