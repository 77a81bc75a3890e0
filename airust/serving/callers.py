"""Who asks: the key that a request shows and the address that it comes from."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Scope

from airust.serving.errors import ApiError
from airust.serving.storage.keys import Key, Keys

REMEMBER_S = 2.0  # so long may a key that was revoked elsewhere still work
MOST_REMEMBERED = 4096
SUBPROTOCOL = "openai-insecure-api-key."  # browsers cannot send headers with a WebSocket


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody. Without a key the id is empty, and so is the owner of their sessions."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    address: str

    def need(self, scope: str) -> None:
        """Refuse what the key may not do.

        Raises:
            ApiError: the key has not that scope.
        """
        if self.key_id and scope not in self.scopes:
            message = f"This key has not the scope '{scope}'."
            raise ApiError(403, message, "insufficient_scope")


class KeyRing:
    """Verifies keys, and remembers for a moment."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Key | None]] = {}

    async def find(self, keys: Keys, secret: str) -> Key | None:
        """The key, if it is one."""
        now = time.time()
        until, found = self._known.get(secret, (0.0, None))
        if now >= until:
            found = await asyncio.to_thread(keys.verify, secret)
            if len(self._known) >= MOST_REMEMBERED:  # somebody tries many
                self._known.clear()
            self._known[secret] = (now + REMEMBER_S, found)
        return found if found is not None and found.valid(now) else None


def presented(scope: Scope) -> str | None:
    """The key that a request or a WebSocket shows."""
    headers = Headers(scope=scope)
    kind, _, secret = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and secret.strip():
        return secret.strip()
    for protocol in scope.get("subprotocols", ()):
        if protocol.startswith(SUBPROTOCOL):
            return str(protocol.removeprefix(SUBPROTOCOL))
    return None


def address_of(scope: Scope, trusted: Sequence[str]) -> str:
    """The client's address: the last one that a trusted proxy vouches for.

    >>> header = [(b"x-forwarded-for", b"6.6.6.6, 1.2.3.4, 10.0.0.7")]
    >>> scope = {"type": "http", "client": ("10.0.0.1", 1), "headers": header}
    >>> address_of(scope, ["10.0.0.0/8"]), address_of(scope, [])
    ('1.2.3.4', '10.0.0.1')
    """
    peer = (scope.get("client") or ("", 0))[0]
    if not trusted or not _inside(peer, trusted):
        return str(peer)
    forwarded = Headers(scope=scope).getlist("x-forwarded-for")
    hops = [hop.strip() for line in forwarded for hop in line.split(",") if hop.strip()]
    for hop in reversed(hops):
        if not _inside(hop, trusted):
            return hop[:64]
    return hops[0][:64] if hops else str(peer)


def _inside(address: str, networks: Sequence[str]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in ipaddress.ip_network(network, strict=False) for network in networks)


def caller_of(connection: HTTPConnection) -> Caller:
    """Whom the gate has let in."""
    caller: Caller = connection.scope["airust.caller"]
    return caller
