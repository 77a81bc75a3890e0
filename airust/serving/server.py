"""Run an app with uvicorn, and leave gracefully.

On SIGTERM or Ctrl+C the socket stays open for a while: /readyz and new work get 503, so that a
load balancer turns away before connections are refused; what runs may end within
``server.drain_timeout_s``. A second signal leaves at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from airust.serving import logs
from airust.serving.protocol import CappedProtocol
from airust.serving.service import Service
from airust.settings import Settings
from airust.types import UserError

log = logging.getLogger(__name__)

BACKLOG = 2048
LOOPBACK = ("127.0.0.1", "::1", "localhost")
GOING_AWAY = 1001  # a WebSocket's close code
LAST_WORDS_S = 2.0  # for answers that are given up to say so


def serve(app: FastAPI, settings: Settings, on_ready: Callable[[str], object]) -> None:
    """Serve until a signal comes.

    Args:
        on_ready: told the URL as soon as connections are accepted.

    Raises:
        UserError: the address cannot be had, or may not be had without keys.
    """
    check_exposure(settings)
    logs.set_up(settings.log)
    with listen(settings) as sock:
        config = config_of(app, settings)
        service: Service = app.state.service
        host, port = sock.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        server = DrainingServer(config, service, lambda: on_ready(f"http://{shown}:{port}"))
        server.run(sockets=[sock])


def config_of(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """How uvicorn runs an app."""
    protocol: Any = partial(CappedProtocol, settings=settings.server)
    return uvicorn.Config(
        app,
        http=protocol,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        lifespan="on",
        timeout_keep_alive=settings.server.idle_timeout_s,
        timeout_graceful_shutdown=int(LAST_WORDS_S) + 1,
        ws_max_size=settings.websocket.max_frame_bytes,
    )


def check_exposure(settings: Settings) -> None:
    """Other machines may ask only with keys, or when somebody has said so.

    Raises:
        UserError: they could without.
    """
    host, keys = settings.server.host, settings.keys
    if host in LOOPBACK or host.startswith("127.") or keys.required or keys.allow_open:
        return
    raise UserError(
        f"server.host {host} can be reached from other machines. Require keys "
        f"(keys.required = true; `airust keys create` makes one), or say that anybody may ask "
        f"(keys.allow_open = true)."
    )


def listen(settings: Settings) -> socket.socket:
    """A bound socket.

    Raises:
        UserError: the address is wrong or taken.
    """
    host, port = settings.server.host, settings.server.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        sock = socket.socket(found[0][0], socket.SOCK_STREAM)
    except OSError as error:
        raise UserError(f"Cannot listen on {host}: {error.strerror}.") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(found[0][4])
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise UserError(
            f"Cannot listen on {host} port {port}: {error.strerror}. --port takes another one."
        ) from error
    return sock


class DrainingServer(uvicorn.Server):
    """uvicorn, but it goes on answering while the last requests end."""

    def __init__(
        self, config: uvicorn.Config, service: Service, on_ready: Callable[[], object]
    ) -> None:
        super().__init__(config)
        self._service, self._on_ready = service, on_ready
        self._leaving: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn, then tell."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, the second leaves."""
        if self._loop is None or self._leaving is not None:
            self.should_exit = self.force_exit = True
            return
        self._loop.call_soon_threadsafe(self._leave, signal.Signals(sig).name)

    def _leave(self, why: str) -> None:
        if self._leaving is None:
            self._leaving = asyncio.get_running_loop().create_task(self._drain(why))

    async def _drain(self, why: str) -> None:
        service, timeout_s = self._service, self._service.settings.server.drain_timeout_s
        log.info("draining", extra={"signal": why, "in_flight": service.in_flight})
        service.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await service.idle()
        if service.in_flight:
            log.warning("giving up", extra={"in_flight": service.in_flight})
            service.give_up()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await service.idle()
        for connection in list(service.sockets):
            with contextlib.suppress(RuntimeError):
                await connection.close(GOING_AWAY)
        self.should_exit = True
