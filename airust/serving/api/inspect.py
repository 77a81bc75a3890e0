"""What people who study models ask: what a context costs, and what a model thinks of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field, model_validator
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from airust.engines.base import Engine, ScoredToken
from airust.serving.api.answers import json_response
from airust.serving.api.chat import MOST_MESSAGES, ChatMessage
from airust.serving.api.parameters import MOST_LOGPROBS, Body
from airust.serving.api.response_schema import TokenId
from airust.serving.api.schemas import ContextUse, Inspection, errors
from airust.serving.callers import caller_of
from airust.serving.context import window_of
from airust.serving.service import service_of
from airust.types import Message, Request, Role, UnsupportedError

router = APIRouter(prefix="/v1", tags=["inspect"])

MOST_TOKENS = 8192  # of an answer that is inspected
NO_LOGPROB = -9999.0


class InspectRequest(Body):
    """A conversation, and the answer that followed."""

    model: str | None = Field(None, description="Whose opinion; the first one if absent.")
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MOST_MESSAGES)]
    text: str | None = Field(None, min_length=1, description="The answer, or its token_ids.")
    token_ids: Annotated[list[TokenId], Field(min_length=1, max_length=MOST_TOKENS)] | None = None
    top_logprobs: int = Field(10, ge=1, le=MOST_LOGPROBS, description="Alternatives to tell.")

    @model_validator(mode="after")
    def _check(self) -> InspectRequest:
        if (self.text is None) == (self.token_ids is None):
            raise ValueError("give either text or token_ids")
        return self


@router.post("/inspect", response_model=Inspection, responses=errors(400, 404))
async def inspect(body: InspectRequest, http: HttpRequest) -> Response:
    """Each token of an answer, how likely the model finds it, and what else it could have been.

    Before temperature and filters, and for any answer: also one that was edited, or another
    model's.
    """
    service = service_of(http)
    model = service.models.find(body.model)
    engine = model.engine
    request = Request(messages=tuple(message.message() for message in body.messages))

    def work() -> tuple[int, list[int], Sequence[ScoredToken | None]]:
        if not engine.capabilities.logprobs:
            raise UnsupportedError(f"The engine '{engine.name}' does not tell probabilities.")
        prompt = engine.prompt_ids(request)
        ids = body.token_ids or engine.encode(body.text or "")[:MOST_TOKENS]
        return len(prompt), ids, engine.score(prompt, ids, body.top_logprobs)

    model.admit(1)
    try:
        prompt_tokens, ids, scores = await asyncio.to_thread(work)
    finally:
        model.pending -= 1
    tokens = await asyncio.to_thread(_tokens, engine, ids, scores)
    return json_response({"model": model.name, "prompt_tokens": prompt_tokens, "tokens": tokens})


def _tokens(
    engine: Engine, ids: Sequence[int], scores: Sequence[ScoredToken | None]
) -> list[dict[str, Any]]:
    return [
        {
            "token": engine.decode([ident]),
            "token_id": ident,
            "logprob": None if score is None else max(score.logprob, NO_LOGPROB),
            "top_logprobs": [
                {"token": t.text, "token_id": t.token_id, "logprob": max(t.logprob, NO_LOGPROB)}
                for t in (() if score is None else score.top)
            ],
        }
        for ident, score in zip(ids, scores, strict=True)
    ]


@router.get("/sessions/{session_id}/context", response_model=ContextUse, responses=errors(400, 404))
async def context(
    session_id: str,
    http: HttpRequest,
    leaf: Annotated[str | None, Query(max_length=40, description="End of the branch.")] = None,
    model: Annotated[str | None, Query(max_length=500)] = None,
    max_output_tokens: Annotated[int | None, Query(ge=1, le=1 << 24)] = None,
) -> Response:
    """What each message of a branch costs in tokens, and what the next answer would see of it."""
    service, owner = service_of(http), caller_of(http).key_id
    served = service.models.find(model)
    store = (await service.storage()).sessions
    most = max_output_tokens or service.settings.generation.max_tokens

    def work() -> dict[str, Any]:
        session = store.get(owner, session_id)
        path = store.path(owner, session_id, leaf or session.head)
        branch = [Message(_role(m.role), m.content) for m in path]
        if not branch or branch[-1].role == "assistant":  # a question will come
            branch.append(Message("user", ""))
        window = window_of(session.system, branch, served.engine, service.settings.sessions, most)
        costs = [
            {
                "id": message.id,
                "role": message.role,
                "tokens": _count(served.engine, message.content),
                "shown": place >= window.left_out,
            }
            for place, message in enumerate(path)
        ]
        return {
            "model": served.name,
            "max_model_len": served.engine.context,
            "system_tokens": _count(served.engine, session.system) if session.system else 0,
            "messages": costs,
            "prompt_tokens": _prompt_tokens(served.engine, window.messages),
        }

    return json_response(await asyncio.to_thread(work))


def _role(name: str) -> Role:
    return "user" if name == "user" else "assistant" if name == "assistant" else "system"


def _count(engine: Engine, text: str) -> int | None:
    try:
        return len(engine.encode(text))
    except UnsupportedError:
        return None


def _prompt_tokens(engine: Engine, messages: tuple[Message, ...]) -> int | None:
    if not messages:
        return 0
    try:
        return len(engine.prompt_ids(Request(messages=messages)))
    except UnsupportedError:
        return None
