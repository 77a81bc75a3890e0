"""Run a worker as a child process and get its result."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

from airust.bench.host import THREAD_VARIABLES, thread_environment
from airust.types import AirustError

STDERR_TAIL = 400  # characters of a crashed worker's last words that are kept


def run_worker(job: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Run one job; a crash or a timeout is a result with an ``error``, never an exception.

    ``job["threads"]`` are the cores of the process. Thread pools have the same size unless
    ``job["pool"]`` gives another, or None for whatever the engine does by itself.
    """
    pool = job.get("pool", job["threads"])
    with tempfile.TemporaryFile() as errors, _start(pool, errors) as child:
        try:
            out = _exchange(child, job, timeout_s)
        except subprocess.TimeoutExpired:
            return {"error": f"no result within {timeout_s:.0f} s"}
        finally:
            child.kill()
        return _result(child, out, errors)


def check_result(result: dict[str, Any], what: str) -> dict[str, Any]:
    """The result, if the worker succeeded.

    Raises:
        AirustError: it failed.
    """
    if result["error"]:
        raise AirustError(f"{what} failed: {result['error']}")
    return result


def child_environment(pool: int | None) -> dict[str, str]:
    """The same thread pools for all, no network, and the airust that runs this."""
    root = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    settings = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": search}
    inherited = {name: v for name, v in os.environ.items() if name not in THREAD_VARIABLES}
    return inherited | thread_environment(pool) | settings


def _start(pool: int | None, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "airust.bench.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=child_environment(pool),
    )


def _exchange(child: subprocess.Popen[bytes], job: dict[str, Any], timeout_s: float) -> bytes:
    """Send the job, keep stdin open so that the worker knows that we live, read the result."""
    stdin, child.stdin = child.stdin, None  # communicate() would close it
    assert stdin is not None
    with contextlib.suppress(BrokenPipeError):
        stdin.write(json.dumps(job).encode() + b"\n")
        stdin.flush()
    try:
        return child.communicate(timeout=timeout_s)[0]
    finally:
        with contextlib.suppress(BrokenPipeError):
            stdin.close()


def _result(child: subprocess.Popen[bytes], out: bytes, errors: IO[bytes]) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(out)
    except ValueError:
        errors.seek(0)
        tail = errors.read().decode(errors="replace").strip()[-STDERR_TAIL:]
        last = tail.splitlines()[-1] if tail else "no message"
        return {"error": f"the process ended with exit code {child.wait()}: {last}"}
    return result
