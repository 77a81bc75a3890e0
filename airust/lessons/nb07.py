"""How do words in a text take notice of each other?

Checks of notebook 07.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from airust.lessons.checker import close, require


def ex1(answer: Any) -> None:
    """Pairs behind the causal mask."""
    close(answer, sum(range(1, 101)), 0, "Position t sees itself and all before it: t pairs.")


def ex2(answer: Any) -> None:
    """Attention with a window."""
    import torch
    import torch.nn.functional as F

    torch.manual_seed(2)
    for length, window in ((7, 3), (5, 1), (4, 10)):
        q, k, v = torch.randn(3, length, 8)
        distance = torch.arange(length)[:, None] - torch.arange(length)
        mask = (distance >= 0) & (distance < window)
        expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        found = answer(q.clone(), k.clone(), v.clone(), window)
        require(found.shape == q.shape, "The output has the shape of q.")
        hint = f"Wrong for {length} tokens and a window of {window}: keep 0 <= t - s < window."
        require(torch.allclose(found, expected, atol=1e-5), hint)


def ex3(answer: Any) -> None:
    """A leak test."""
    import torch
    import torch.nn.functional as F

    def masked(reach: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        def attend(q: Any, k: Any, v: Any) -> Any:
            t = torch.arange(len(q))
            return F.scaled_dot_product_attention(q, k, v, attn_mask=reach(t[:, None], t))

        return attend

    honest = {
        "causal attention": masked(lambda t, s: s <= t),
        "attention to itself alone": masked(lambda t, s: s == t),
    }
    cheats = {
        "attention without a mask": masked(lambda t, s: s >= 0),
        "a mask that is off by one": masked(lambda t, s: s <= t + 1),
        "a leak into the last but one position": masked(
            lambda t, s: (s <= t) | ((s == len(t) - 1) & (t == len(t) - 2))
        ),
    }
    for name, attend in honest.items():
        require(answer(attend) is False, f"It accuses {name}, which does not look ahead.")
    for name, attend in cheats.items():
        hint = f"It does not notice {name}: try every position as the first one that changes."
        require(answer(attend) is True, hint)


def ex4(answer: Any) -> None:
    """Bytes of a KV cache."""
    from airust.gpt.config import GPTConfig

    config = GPTConfig(vocab_size=10, layers=28, heads=16, kv_heads=8, head_dim=128)
    for tokens, size in ((1, 2), (1000, 4)):
        expected = 2 * 28 * 8 * 128 * size * tokens
        hint = "Keys and values, in each layer, for the key-value heads, not the query heads."
        close(answer(config, tokens, size), expected, 0, hint)


def ex5(answer: Any) -> None:
    """Key heads for query heads."""
    import torch

    keys = torch.arange(2 * 3 * 4.0).view(2, 3, 4)
    found = answer(keys, 6)
    require(tuple(found.shape) == (6, 3, 4), "The result should be (H, T, D).")
    hint = "Query head h uses key head h // (H/K): neighbours share, so 0 0 0 1 1 1."
    require(torch.equal(found, keys.repeat_interleave(3, dim=0)), hint)


def ex6(answer: Any) -> None:
    """A head that looks at the token before."""
    import torch

    from airust.gpt.config import GPTConfig
    from airust.gpt.rope import rotary_table, rotate

    length = 48
    q, k = (torch.as_tensor(x, dtype=torch.float32).reshape(1, 64) for x in answer())
    cos, sin = rotary_table(GPTConfig(vocab_size=9, head_dim=64, context=length))
    scores = rotate(q.repeat(length, 1), cos, sin) @ rotate(k.repeat(length, 1), cos, sin).T
    later = torch.ones(length, length, dtype=torch.bool).triu(1)
    shares = (scores / math.sqrt(64)).masked_fill(later, -math.inf).softmax(-1)
    before = shares.diagonal(-1)
    looks = shares[1:].argmax(-1)
    hint = "Which turn makes the rotated query and the key one position earlier parallel?"
    require(torch.equal(looks, torch.arange(length - 1)), hint)
    least = float(before.min())
    require(least > 0.9, f"The right position wins, but with {least:.0%}: longer vectors sharpen.")


def ex7(answer: Any) -> None:
    """Orders that attention cannot tell apart."""
    for n in (1, 3, 6):
        hint = "A sum does not depend on the order of its terms; the query stands where it stands."
        close(answer(n), math.factorial(n), 0, hint)
