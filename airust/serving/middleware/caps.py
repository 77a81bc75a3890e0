"""Bounds what a request may cost before it is understood: its size, and the time it takes."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airust.serving.errors import ApiError
from airust.settings import ServerSettings


class Caps:
    """Refuses large headers (431), large bodies (413) and slow ones (408)."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or raise."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        settings, headers = self._settings, Headers(scope=scope)
        size = sum(len(name) + len(value) for name, value in headers.raw)
        size += len(scope.get("raw_path") or b"") + len(scope["query_string"])
        many = len(headers.raw) > settings.max_headers
        if many or size > settings.max_header_bytes:
            message = f"The headers may have {settings.max_header_bytes} bytes."
            if many:
                message = f"There may be {settings.max_headers} headers."
            error = ApiError(431, message, "headers_too_large", headers={"connection": "close"})
            await error.send(scope, receive, send)
            return
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > settings.max_body_bytes:
            await self._too_large().send(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + settings.body_timeout_s
        seen, complete = 0, False

        async def capped() -> Message:
            nonlocal seen, complete
            if complete:  # what comes now is the client hanging up
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise ApiError(
                    408, f"The request did not arrive within {settings.body_timeout_s:g} s.",
                    "request_timeout",
                ) from error  # fmt: skip
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                complete = not message.get("more_body", False)
                if seen > settings.max_body_bytes:
                    raise self._too_large()
            return message

        await self._app(scope, capped, send)

    def _too_large(self) -> ApiError:
        message = f"The body may have {self._settings.max_body_bytes} bytes."
        return ApiError(413, message, "request_too_large", headers={"connection": "close"})
