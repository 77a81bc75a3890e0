"""POST /v1/responses: one turn, of a session or of its own."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from airust.serving import turns
from airust.serving.api.answers import complete, json_response, spend
from airust.serving.api.response_events import ResponseEvents
from airust.serving.api.response_schema import ResponseRequest
from airust.serving.api.schemas import ResponseBody, errors
from airust.serving.callers import caller_of
from airust.serving.errors import ApiError
from airust.serving.generation import Generation
from airust.serving.relay import Numbered
from airust.serving.service import Service, service_of
from airust.serving.sse import EventStream
from airust.types import DoneEvent, TokenEvent

router = APIRouter(tags=["responses"])

STREAM = {"text/event-stream": {"schema": {"type": "string"}}}


@router.post(
    "/v1/responses",
    response_model=ResponseBody,
    responses={200: {"content": STREAM}, **errors(400, 404, 504)},
)
async def responses(body: ResponseRequest, http: HttpRequest) -> Response:
    """Answer a question, and keep both if it belongs to a conversation (a session).

    In a session the model is shown the last messages that fit; ``context.left_out`` tells how
    many were not. Without ``input`` the last question is answered again, as a branch.
    """
    service, owner = service_of(http), caller_of(http).key_id
    if body.background:
        message = "background is for the WebSocket; here an answer ends with its request."
        raise ApiError(400, message, "unsupported_parameter", "background")
    turn = await turns.begin(service, owner, body)
    events = ResponseEvents(turn, body)
    generation = service.generation(
        turn.model, [turn.request], streaming=bool(body.stream), on_usage=spend(service, http)
    )
    if body.stream:
        frames = ResponseFrames(service, owner, events)
        return EventStream(generation, frames, service.settings.server.keep_alive_s)
    (answer,) = await complete(http, generation)
    events.finish(answer)
    reason = answer.finish_reason or "stop"
    await turns.keep(service, owner, turn, events.answer, reason, generation.usage)
    status = "completed" if reason == "stop" else "incomplete"
    return json_response(events.response(status, reason, generation.usage))


class ResponseFrames:
    """The events as server-sent events; keeps the answer when it ends."""

    def __init__(self, service: Service, owner: str, events: ResponseEvents) -> None:
        self._service, self._owner, self._events = service, owner, events
        self._reason = "cancelled"
        self._kept = False

    def begin(self) -> bytes:
        """Before the first token."""
        return _frames(self._events.begin())

    def render(self, events: Sequence[Numbered]) -> bytes:
        """Some tokens."""
        tokens = [event for _, event in events if isinstance(event, TokenEvent)]
        for _, event in events:
            if isinstance(event, DoneEvent):
                self._events.answer.done = event
                self._reason = event.finish_reason
        return _frames(self._events.tokens(tokens))

    async def end(self, generation: Generation) -> bytes:
        """Keep the answer, then tell its end."""
        await self.close(generation)
        return _frames(self._events.end(self._reason, generation.usage))

    def fail(self, error: ApiError) -> bytes:
        """Instead of the end."""
        return _frames(self._events.fail(error))

    async def close(self, generation: Generation) -> None:
        """Keep what there is, once."""
        if not self._kept:
            self._kept = True
            events = self._events
            await turns.keep(
                self._service, self._owner, events.turn, events.answer, self._reason,
                generation.usage, events.times,
            )  # fmt: skip


def _frames(events: Sequence[bytes]) -> bytes:
    return b"".join([_frame(event) for event in events])


def _frame(event: bytes) -> bytes:
    kind = event[9 : event.index(b'"', 9)]  # it begins with {"type":"
    return b"event: " + kind + b"\ndata: " + event + b"\n\n"
