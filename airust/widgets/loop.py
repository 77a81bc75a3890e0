"""An event loop in a thread of its own: it goes on while the kernel is busy with a cell."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")
JOIN_S = 10.0  # the thread is a daemon: what hangs longer does not keep the kernel alive


class BackgroundLoop:
    """Runs coroutines for other threads until it is closed."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    @property
    def closed(self) -> bool:
        """It takes no more work."""
        return self.loop.is_closed() or not self._thread.is_alive()

    def call(self, work: Callable[..., object], *args: object) -> None:
        """Call something in the loop, soon; from any thread. Nothing happens after ``close``."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(work, *args)

    def run(self, work: Coroutine[Any, Any, Result], timeout_s: float | None = None) -> Result:
        """Wait for a coroutine's result. Whoever is interrupted while waiting cancels it.

        Raises:
            TimeoutError: it took longer.
        """
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(timeout_s)
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel what runs, and end. Safe to repeat."""
        if self.closed:
            return
        self.run(_cancel_all(), JOIN_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(JOIN_S)


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
