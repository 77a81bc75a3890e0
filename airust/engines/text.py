"""What engines share on the way from a request to token ids and from token ids to text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from airust.gpt.text import StopFilter, TextStream
from airust.types import ContextOverflowError, Message, Request, SamplingParams, Usage, UserError

__all__ = [
    "ChatTokenizer",
    "Prompt",
    "StopFilter",
    "TextStream",
    "checked_ids",
    "fit_prompt",
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


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request that fits into the context."""

    request: Request  # what is left of it
    ids: list[int]
    limit: int  # new tokens at most
    trimmed_messages: int = 0
    trimmed_tokens: int = 0

    def usage(self, completion_tokens: int, cached_tokens: int = 0) -> Usage:
        """The request's figures when it ends."""
        return Usage(
            len(self.ids),
            completion_tokens,
            cached_tokens,
            self.trimmed_messages,
            self.trimmed_tokens,
        )


def fit_prompt(request: Request, to_ids: Callable[[Request], list[int]], context: int) -> Prompt:
    """Turn a request into token ids that leave room for an answer.

    Where the request allows it, the oldest part of a long prompt is left out: of a conversation
    whole turns, a question with its answer, but never a system message nor the last question; of
    raw text single tokens. So much goes that max_tokens fit behind the rest, or at least a third
    of the context.

    Args:
        to_ids: the token ids of a request, as the engine makes them.
        context: tokens that prompt and answer may have together.

    Raises:
        UserError: the request has no tokens.
        ContextOverflowError: the prompt leaves no room, or what may not be left out does not.
    """
    ids = to_ids(request)
    if not ids:
        raise UserError("The prompt has no tokens to go on from.")
    most = context - min(request.params.max_tokens, max(context // 3, 1))
    if request.overflow == "refuse" or len(ids) <= most:
        return Prompt(request, ids, new_token_limit(len(ids), request.params, context))
    if request.messages is None:
        rest = replace(request, prompt=None, token_ids=tuple(ids[-most:]))
    else:
        rest = _without_old_turns(request, request.messages, to_ids, most)
    kept = to_ids(rest)
    return Prompt(
        rest,
        kept,
        new_token_limit(len(kept), request.params, context),
        len(request.messages or ()) - len(rest.messages or ()),
        len(ids) - len(kept),
    )


def _without_old_turns(
    request: Request, messages: Sequence[Message], to_ids: Callable[[Request], list[int]], most: int
) -> Request:
    """The request without as many old turns as must go; without all of them if that is too few."""
    asked = [i for i, message in enumerate(messages) if message.role == "user"]
    last = asked[-1] if asked else len(messages) - 1
    # The places where a conversation may begin: at its start, or at any question.
    starts = [0, *(i for i in asked if 0 < i < last), last]

    def beginning(start: int) -> Request:
        kept = [m for i, m in enumerate(messages) if i >= start or m.role == "system"]
        return replace(request, messages=tuple(kept))

    def fits(start: int) -> bool:
        return len(to_ids(beginning(start))) <= most

    found = bisect_left(starts, True, hi=len(starts) - 1, key=fits)
    return beginning(starts[found])


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
