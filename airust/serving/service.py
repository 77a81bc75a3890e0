"""What every route shares: the models, the settings, the metrics, and whether we are leaving."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket

from airust import __version__
from airust.serving.background import Background
from airust.serving.changes import Changes
from airust.serving.errors import ApiError
from airust.serving.generation import Generation
from airust.serving.limits import Limiter
from airust.serving.metrics import Metrics
from airust.serving.models import Models, ServedModel
from airust.serving.relay import Relay
from airust.serving.storage.database import Database
from airust.serving.storage.keys import Keys
from airust.serving.storage.sessions import Sessions
from airust.settings import Settings
from airust.types import Request

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Storage:
    """What outlives the process."""

    database: Database
    sessions: Sessions
    keys: Keys


class Service:
    """One app's state."""

    def __init__(self, models: Models, settings: Settings) -> None:
        self.models, self.settings = models, settings
        self.metrics = Metrics(models)
        self.started = time.monotonic()
        self.draining = False
        self.in_flight = 0  # HTTP requests and answers on sockets; health checks do not count
        self.generations: set[Generation] = set()
        self.sockets: set[WebSocket] = set()
        self.limiter = Limiter(settings.limits)
        self.changes, self.background = Changes(), Background()
        self._relay: Relay | None = None
        self._storage: Storage | None = None
        self._opening = threading.Lock()

    @property
    def relay(self) -> Relay:
        """Of the running event loop."""
        loop = asyncio.get_running_loop()
        if self._relay is None or self._relay.loop is not loop:
            self._relay = Relay(loop)
        return self._relay

    async def storage(self) -> Storage:
        """Sessions and keys; the database is opened by the first who needs it."""
        if self._storage is None:
            return await asyncio.to_thread(self._open_storage)
        return self._storage

    def _open_storage(self) -> Storage:
        with self._opening:
            found = self._storage
            if found is None:
                database = Database(self.settings.sessions.database_url)
                found = self._storage = Storage(database, Sessions(database), Keys(database))
            return found

    def check_open(self) -> None:
        """Refuse new work while draining.

        Raises:
            ApiError: the server is shutting down.
        """
        if self.draining:
            raise ApiError(
                503, "The server is shutting down.", "shutting_down",
                headers={"retry-after": "5", "connection": "close"},
            )  # fmt: skip

    def generation(
        self,
        model: ServedModel,
        requests: Sequence[Request],
        *,
        each: int = 1,
        streaming: bool,
        on_usage: Callable[[int], object],
    ) -> Generation:
        """Answers to come; ``async with`` starts them."""
        if self.settings.log.prompts:
            log.info("prompt", extra={"model": model.name, "request": requests[0]})
        timeout_s = self.settings.server.request_timeout_s
        return Generation(
            self.relay,
            self.metrics,
            model,
            requests,
            each=each,
            streaming=streaming,
            timeout_s=timeout_s,
            on_usage=on_usage,
            alive=self.generations,
        )

    def drain(self) -> None:
        """Refuse new work from now on; what runs may end."""
        self.draining = True

    async def idle(self) -> None:
        """Until nothing runs any more."""
        while self.in_flight:
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Close the database. The engines belong to whoever made them."""
        if self._storage is not None:
            self._storage.database.close()

    def give_up(self) -> None:
        """Stop what still runs after draining."""
        for generation in list(self.generations):
            generation.stop(ApiError(503, "The server is shutting down.", "shutting_down"))


def service_of(connection: HTTPConnection) -> Service:
    """The service behind a request or a WebSocket."""
    service: Service = connection.app.state.service
    return service


def fingerprint(model: ServedModel) -> str:
    """What an answer came from."""
    return f"airust-{__version__}-{model.engine.name}"
