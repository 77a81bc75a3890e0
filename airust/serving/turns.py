"""One turn of a conversation: the question is kept, the answer is generated and kept.

/v1/responses and the WebSocket both do it this way. A turn outside any session keeps nothing.
The question is stored before the engine begins, and the answer before its end is told; an answer
that is stopped is kept as far as it came.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from airust.serving.api.response_schema import ResponseRequest
from airust.serving.context import Window, window_of
from airust.serving.errors import ApiError
from airust.serving.models import ServedModel
from airust.serving.service import Service
from airust.types import Message, Request, Role, SamplingParams, Usage

RESPONSE, MESSAGE = "resp_", "msg_"


@dataclass(frozen=True, slots=True)
class Turn:
    """What is asked, and where its answer belongs."""

    response_id: str
    model: ServedModel
    request: Request
    window: Window
    session_id: str | None = None
    question_id: str | None = None  # the message that is answered

    @property
    def message_id(self) -> str:
        """Of the answer."""
        return MESSAGE + self.response_id.removeprefix(RESPONSE)


async def begin(service: Service, owner: str, body: ResponseRequest) -> Turn:
    """Find the conversation, keep the question, and choose what the model is shown.

    Raises:
        ApiError: there is no such model, session or message, or nothing to answer.
        UserError: a value is wrong.
    """
    model = service.models.find(body.model)
    params = body.sampling(service.settings.generation)
    ident = f"{RESPONSE}{secrets.token_hex(12)}"
    new = body.messages()
    session_id, parent = await _place(service, owner, body)
    if session_id is None:
        if not new:
            raise ApiError(400, "input is needed where there is no conversation.",
                           "invalid_value", "input")  # fmt: skip
        first = [Message("system", body.instructions)] if body.instructions else []
        shown = Window((*first, *new))
        return Turn(ident, model, _request(body, shown.messages, params), shown)
    store = (await service.storage()).sessions

    def prepare() -> tuple[Window, str | None]:
        session = store.get(owner, session_id)
        before = store.path(owner, session_id, parent)
        branch = [Message(cast(Role, m.role), m.content) for m in before] + list(new)
        if not branch or branch[-1].role == "assistant":
            raise ApiError(400, "input is needed: the conversation ends with an answer.",
                           "invalid_value", "input")  # fmt: skip
        system = body.instructions or session.system
        found = window_of(
            system, branch, model.engine, service.settings.sessions, params.max_tokens
        )
        model.engine.check(_request(body, found.messages, params))
        at = parent
        for message in new:
            at = store.add(owner, session_id, at, message.role, message.content).id
        return found, at

    window, question = await asyncio.to_thread(prepare)
    request = replace(_request(body, window.messages, params), overflow="trim")
    return Turn(ident, model, request, window, session_id, question)


async def _place(
    service: Service, owner: str, body: ResponseRequest
) -> tuple[str | None, str | None]:
    """The session, and the message to go on from."""
    if body.conversation_id is None and body.previous_response_id is None:
        return None, None
    store = (await service.storage()).sessions
    if body.previous_response_id is not None:
        parent = MESSAGE + body.previous_response_id.removeprefix(RESPONSE)
        return await asyncio.to_thread(store.session_of, owner, parent), parent
    session = await asyncio.to_thread(store.get, owner, body.conversation_id or "")
    if "parent" in body.model_fields_set:
        return session.id, body.parent
    return session.id, session.head


def _request(body: ResponseRequest, shown: Sequence[Message], params: SamplingParams) -> Request:
    overflow: Any = "trim" if body.truncation == "auto" else "refuse"
    return Request(messages=tuple(shown), params=params, overflow=overflow)


async def keep(
    service: Service, owner: str, turn: Turn, text: str, reason: str, usage: Usage
) -> None:
    """Store the answer of a turn that belongs to a session; an empty one too, if it is whole."""
    if turn.session_id is None or (not text and reason == "cancelled"):
        return
    store = (await service.storage()).sessions
    details = {
        "model": turn.model.name,
        "finish_reason": reason,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "left_out": turn.window.left_out + usage.trimmed_messages,
    }
    await asyncio.to_thread(
        store.add, owner, turn.session_id, turn.question_id, "assistant", text, details,
        turn.message_id,
    )  # fmt: skip
