"""One turn of a conversation: the question is kept, the answer is generated and kept.

/v1/responses and the WebSocket both do it this way. A turn outside any session keeps nothing.
The question is stored before the engine begins, and the answer before its end is told; an answer
that is stopped is kept as far as it came.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from airust.serving.api.answers import REPLACEMENT
from airust.serving.api.response_schema import ResponseRequest
from airust.serving.context import Window, window_of
from airust.serving.errors import ApiError
from airust.serving.generation import Answer
from airust.serving.models import ServedModel
from airust.serving.service import Service
from airust.types import Message, Request, Role, SamplingParams, TokenEvent, Usage

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
    prefix: tuple[TokenEvent, ...] = ()  # the answer begins so
    keeps_ids: bool = False  # the answer is kept with its token ids

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
        if body.prefix is None:
            return Turn(ident, model, _request(body, shown.messages, params), shown)
        request, prefix = await asyncio.to_thread(_prefixed, body, shown, params, model)
        return Turn(ident, model, request, shown, prefix=prefix)
    store = (await service.storage()).sessions

    def prepare() -> tuple[Window, str | None, Request, tuple[TokenEvent, ...]]:
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
        request, prefix = _prefixed(body, found, params, model)
        model.engine.check(request)
        at = parent
        for message in new:
            at = store.add(owner, session_id, at, message.role, message.content).id
        return found, at, request, prefix

    window, question, request, prefix = await asyncio.to_thread(prepare)
    if new:
        service.changes.tell(owner, session_id, "messages")
    if not prefix:
        request = replace(request, overflow="trim")
    keeps_ids = bool(body.return_token_ids)
    return Turn(ident, model, request, window, session_id, question, prefix, keeps_ids)


def _prefixed(
    body: ResponseRequest, shown: Window, params: SamplingParams, model: ServedModel
) -> tuple[Request, tuple[TokenEvent, ...]]:
    """The request, and how its answer begins: then it goes on from token ids."""
    request, engine = _request(body, shown.messages, params), model.engine
    if body.prefix is None:
        return request, ()
    if not engine.capabilities.token_ids:
        message = f"The engine '{engine.name}' cannot go on from the beginning of an answer."
        raise ApiError(400, message, "unsupported_parameter", "prefix")
    ids = body.prefix.token_ids or engine.encode(body.prefix.text or "")
    text = body.prefix.text or engine.decode(ids)
    # One event has the whole text: a character may be spread over several tokens.
    first, *rest = [TokenEvent("", token_id=ident) for ident in ids]
    prompt = (*engine.prompt_ids(request), *ids)
    return Request(token_ids=prompt, params=params), (replace(first, text=text), *rest)


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
    service: Service, owner: str, turn: Turn, answer: Answer, reason: str, usage: Usage,
    times: Sequence[float] = (),
) -> None:  # fmt: skip
    """Store the answer of a turn that belongs to a session; an empty one too, if it is whole.

    Args:
        times: seconds of each of the answer's tokens, if it was streamed and they were wanted.
    """
    if turn.session_id is None or (not answer.text and reason == "cancelled"):
        return
    store = (await service.storage()).sessions
    text, ids = answer.text, [t.token_id for t in answer.tokens if t.token_id is not None]
    if turn.prefix and turn.prefix[0].text.endswith(REPLACEMENT):
        # A character that prefix and answer have parts of is whole only in both together.
        text = await asyncio.to_thread(turn.model.engine.decode, ids)
    details: dict[str, Any] = {
        "model": turn.model.name,
        "finish_reason": reason,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_tokens": usage.cached_tokens,
        "left_out": turn.window.left_out + usage.trimmed_messages,
        "sampling": _sampling(turn.request.params),
    }
    if turn.prefix:
        details["prefix_tokens"] = len(turn.prefix)
    if answer.done is not None:
        details["timings"] = asdict(answer.done.timings)
    if turn.keeps_ids:
        details["token_ids"] = ids
    if times:
        details["token_times_s"] = list(times)
    await asyncio.to_thread(
        store.add, owner, turn.session_id, turn.question_id, "assistant", text, details,
        turn.message_id,
    )  # fmt: skip
    service.changes.tell(
        owner, turn.session_id, "answered", response_id=turn.response_id, message_id=turn.message_id
    )


def _sampling(params: SamplingParams) -> dict[str, Any]:
    """What was set, as far as it is not the default: the answer can be asked for again."""
    default = SamplingParams()
    names = ("max_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed")
    return {
        name: getattr(params, name)
        for name in names
        if getattr(params, name) != getattr(default, name)
    }
