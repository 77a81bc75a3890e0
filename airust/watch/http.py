"""Questions over HTTP, asked politely.

Answers are kept in the user's cache: while one is fresh nothing is asked, later the server is asked
whether it has changed (ETag, Last-Modified). Questions to a source come one at a time, with a pause
between them, and under a name. When the server wants a pause, nothing more is asked in this run.
Proxies are those of the environment.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter
from requests_cache import AnyResponse, CachedSession

from airust import __version__
from airust.rust.cache import cache_folder
from airust.watch.answers import Absent, NoAnswer, Refused, utc_today

TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Page:
    """The body of an answer, and the day on which the server stood by it."""

    text: str
    day: datetime.date


class Http:
    """One server.

    Args:
        name: of its cache.
        pause_s: seconds from the end of one question to the next.
        fresh_s: seconds for which an answer is not asked for again.
        headers: of every question.
    """

    def __init__(
        self, name: str, *, pause_s: float, fresh_s: float, headers: Mapping[str, str] | None = None
    ) -> None:
        self._session = CachedSession(
            str(cache_folder("http", owner="watch") / name),
            backend="sqlite",
            serializer="json",
            expire_after=fresh_s,
            allowable_codes=(200, 404),
        )
        self._session.headers["User-Agent"] = f"airust/{__version__} (research watch)"
        self._session.headers.update(headers or {})
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _Paced(pause_s))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._session.close()

    def get(self, url: str, parameters: Mapping[str, str | int] | None = None) -> Page:
        """The page at an address.

        Raises:
            Absent: the server has no such page.
            Refused: it wants no more questions.
            NoAnswer: it cannot be reached, or fails.
        """
        try:
            response = self._session.get(url, params=parameters, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            raise NoAnswer(_reason(error)) from error
        _check(response)
        asked_now = not response.from_cache or response.revalidated
        day = utc_today() if asked_now else response.created_at.date()
        return Page(response.text, day)


class _Paced(HTTPAdapter):
    """Waits before a question that goes out to the network; cached answers never come here."""

    def __init__(self, pause_s: float) -> None:
        super().__init__()
        self._pause_s = pause_s
        self._next = 0.0

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        time.sleep(max(0.0, self._next - time.monotonic()))
        try:
            return super().send(*args, **kwargs)
        finally:
            self._next = time.monotonic() + self._pause_s


def _check(response: AnyResponse) -> None:
    status = response.status_code
    if status == 404:
        raise Absent("there is no such thing")
    if status == 401:
        raise Refused("it does not accept the token")
    if status in (403, 429, 503):
        raise Refused(_pause(response.headers) or f"it answers with status {status}")
    if status != 200:
        raise NoAnswer(f"it answers with status {status}")


def _pause(headers: Mapping[str, str]) -> str:
    """Until when a server wants to be left alone, in words; "" if it does not say."""
    after = headers.get("retry-after", "")
    if after.isdigit():
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=int(after))
    elif after:
        return f"it wants a pause until {after}"
    elif headers.get("x-ratelimit-remaining") == "0":
        seconds = int(headers.get("x-ratelimit-reset", "0"))
        until = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    else:
        return ""
    return f"its limit of questions is reached until {until:%H:%M} UTC"


def _reason(error: requests.RequestException) -> str:
    # requests' own messages hold addresses and memory locations
    kinds = (
        (requests.exceptions.ProxyError, "the proxy does not let it through"),
        (requests.exceptions.SSLError, "its certificate cannot be verified"),
        (requests.Timeout, f"no answer within {TIMEOUT_S} s"),
        (requests.ConnectionError, "no connection"),
    )
    return next((words for kind, words in kinds if isinstance(error, kind)), "the request failed")
