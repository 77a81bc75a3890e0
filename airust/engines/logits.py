"""What the logits (V) of one position say: as a token event, as a score, as alternatives.

For engines whose loop is ours. Logprobs are those of the model itself: give these functions the
logits before any penalty or filter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from airust.engines.base import ScoredToken
from airust.gpt.sampling import top_logprobs
from airust.gpt.text import token_text
from airust.types import TokenEvent, TopLogprob

Decode = Callable[[Sequence[int]], str]  # ids to text, control tokens spelled out


def token_event(text: str, token: int, logits: Tensor, k: int | None, decode: Decode) -> TokenEvent:
    """The event of a chosen token; with its logprob and ``k`` alternatives unless k is None."""
    if k is None:
        return TokenEvent(text, token)
    scored = score_token(token, logits, k, decode)
    return TokenEvent(text, token, scored.logprob, scored.top)


def score_token(token: int, logits: Tensor, k: int, decode: Decode) -> ScoredToken:
    """The logprob of a given token, and the ``k`` likeliest.

    >>> import torch
    >>> scored = score_token(0, torch.tensor([0.0, 1.0]), 1, lambda ids: "ab"[ids[0]])
    >>> round(scored.logprob, 4), scored.top[0].text, round(scored.top[0].logprob, 4)
    (-1.3133, 'b', -0.3133)
    """
    top = (TopLogprob(i, token_text(decode, i), p) for i, p in top_logprobs(logits, k))
    return ScoredToken(float(logits.log_softmax(-1)[token]), tuple(top))
