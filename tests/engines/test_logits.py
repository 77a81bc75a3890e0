"""Events and scores made of logits."""

from __future__ import annotations

import pytest
import torch

from airust.engines.logits import score_token, token_event
from airust.types import TokenEvent

LOGITS = torch.tensor([1.0, 3.0, 2.0])


def decode(ids: list[int]) -> str:
    return "".join("abc"[i] for i in ids)


def test_an_event_has_what_was_asked_for() -> None:
    assert token_event("x", 1, LOGITS, None, decode) == TokenEvent("x", 1)
    bare = token_event("x", 0, LOGITS, 0, decode)
    assert (bare.top, bare.logprob) == ((), pytest.approx(-2.4076, abs=1e-4))
    full = token_event("x", 0, LOGITS, 9, decode)
    assert [top.text for top in full.top] == ["b", "c", "a"]
    assert full.top[2].logprob == full.logprob


def test_a_score_is_of_the_given_token() -> None:
    score = score_token(2, LOGITS, 1, decode)
    assert score.logprob == pytest.approx(-1.4076, abs=1e-4)
    assert [top.token_id for top in score.top] == [1]
