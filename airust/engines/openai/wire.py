"""A request as the JSON that servers take, and what comes back as tokens.

Chunks are read as plain dictionaries: servers add fields to OpenAI's (``token_ids`` of vLLM,
``id`` beside every logprob of llama-server) and write logprobs of raw prompts in two forms.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airust.engines.openai.kinds import ServerKind
from airust.types import Request, SamplingParams, UserError

SAMPLING = (
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "ignore_eos",
)  # fields that every server calls as we do
DEFAULTS = SamplingParams()
# Any whole number is a seed for us. Servers take 32 or 64 bits, and llama-server holds some of
# them for "none"; these numbers mean the same to all.
SEEDS = 2**31
ID_PREFIX = "token_id:"  # how vLLM writes a token where a text is not exact


def body(request: Request, kind: ServerKind, beside_v1: bool) -> dict[str, object]:
    """Everything but the model and the prompt or messages.

    Args:
        beside_v1: the server can be asked for the texts of token ids later.

    >>> from airust.engines.openai.kinds import KINDS
    >>> request = Request(prompt="hi", params=SamplingParams(max_tokens=5, stop=("x",)))
    >>> body(request, KINDS["openai"], False)["stop"]
    ['x']

    Raises:
        UserError: the JSON schema is none.
    """
    params, chat = request.params, request.messages is not None
    found: dict[str, object] = {
        "stream_options": {"include_usage": True},
        kind.chat_limit if chat else "max_tokens": params.max_tokens,
        "temperature": params.temperature,
    }
    for name in SAMPLING:
        value = getattr(params, name)
        if name == "seed" and value is not None:
            value %= SEEDS
        if name in kind.always or value != getattr(DEFAULTS, name):
            found[name] = value
    if params.stop:
        found["stop"] = list(params.stop)
    if params.logit_bias:
        found["logit_bias"] = {str(token): bias for token, bias in params.logit_bias}
    if params.logprobs is not None:
        most = max(params.logprobs, 1)  # for some servers 0 is none at all
        found |= {"logprobs": True, "top_logprobs": most} if chat else {"logprobs": most}
    if params.json_schema is not None:
        schema = {"name": "answer", "schema": _schema(params.json_schema), "strict": True}
        found["response_format"] = {"type": "json_schema", "json_schema": schema}
    if params.regex is not None:
        found |= kind.regex(params.regex)
    if kind.token_ids:
        found["return_token_ids"] = True
        if params.logprobs is not None and beside_v1:
            found["return_tokens_as_token_ids"] = True
    return found


def _schema(text: str) -> dict[str, Any]:
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise UserError(f"The JSON schema is not valid JSON: {error}.") from error
    if not isinstance(schema, dict):
        raise UserError("The JSON schema must be a JSON object.")
    return schema


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that a logprob is about, as far as the server tells it."""

    token_id: int | None
    text: str | None
    logprob: float


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token: itself, if the server tells more than its id, and its rivals."""

    token_id: int | None
    chosen: Alternative | None
    top: tuple[Alternative, ...]  # likeliest first


@dataclass(frozen=True, slots=True)
class Piece:
    """What one chunk brings."""

    text: str
    tokens: tuple[Token, ...]
    finish_reason: str | None


def piece(choice: Mapping[str, Any]) -> Piece:
    """The one choice of a chunk, of a chat or of a raw prompt.

    >>> piece({"text": "a", "token_ids": [7], "finish_reason": None}).tokens[0].token_id
    7
    """
    text = choice.get("text") or (choice.get("delta") or {}).get("content") or ""
    ids, logprobs = choice.get("token_ids") or [], list(_logprobs(choice.get("logprobs") or {}))
    tokens = []
    for place in range(max(len(ids), len(logprobs))):
        token_id = ids[place] if place < len(ids) else None
        chosen, top = logprobs[place] if place < len(logprobs) else (None, ())
        if token_id is None and chosen is not None:
            token_id = chosen.token_id
        tokens.append(Token(token_id, chosen, top))
    return Piece(text, tuple(tokens), choice.get("finish_reason"))


def _logprobs(
    found: Mapping[str, Any],
) -> Iterator[tuple[Alternative | None, tuple[Alternative, ...]]]:
    """The chosen token and its alternatives, token for token."""
    if found.get("content") is not None:  # of a chat; llama-server also for raw prompts
        for entry in found["content"]:
            rivals = [_alternative(rival) for rival in entry.get("top_logprobs") or []]
            yield _alternative(entry), _likeliest_first(rivals)
        return
    tokens, tops = found.get("tokens") or [], found.get("top_logprobs") or []
    for place, (token, logprob) in enumerate(
        zip(tokens, found.get("token_logprobs") or [], strict=True)
    ):
        known = tops[place] if place < len(tops) else None
        rivals = [_named(name, value) for name, value in (known or {}).items()]
        yield None if logprob is None else _named(token, logprob), _likeliest_first(rivals)


def _alternative(entry: Mapping[str, Any]) -> Alternative:
    named = _named(str(entry["token"]), entry["logprob"])
    return named if named.text is None else Alternative(entry.get("id"), named.text, named.logprob)


def _named(name: str, logprob: float) -> Alternative:
    number = name.removeprefix(ID_PREFIX)
    if number != name and number.isdecimal():
        return Alternative(int(number), None, logprob)
    return Alternative(None, name, logprob)


def _likeliest_first(rivals: list[Alternative]) -> tuple[Alternative, ...]:
    return tuple(sorted(rivals, key=lambda rival: -rival.logprob))
