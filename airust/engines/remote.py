"""What engines share that ask a server instead of running a model."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from airust.types import UserError


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a server and how often to try."""

    timeout_s: float  # the longest silence, before the first token and after
    retries: int  # new attempts after a failure that may pass by itself

    @classmethod
    def of(cls, options: Mapping[str, object]) -> Self:
        """From options of these names.

        Raises:
            UserError: a value is out of range.
        """
        timeout_s: Any = options["timeout_s"]
        retries: Any = options["retries"]
        if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or timeout_s <= 0:
            raise UserError(f"timeout_s is {timeout_s!r} but must be a number above 0.")
        if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
            raise UserError(f"retries is {retries!r} but must be a whole number, 0 or more.")
        return cls(float(timeout_s), retries)


def is_local(url: str) -> bool:
    """Whether an address is this machine's own, which no proxy can reach for us.

    >>> is_local("http://127.0.0.1:8000/v1"), is_local("https://api.openai.com/v1")
    (True, False)
    """
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
