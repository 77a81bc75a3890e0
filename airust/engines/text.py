"""What engines share on the way from a request to token ids and from token ids to text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from airust.gpt.text import StopFilter, TextStream
from airust.types import ContextOverflowError, Message, Request, SamplingParams, UserError

__all__ = [
    "ChatTokenizer",
    "StopFilter",
    "TextStream",
    "checked_ids",
    "new_token_limit",
    "prompt_ids",
]


class ChatTokenizer(Protocol):
    """The part of ``airust.gpt.tokenizer.Tokenizer`` that a prompt needs."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; nothing is added."""

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """A conversation up to the point where the answer begins."""


def prompt_ids(request: Request, tokenizer: ChatTokenizer) -> list[int]:
    """The token ids that a request goes on from.

    Raises:
        UserError: a given token id is outside the vocabulary, or the prompt has no tokens.
    """
    if request.messages is not None:
        return tokenizer.encode_chat(request.messages)
    if request.prompt is not None:
        return tokenizer.encode(request.prompt)
    return checked_ids(request.token_ids or (), tokenizer.vocab_size)


def checked_ids(ids: Sequence[int], vocab_size: int) -> list[int]:
    """The ids, if the vocabulary has them all.

    Raises:
        UserError: names the first that it does not have.
    """
    for token_id in ids:
        if not 0 <= token_id < vocab_size:
            raise UserError(f"Token id {token_id} is outside the vocabulary of {vocab_size}.")
    return list(ids)


def new_token_limit(prompt_tokens: int, params: SamplingParams, context: int) -> int:
    """How many tokens may be generated: max_tokens, or fewer where the context ends before.

    >>> new_token_limit(200, SamplingParams(max_tokens=100), context=256)
    56

    Raises:
        ContextOverflowError: the prompt leaves no room for a single token.
    """
    if prompt_tokens >= context:
        raise ContextOverflowError(
            f"The prompt has {prompt_tokens} tokens but the model's context holds {context}; "
            f"shorten it."
        )
    return min(params.max_tokens, context - prompt_tokens)
