"""Who may come in, and how often: draining, keys, limits."""

from __future__ import annotations

import contextlib
from functools import partial

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airust.serving.api.health import PROBES
from airust.serving.api.page import PREFIX
from airust.serving.callers import Caller, KeyRing, address_of, presented
from airust.serving.errors import ApiError, as_api_error
from airust.serving.service import Service
from airust.types import AirustError

OPEN = PROBES | {"/openapi.json", "/"}
ANSWERS = ("POST", "PUT", "PATCH")  # methods that count as answers at the same time
CONVERSATIONS = "/v1/sessions"


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith(PREFIX)


class Gate:
    """Refuses new work while draining (503), wrong keys (401, 403), and too much (429).

    What it finds out goes into the scope: ``airust.caller``, and ``airust.spend``, which charges
    tokens to the caller.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service, self._ring = app, service, KeyRing()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] == "http" and not _is_open(scope["path"]):
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        headers: dict[str, str] = {}

        async def limited(message: Message) -> None:
            if message["type"] == "http.response.start" and headers:
                found = MutableHeaders(raw=message["headers"])
                for name, value in headers.items():
                    found.setdefault(name, value)
            await send(message)

        with contextlib.ExitStack() as stack:
            try:
                service.check_open()
                caller = await self._identify(scope)
                meters = service.limiter.meters(caller.key_id, caller.address)
                # Who has used up the tokens can still read and sort the conversations.
                spends = scope["method"] == "POST" and not scope["path"].startswith(CONVERSATIONS)
                headers = await service.limiter.admit(meters, spends)
                scope["airust.spend"] = partial(service.limiter.charge, meters)
                if scope["method"] in ANSWERS:
                    stack.enter_context(service.limiter.running(caller.key_id, caller.address))
            except AirustError as error:
                await as_api_error(error).send(scope, receive, limited)
                return
            except ApiError as error:
                await error.send(scope, receive, limited)
                return
            await self._app(scope, receive, limited)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._service.check_open()
            await self._identify(scope)
        except ApiError as error:
            scope["airust.refused"] = error  # the route accepts, says why, and closes
        await self._app(scope, receive, send)

    async def _identify(self, scope: Scope) -> Caller:
        service, settings = self._service, self._service.settings
        address = address_of(scope, settings.server.trusted_proxies)
        caller = Caller("", "", (), address)
        secret = presented(scope)
        if settings.keys.required and not (scope["path"] == "/metrics" and settings.metrics.public):
            found = None
            if secret is not None:
                keys = (await service.storage()).keys
                found = await self._ring.find(keys, secret)
            if found is None:
                what = "is not valid" if secret else "is missing"
                raise ApiError(
                    401, f"The API key {what}; send it as 'Authorization: Bearer KEY'.",
                    "invalid_api_key", headers={"www-authenticate": "Bearer"},
                )  # fmt: skip
            caller = Caller(found.id, found.name, found.scopes, address)
            caller.need("admin" if scope["path"] == "/metrics" else "chat")
        scope["airust.caller"], scope["airust.caller_name"] = caller, caller.name
        return caller
