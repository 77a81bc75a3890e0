"""Requests to token ids, and the room that is left in the context."""

from __future__ import annotations

from pathlib import Path

import pytest

from airust.engines.text import new_token_limit, prompt_ids
from airust.gpt.tokenizer import Tokenizer
from airust.types import ContextOverflowError, Message, Request, SamplingParams, UserError


def test_prompt_ids_of_each_kind(model_dir: Path) -> None:
    tokenizer = Tokenizer.load(model_dir)
    messages = (Message("user", "hi"),)
    assert prompt_ids(Request(messages=messages), tokenizer) == tokenizer.encode_chat(messages)
    assert prompt_ids(Request(prompt="hi"), tokenizer) == tokenizer.encode("hi")
    assert prompt_ids(Request(token_ids=(5, 6)), tokenizer) == [5, 6]


@pytest.mark.parametrize("token_id", [-1, 400, 10**9])
def test_ids_outside_the_vocabulary_are_refused(model_dir: Path, token_id: int) -> None:
    with pytest.raises(UserError, match="outside the vocabulary"):
        prompt_ids(Request(token_ids=(5, token_id)), Tokenizer.load(model_dir))


def test_new_token_limit() -> None:
    assert new_token_limit(10, SamplingParams(max_tokens=5), context=16) == 5
    assert new_token_limit(15, SamplingParams(max_tokens=5), context=16) == 1
    with pytest.raises(ContextOverflowError, match="16"):
        new_token_limit(16, SamplingParams(max_tokens=5), context=16)
