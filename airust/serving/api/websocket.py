"""GET /ws: several conversations over one WebSocket, in the words of OpenAI's Responses.

The client sends ``{"type": "response.create", ...}`` with the fields of POST /v1/responses, and
``{"type": "response.cancel", "response_id": ...}``. The server sends the events of a streamed
response, each with its ``response_id``, and ``{"type": "error", ...}`` for what it cannot obey.
An ``event_id`` of the client's comes back in ``response.created`` and in errors.

Pages of other origins are refused: a browser sends its cookies and its network position along.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from airust.serving import turns
from airust.serving.api.answers import dumps
from airust.serving.api.response_events import ResponseEvents
from airust.serving.api.response_schema import ResponseRequest
from airust.serving.callers import SUBPROTOCOL, caller_of
from airust.serving.errors import ApiError, as_api_error, invalid
from airust.serving.generation import Generation
from airust.serving.service import Service, service_of
from airust.types import DoneEvent, TokenEvent

router = APIRouter()
log = logging.getLogger(__name__)

PROTOCOL = "airust"
MOST_AT_ONCE = 32  # responses of one socket
POLICY_VIOLATION, GOING_AWAY = 1008, 1001


@router.websocket("/ws")
async def websocket(socket: WebSocket) -> None:
    """Serve one socket until either side closes it."""
    service = service_of(socket)
    refused: ApiError | None = socket.scope.get("airust.refused")
    if not _may_connect(socket, service.settings.websocket.origins):
        refused = ApiError(403, "This origin may not connect.", "origin_not_allowed")
    offered = socket.scope.get("subprotocols", [])
    await socket.accept(subprotocol=next((p for p in offered if not _is_key(p)), None))
    if refused is not None:
        await socket.send_text(dumps({"type": "error", "error": refused.detail}).decode())
        await socket.close(GOING_AWAY if refused.status == 503 else POLICY_VIOLATION)
        return
    service.metrics.sockets.inc()
    service.sockets.add(socket)
    try:
        await Line(socket, service).run()
    finally:
        service.sockets.discard(socket)
        service.metrics.sockets.dec()


def _is_key(protocol: str) -> bool:
    return protocol.startswith(SUBPROTOCOL)


def _may_connect(socket: WebSocket, allowed: Sequence[str]) -> bool:
    """No Origin is no browser; a browser's must be this server's own, or be allowed."""
    origin = socket.headers.get("origin")
    if origin is None or "*" in allowed or origin in allowed:
        return True
    return urlsplit(origin).netloc.lower() == socket.headers.get("host", "").lower()


class Line:
    """One socket with its running responses."""

    def __init__(self, socket: WebSocket, service: Service) -> None:
        self._socket, self._service = socket, service
        self._caller = caller_of(socket)
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: dict[str, Generation] = {}

    async def run(self) -> None:
        """Obey until the client leaves; then cancel what still runs."""
        try:
            while True:
                await self._obey(await self._socket.receive_text())
        except (WebSocketDisconnect, RuntimeError, KeyError):  # KeyError: a binary frame
            pass
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await self._socket.close()

    async def _obey(self, text: str) -> None:
        event_id: Any = None
        try:
            event = _parse(text)
            event_id = event.pop("event_id", None)
            kind = event.pop("type", None)
            if kind == "response.create":
                self._create(event, event_id)
            elif kind == "response.cancel":
                self._cancel(event.get("response_id"))
            else:
                raise ApiError(400, f"There is no event '{str(kind)[:60]}'.", "unknown_event",
                               "type")  # fmt: skip
        except ApiError as error:
            await self._say(_error(error, event_id))

    def _create(self, event: dict[str, Any], event_id: Any) -> None:
        nested = event.pop("response", {})
        try:
            body = ResponseRequest.model_validate(event | nested)
        except (ValidationError, TypeError) as error:
            problems = error.errors() if isinstance(error, ValidationError) else None
            if problems is None:
                raise ApiError(400, "response must be an object.", "invalid_value") from error
            raise invalid(problems) from error
        if len(self._tasks) >= MOST_AT_ONCE:
            message = f"One socket may have {MOST_AT_ONCE} responses at a time."
            raise ApiError(429, message, "rate_limit_exceeded")
        task = asyncio.get_running_loop().create_task(self._answer(body, event_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cancel(self, response_id: Any) -> None:
        generation = self._running.get(str(response_id))
        if generation is None:
            message = f"No response '{str(response_id)[:60]}' is running."
            raise ApiError(404, message, "response_not_found", "response_id")
        generation.end_early()

    async def _answer(self, body: ResponseRequest, event_id: Any) -> None:
        service, caller = self._service, self._caller
        service.in_flight += 1
        try:
            service.check_open()
            meters = service.limiter.meters(caller.key_id, caller.address)
            await service.limiter.admit(meters)
            with service.limiter.running(caller.key_id, caller.address):
                turn = await turns.begin(service, caller.key_id, body)
                generation = service.generation(
                    turn.model, [turn.request], streaming=True,
                    on_usage=partial(service.limiter.charge, meters),
                )  # fmt: skip
                await self._stream(turn, generation, ResponseEvents(turn, body), event_id)
        except Exception as error:
            told = as_api_error(error)
            service.metrics.failed("/ws", told.status, told.code or "")
            await self._say(_error(told, event_id))
        finally:
            service.in_flight -= 1

    async def _stream(
        self, turn: turns.Turn, generation: Generation, events: ResponseEvents, event_id: Any
    ) -> None:
        reason, kept = "cancelled", False
        owner, service = self._caller.key_id, self._service
        async with generation:
            self._running[turn.response_id] = generation
            try:
                echo = {} if event_id is None else {"event_id": event_id}
                await self._say(*events.begin(**echo))
                async for batch in generation:
                    tokens = [event for _, event in batch if isinstance(event, TokenEvent)]
                    if isinstance(batch[-1][1], DoneEvent):
                        reason = batch[-1][1].finish_reason
                    await self._say(*events.tokens(tokens))
                kept = True
                await turns.keep(service, owner, turn, events.answer.text, reason, generation.usage)
                await self._say(*events.end(reason, generation.usage))
            except Exception as error:
                told = as_api_error(error)
                service.metrics.failed("/ws", told.status, told.code or "")
                await self._say(*events.fail(told))
            finally:
                del self._running[turn.response_id]
                if not kept:  # the client has gone, or the engine failed: keep what there is
                    generation.cancel()
                    await asyncio.shield(
                        turns.keep(
                            service, owner, turn, events.answer.text, "cancelled", generation.usage
                        )
                    )

    async def _say(self, *events: bytes) -> None:
        # The other side may have gone; then there is nobody to tell.
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            for event in events:
                await self._socket.send_text(event.decode())


def _parse(text: str) -> dict[str, Any]:
    try:
        event = json.loads(text)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise ApiError(400, "An event must be a JSON object.", "invalid_json")
    return event


def _error(error: ApiError, event_id: Any) -> bytes:
    event = {"type": "error", "error": error.detail}
    return dumps(event if event_id is None else event | {"event_id": event_id})
