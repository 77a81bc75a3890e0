"""How much a caller may ask for: requests and tokens a minute, and answers at the same time.

Counted per key and per address by the ``limits`` library, in memory or in Redis: requests in
windows that slide, tokens in whole minutes. Tokens are known only afterwards, so a request passes
while any are left and is charged when it ends. Answers at the same time are counted by each
process for itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import Storage
from limits.aio.strategies import (
    FixedWindowRateLimiter,
    RateLimiter,
    SlidingWindowCounterRateLimiter,
)
from limits.errors import ConfigurationError
from limits.storage import storage_from_string

from airust.serving.errors import ApiError
from airust.settings import Limits, LimitSettings
from airust.types import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Meter:
    """One limit of one caller."""

    kind: str  # requests or tokens
    item: RateLimitItem
    name: str  # of the caller


class Limiter:
    """All limits of an app.

    Raises:
        UserError: the storage cannot be used.
    """

    def __init__(self, settings: LimitSettings) -> None:
        self._settings = settings
        self._running: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[object]] = set()
        url = settings.storage_url
        options = {"implementation": "redispy"} if url.startswith("redis") else {}
        try:
            storage = storage_from_string(f"async+{url}", **options)
        except (ConfigurationError, ValueError, ImportError) as error:
            raise UserError(f"limits.storage_url cannot be used: {error}.") from error
        assert isinstance(storage, Storage)
        self._windows: dict[str, RateLimiter] = {
            "requests": SlidingWindowCounterRateLimiter(storage),
            # It also counts what goes beyond the limit, as the last answer of a minute does.
            "tokens": FixedWindowRateLimiter(storage),
        }

    def meters(self, key: str, address: str) -> list[Meter]:
        """The limits that hold for a caller."""
        found = []
        for name, limits in self._callers(key, address):
            if limits.requests_per_minute:
                item = RateLimitItemPerMinute(limits.requests_per_minute)
                found.append(Meter("requests", item, name))
            if limits.tokens_per_minute:
                item = RateLimitItemPerMinute(limits.tokens_per_minute)
                found.append(Meter("tokens", item, name))
        return found

    def _callers(self, key: str, address: str) -> list[tuple[str, Limits]]:
        callers = [(f"ip:{address}", self._settings.per_ip)]
        if key:
            callers.append((f"key:{key}", self._settings.per_key))
        return callers

    async def admit(self, meters: list[Meter], spends: bool = True) -> dict[str, str]:
        """Count a request; the headers that tell what is left.

        Args:
            spends: it may cost tokens, so there must be some left.

        Raises:
            ApiError: a limit is reached.
        """
        headers: dict[str, str] = {}
        least: dict[str, float] = {}
        for meter in meters:
            passed, left, wait_s = await self._count(meter)
            share = left / meter.item.amount
            if not passed or share < least.get(meter.kind, 2.0):
                least[meter.kind] = share
                headers |= {
                    f"x-ratelimit-limit-{meter.kind}": str(meter.item.amount),
                    f"x-ratelimit-remaining-{meter.kind}": str(left),
                    f"x-ratelimit-reset-{meter.kind}": duration(wait_s),
                }
            if not passed and (spends or meter.kind == "requests"):
                raise _reached(f"{meter.item.amount} {meter.kind} a minute", headers, wait_s)
        return headers

    async def _count(self, meter: Meter) -> tuple[bool, int, float]:
        """Whether a request may pass, what is left, and the seconds until that changes."""
        window, place = self._windows[meter.kind], (meter.item, meter.kind, meter.name)
        try:
            passed = await (window.hit if meter.kind == "requests" else window.test)(*place)
            stats = await window.get_window_stats(*place)
        except Exception as error:  # of whichever storage library
            log.error("limits cannot be counted", extra={"error": str(error)})
            raise ApiError(
                503, "Limits cannot be counted at the moment.", "limiter_unavailable",
                headers={"retry-after": "1"},
            ) from error  # fmt: skip
        return passed, max(stats.remaining, 0), max(stats.reset_time - time.time(), 0.0)

    def charge(self, meters: list[Meter], tokens: int) -> None:
        """Count the tokens of an answer, without waiting for it."""
        for meter in meters:
            if meter.kind == "tokens" and tokens:
                task = asyncio.get_running_loop().create_task(self._charge(meter, tokens))
                self._tasks.add(task)  # the loop itself would let it be collected
                task.add_done_callback(self._tasks.discard)

    async def _charge(self, meter: Meter, tokens: int) -> None:
        try:
            await self._windows[meter.kind].hit(meter.item, meter.kind, meter.name, cost=tokens)
        except Exception as error:  # of whichever storage library
            log.error("tokens cannot be counted", extra={"error": str(error)})

    @contextmanager
    def running(self, key: str, address: str) -> Iterator[None]:
        """Around an answer.

        Raises:
            ApiError: the caller has too many already.
        """
        callers = [(n, li.concurrent_requests) for n, li in self._callers(key, address)]
        for name, most in callers:
            if most and self._running[name] >= most:
                raise _reached(f"{most} answers at the same time", {}, 1.0)
        for name, _ in callers:
            self._running[name] += 1
        try:
            yield
        finally:
            for name, _ in callers:
                self._running[name] -= 1
                if not self._running[name]:
                    del self._running[name]


def _reached(what: str, headers: dict[str, str], wait_s: float) -> ApiError:
    seconds = max(round(wait_s + 0.5), 1)
    more = {"retry-after": str(seconds)} | headers
    return ApiError(429, f"The limit of {what} is reached.", "rate_limit_exceeded", headers=more)


def duration(seconds: float) -> str:
    """As OpenAI writes it.

    >>> duration(0.012), duration(7), duration(360)
    ('12ms', '7s', '6m0s')
    """
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
