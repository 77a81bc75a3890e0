"""Waiting without judging how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable

WAIT_S = 240


def eventually(check: Callable[[], bool], what: str) -> None:
    """Wait until something is true."""
    end = time.monotonic() + WAIT_S
    while not check():
        assert time.monotonic() < end, what
        time.sleep(0.02)
