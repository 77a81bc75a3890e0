"""Who may come in, and how often: draining, keys, limits."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from airust.serving.api.health import PROBES
from airust.serving.errors import ApiError
from airust.serving.service import Service


class Gate:
    """Refuses new work while draining (503), wrong keys (401, 403), and too much (429)."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or raise."""
        if scope["type"] == "http" and scope["path"] not in PROBES:
            if self._service.draining:
                raise ApiError(
                    503, "The server is shutting down.", "shutting_down",
                    headers={"retry-after": "5", "connection": "close"},
                )  # fmt: skip
        await self._app(scope, receive, send)
