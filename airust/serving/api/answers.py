"""From the engine's events to the pieces that several routes answer with."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from airust.serving.errors import ApiError
from airust.serving.generation import Answer, Generation
from airust.serving.models import ServedModel
from airust.serving.relay import Numbered
from airust.serving.service import Service
from airust.serving.sse import DONE, until_hang_up
from airust.types import (
    DoneEvent,
    ErrorEvent,
    Request,
    TokenEvent,
    TopLogprob,
    UnsupportedError,
    Usage,
)

REPLACEMENT = "\ufffd"  # stands for a part of a character
Item = TypeVar("Item")
dumps = msgspec.json.encode


def new_id(prefix: str) -> str:
    """A name for an answer."""
    return f"{prefix}-{secrets.token_hex(12)}"


def several(request: Request, count: int) -> list[Request]:
    """The same request ``count`` times; a seed goes up by one each, or all would be the same."""
    seed = request.params.seed
    if seed is None or count == 1:
        return [request] * count
    return [replace(request, params=replace(request.params, seed=seed + i)) for i in range(count)]


async def complete(http: HttpRequest, generation: Generation) -> list[Answer]:
    """All answers at once. A client that hangs up cancels them."""
    async with generation:
        return await until_hang_up(http.receive, generation.answers())


def json_response(values: dict[str, Any], status: int = 200) -> Response:
    """A JSON response, without pydantic on the way."""
    return Response(dumps(values), status, media_type="application/json")


def usage_body(usage: Usage) -> dict[str, Any]:
    """OpenAI's form.

    >>> usage_body(Usage(12, 3, cached_tokens=8))["total_tokens"]
    15
    """
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def split(events: Sequence[Numbered], answers: int) -> list[list[TokenEvent | DoneEvent]]:
    """The events of each answer; errors have been raised before."""
    if answers == 1:
        return [[event for _, event in events if not isinstance(event, ErrorEvent)]]
    found: list[list[TokenEvent | DoneEvent]] = [[] for _ in range(answers)]
    for index, event in events:
        if not isinstance(event, ErrorEvent):
            found[index].append(event)
    return found


def token_ids(tokens: Sequence[TokenEvent]) -> list[int]:
    """The ids of the tokens that have one."""
    return [token.token_id for token in tokens if token.token_id is not None]


def token_text(token: TokenEvent, as_id: bool = False) -> str:
    """The token's own text; the event's text lacks what waits for the rest of a character."""
    if as_id and token.token_id is not None:
        return f"token_id:{token.token_id}"
    for top in token.top:
        if top.token_id == token.token_id:
            return top.text
    return token.text


def top_text(top: TopLogprob, as_id: bool) -> str:
    """An alternative's text, or its id in vLLM's form."""
    return f"token_id:{top.token_id}" if as_id and top.token_id is not None else top.text


def chat_logprobs(tokens: Sequence[TokenEvent], most: int, as_ids: bool = False) -> dict[str, Any]:
    """The form of /v1/chat/completions."""
    content = []
    for token in tokens:
        if token.logprob is not None:
            tops = [_logprob(top_text(top, as_ids), top.logprob) for top in token.top[:most]]
            entry = _logprob(token_text(token, as_ids), token.logprob)
            content.append(entry | {"top_logprobs": tops})
    return {"content": content, "refusal": None}


def _logprob(text: str, logprob: float) -> dict[str, Any]:
    data = None if REPLACEMENT in text else list(text.encode())
    return {"token": text, "logprob": max(logprob, -9999.0), "bytes": data}


def prompt_ids(model: ServedModel, request: Request) -> list[int] | None:
    """What the engine makes of the prompt; None where it does not tell."""
    try:
        return model.engine.prompt_ids(request)
    except UnsupportedError:
        return None


class ChunkWriter:
    """The frame around the choices of a chunk, written once instead of at every token."""

    def __init__(self, kind: str, ident: str, created: int, model: str, mark: str) -> None:
        head = {"id": ident, "object": kind, "created": created, "model": model}
        head["system_fingerprint"] = mark
        self._head = b"data: " + dumps(head)[:-1] + b',"choices":['
        self._tail = b"]}\n\n"

    def with_usage(self) -> None:
        """Say ``"usage":null`` in every chunk, as OpenAI does where the last one tells it."""
        self._tail = b'],"usage":null}\n\n'

    def chunk(self, choice: bytes) -> bytes:
        """A chunk with one choice."""
        return self._head + choice + self._tail

    def usage(self, usage: Usage) -> bytes:
        """The last chunk, without choices."""
        return self._head + b'],"usage":' + dumps(usage_body(usage)) + b"}\n\n"


def failure(error: ApiError) -> bytes:
    """In the middle of a stream."""
    return b"data: " + error.body() + b"\n\n" + DONE


def spend(service: Service, http: HttpRequest) -> Any:
    """Counts tokens against the caller's limit."""
    return http.scope.get("airust.spend") or (lambda tokens: None)
