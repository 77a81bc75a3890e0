"""How far a report is: a file that the notebook appends to and the caller of the report reads.

The notebook runs in a kernel of its own; a line in a file is the one thing that both can reach
and that survives either.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from airust.bench.pace import Status

POLL_S = 0.2


def tell(path: Path, status: Status) -> None:
    """Append to the file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(status)) + "\n")


@contextlib.contextmanager
def watched(path: Path, callback: Callable[[Status], None]) -> Iterator[None]:
    """Pass every line of the file to the callback, from a thread, while the block runs."""
    path.touch()
    done = threading.Event()
    thread = threading.Thread(target=_watch, args=(path, callback, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _watch(path: Path, callback: Callable[[Status], None], done: threading.Event) -> None:
    pending = ""
    with path.open(encoding="utf-8") as file:
        while True:
            finished = done.wait(POLL_S)
            *lines, pending = (pending + file.read()).split("\n")
            for line in lines:
                callback(Status(**json.loads(line)))
            if finished:
                return
