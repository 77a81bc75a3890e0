"""Our own service in a process of its own, for what is measured through HTTP."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from airust.engines.registry import parse_spec
from airust.types import EngineError

MODEL = "benchmark"  # the name that the model has there
READY_S, LEAVE_S, POLL_S = 120.0, 20.0, 0.02
ADDRESS = re.compile(r"Serving .* at (http://\S+)")


@dataclass(frozen=True, slots=True)
class OwnServer:
    """Where it listens, and its process."""

    url: str  # up to and with /v1
    pid: int


@contextlib.contextmanager
def own_server(engine: str, model: Path) -> Iterator[OwnServer]:
    """`airust serve` with one model in one engine, on a free port, until the block ends.

    It inherits cores and thread settings of this process.

    Args:
        engine: NAME or NAME:OPTION=VALUE,...

    Raises:
        EngineError: it did not come up; the message holds its last words.
    """
    words = ["--model", f"{MODEL}={model.resolve()}", "--engine", engine, "--port", "0"]
    # Its database is nobody's business after the run.
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "airust", "serve", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, cwd=folder,
        )  # fmt: skip
        try:
            yield OwnServer(f"{_wait(process, said)}/v1", process.pid)
        finally:
            process.terminate()
            try:
                process.wait(LEAVE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def served(job: dict[str, Any]) -> Iterator[tuple[dict[str, Any], int | None]]:
    """Options that lead the job's engine to a server of our own, and that server's process.

    Neither where ``job["serve"]`` names no engine to put behind one.
    """
    if not job.get("serve"):
        yield {}, None
        return
    with own_server(job["serve"], Path(job["model"])) as server:
        yield {"base_url": server.url, "served_as": MODEL, "retries": 0}, server.pid


def told_settings(settings: dict[str, object], serve: str | None) -> dict[str, object]:
    """An engine's settings without the free port, with the number format behind a server."""
    if serve is None:
        return settings
    dtype = parse_spec(serve)[1].get("dtype", "float32")
    return {k: v for k, v in settings.items() if k != "base_url"} | {"dtype": dtype}


def cpu_clock(pid: int | None) -> Callable[[], float]:
    """Processor seconds of this process, and of a server if there is one."""
    if pid is None:
        return time.process_time
    server = psutil.Process(pid)

    def both() -> float:
        times = server.cpu_times()
        return time.process_time() + float(times.user + times.system)

    return both


def _wait(process: subprocess.Popen[bytes], said: IO[str]) -> str:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        said.seek(0)
        text = said.read()
        if found := ADDRESS.search(text):
            return found[1]
        if ended:
            last = text.strip().splitlines()
            raise EngineError(f"The server did not start: {last[-1] if last else 'no message'}")
        time.sleep(POLL_S)
    raise EngineError(f"The server did not answer within {READY_S:.0f} s.")
