"""Waiting for what other threads do."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable

from airust.types import DoneEvent, ErrorEvent, Event

TIMEOUT_S = 60


def last_event(inbox: queue.Queue[Event]) -> Event:
    event = inbox.get(timeout=TIMEOUT_S)
    while not isinstance(event, DoneEvent | ErrorEvent):
        event = inbox.get(timeout=TIMEOUT_S)
    return event


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
