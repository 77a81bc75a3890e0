"""One response of the WebSocket, from the question kept to the answer kept.

It is said to whoever ``say`` stands for: the socket itself, or the record of a response that goes
on in the background.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from airust.serving import turns
from airust.serving.api.answers import dumps
from airust.serving.api.response_events import ResponseEvents
from airust.serving.api.response_schema import ResponseRequest
from airust.serving.callers import Caller
from airust.serving.errors import ApiError, as_api_error
from airust.serving.generation import Generation
from airust.serving.service import Service
from airust.types import DoneEvent, TokenEvent

Say = Callable[..., Awaitable[None]]
# Told the turn and its generation before the first event; returns where the events go.
OnStart = Callable[[turns.Turn, Generation], Say]


async def answer(
    service: Service, caller: Caller, body: ResponseRequest, event_id: Any,
    say: Say, on_start: OnStart,
) -> None:  # fmt: skip
    """Answer, within the caller's limits.

    Args:
        say: takes events, and failures before the first one.
    """
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
            events = ResponseEvents(turn, body)
            await _stream(service, caller.key_id, generation, events, event_id, on_start)
    except Exception as error:
        told = as_api_error(error)
        service.metrics.failed("/ws", told.status, told.code or "")
        await say(error_event(told, event_id))
    finally:
        service.in_flight -= 1


async def _stream(
    service: Service, owner: str, generation: Generation, events: ResponseEvents,
    event_id: Any, on_start: OnStart,
) -> None:  # fmt: skip
    turn, reason, kept = events.turn, "cancelled", False
    async with generation:
        say = on_start(turn, generation)
        try:
            echo = {} if event_id is None else {"event_id": event_id}
            await say(*events.begin(**echo))
            async for batch in generation:
                tokens = [event for _, event in batch if isinstance(event, TokenEvent)]
                if isinstance(batch[-1][1], DoneEvent):
                    events.answer.done = batch[-1][1]
                    reason = batch[-1][1].finish_reason
                await say(*events.tokens(tokens))
            kept = True
            await turns.keep(
                service, owner, turn, events.answer, reason, generation.usage, events.times
            )
            await say(*events.end(reason, generation.usage))
        except Exception as error:
            told = as_api_error(error)
            service.metrics.failed("/ws", told.status, told.code or "")
            await say(*events.fail(told))
        finally:
            if not kept:  # the client has gone, or the engine failed: keep what there is
                generation.cancel()
                await asyncio.shield(
                    turns.keep(
                        service, owner, turn, events.answer, "cancelled", generation.usage,
                        events.times,
                    )
                )  # fmt: skip


def error_event(error: ApiError, event_id: Any) -> bytes:
    """What cannot be obeyed."""
    event = {"type": "error", "error": error.detail}
    return dumps(event if event_id is None else event | {"event_id": event_id})
