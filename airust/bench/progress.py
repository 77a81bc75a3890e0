"""How far a report is: a file that processes append to and the caller of the report reads.

The notebook runs in a kernel and the engines in processes of their own; a line in a file is the
one thing that all of them can write and that survives any of them.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.2
STAGES = {  # stage -> from which share of the whole time to which; an estimate
    "parity": (0.0, 0.22),
    "ceilings": (0.22, 0.25),
    "reference answers": (0.25, 0.28),
    "timing": (0.28, 0.97),
    "figures": (0.97, 1.0),
}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a report is."""

    stage: str  # in words
    fraction: float  # of the whole time, 0 to 1


def tell(path: Path, stage: str, done: float, what: str = "") -> None:
    """Append to the file: ``done`` is the share of this stage."""
    start, end = STAGES[stage]
    entry = {
        "stage": f"{stage}: {what}" if what else stage,
        "fraction": start + (end - start) * done,
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


@contextlib.contextmanager
def watched(path: Path, callback: Callable[[Progress], None]) -> Iterator[None]:
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


def _watch(path: Path, callback: Callable[[Progress], None], done: threading.Event) -> None:
    pending = ""
    with path.open(encoding="utf-8") as file:
        while True:
            finished = done.wait(POLL_S)
            *lines, pending = (pending + file.read()).split("\n")
            for line in lines:
                callback(Progress(**json.loads(line)))
            if finished:
                return
