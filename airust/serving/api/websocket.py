"""GET /ws: several conversations over one WebSocket, in the words of OpenAI's Responses.

The client sends ``{"type": "response.create", ...}`` with the fields of POST /v1/responses, and
``{"type": "response.cancel", "response_id": ...}``. The server sends the events of a streamed
response, each with its ``response_id``, and ``{"type": "error", ...}`` for what it cannot obey.
An ``event_id`` of the client's comes back in ``response.created`` and in errors.

A response with ``"background": true`` goes on when its socket is gone. Any socket of the same
caller gets its events by ``{"type": "response.attach", "response_id": ..., "starting_after": n}``.
After ``{"type": "sessions.watch"}`` the server tells ``session.changed`` whenever a conversation
of the caller changes, wherever that was done.

Pages of other origins are refused: a browser sends its cookies and its network position along.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from airust.serving.api.answering import Say, answer, error_event
from airust.serving.api.answers import dumps
from airust.serving.api.response_schema import ResponseRequest
from airust.serving.background import Running
from airust.serving.callers import SUBPROTOCOL, caller_of
from airust.serving.errors import ApiError, invalid
from airust.serving.generation import Generation
from airust.serving.service import Service, service_of
from airust.serving.turns import Turn

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
        self._forget: Callable[[], None] | None = None  # while it watches the sessions

    async def run(self) -> None:
        """Obey until the client leaves; then cancel what still runs."""
        try:
            while True:
                await self._obey(await self._socket.receive_text())
        except (WebSocketDisconnect, RuntimeError, KeyError):  # KeyError: a binary frame
            pass
        finally:
            if self._forget is not None:
                self._forget()
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
            elif kind == "response.attach":
                await self._attach(event, event_id)
            elif kind == "sessions.watch":
                await self._watch(event_id)
            else:
                raise ApiError(400, f"There is no event '{str(kind)[:60]}'.", "unknown_event",
                               "type")  # fmt: skip
        except ApiError as error:
            await self._say(error_event(error, event_id))

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
        work = self._answer_in_background if body.background else self._answer
        self._begin(work(body, event_id))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cancel(self, response_id: Any) -> None:
        generation = self._running.get(str(response_id))
        if generation is None:
            running = self._service.background.find(self._caller.key_id, str(response_id))
            generation = running.generation if running is not None else None
        if generation is None:
            raise _no_response(response_id)
        generation.end_early()

    async def _answer(self, body: ResponseRequest, event_id: Any) -> None:
        started: list[str] = []

        def on_start(turn: Turn, generation: Generation) -> Say:
            started.append(turn.response_id)
            self._running[turn.response_id] = generation
            return self._say

        try:
            await answer(self._service, self._caller, body, event_id, self._say, on_start)
        finally:
            for response_id in started:
                del self._running[response_id]

    async def _answer_in_background(self, body: ResponseRequest, event_id: Any) -> None:
        """The answer does not end with the socket; the socket follows it as others may."""
        service, caller = self._service, self._caller
        found: asyncio.Future[Running | None] = asyncio.get_running_loop().create_future()

        def on_start(turn: Turn, generation: Generation) -> Say:
            running = Running(caller.key_id, turn, generation)
            task = asyncio.current_task()
            assert task is not None
            service.background.add(running, task)
            found.set_result(running)
            service.changes.tell(
                caller.key_id, turn.session_id, "answering", response=running.body()
            )
            return running.say

        async def work() -> None:
            try:
                await answer(service, caller, body, event_id, self._say, on_start)
            finally:
                if not found.done():
                    found.set_result(None)

        service.background.start(work())
        running = await asyncio.shield(found)
        if running is not None:
            await self._follow(running, -1)

    async def _follow(self, running: Running, after: int) -> None:
        async for events in running.follow(after):
            await self._say(*events)

    async def _attach(self, event: dict[str, Any], event_id: Any) -> None:
        response_id, after = event.get("response_id"), event.get("starting_after", -1)
        running = self._service.background.find(self._caller.key_id, str(response_id))
        if running is None:
            raise _no_response(response_id)
        if not isinstance(after, int):
            raise ApiError(400, "starting_after must be a number.", "invalid_value",
                           "starting_after")  # fmt: skip
        told = {"type": "response.attached", "response_id": running.turn.response_id}
        await self._say(dumps(told if event_id is None else told | {"event_id": event_id}))
        self._begin(self._follow(running, after))

    async def _watch(self, event_id: Any) -> None:
        """Tell from now on what happens to the caller's sessions, and what is being answered."""
        if self._forget is None:
            # As many as one could miss between two looks; more is a reason to look at everything.
            news: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
            self._forget = self._service.changes.listen(self._caller.key_id, news.put_nowait)

            async def pass_on() -> None:
                while True:
                    await self._say(dumps(await news.get()))

            self._begin(pass_on())
        running = [r.body() for r in self._service.background.running(self._caller.key_id)]
        answer = {"type": "sessions.watching", "running": running}
        await self._say(dumps(answer if event_id is None else answer | {"event_id": event_id}))

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


def _no_response(response_id: Any) -> ApiError:
    message = f"No response '{str(response_id)[:60]}' is running."
    return ApiError(404, message, "response_not_found", "response_id")
