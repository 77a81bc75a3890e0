"""Run a program in a process group of its own: deadline, capped output, nothing left behind.

A compiler starts linkers and a program may start threads and children. Ending only the first
process would leave the rest running, so the whole group is killed: at the deadline, when the output
is larger than its cap, and when the person presses Ctrl+C or the notebook's stop button.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

Stream = Literal["stdout", "stderr"]
OnText = Callable[[Stream, str], None]
Chunk = tuple[Stream, bytes]

MAX_OUTPUT_BYTES = 1_000_000  # of stdout and stderr together
_READ_BYTES = 65_536
_POLL_S = 0.1  # how late a deadline may be noticed


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended and what it printed."""

    exit_code: int  # negative: the number of the signal that ended it (POSIX)
    stdout: str
    stderr: str
    seconds: float  # wall-clock, with the start of the process
    timed_out: bool = False
    truncated: bool = False  # it printed more than the cap and was ended


def run_process(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    timeout_s: float,
    max_output_bytes: int = MAX_OUTPUT_BYTES,
    on_text: OnText | None = None,
) -> Finished:
    """Run a command to its end, or end it.

    ``env`` is added to the environment. ``on_text`` is given the output while it comes, in the
    calling thread; characters are never split.

    >>> run_process([sys.executable, "-c", "print(input())"], stdin="水", timeout_s=60).stdout
    '水\\n'
    """
    started = time.monotonic()
    child = subprocess.Popen(
        list(command),
        cwd=cwd,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **(env or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **_own_group(),  # type: ignore[call-overload]
    )
    inbox: queue.SimpleQueue[Chunk] = queue.SimpleQueue()
    threads = [
        threading.Thread(target=_write, args=(child.stdin, stdin.encode()), daemon=True),
        threading.Thread(target=_read, args=(child.stdout, "stdout", inbox), daemon=True),
        threading.Thread(target=_read, args=(child.stderr, "stderr", inbox), daemon=True),
    ]
    for thread in threads:
        thread.start()
    output = _Output(max_output_bytes, on_text)
    timed_out = False
    try:
        timed_out = output.collect(inbox, child, started + timeout_s)
        if not timed_out and not output.truncated:
            # Closed pipes do not end a program.
            child.wait(max(0.0, started + timeout_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        timed_out = True
    finally:
        # Also after a normal end: grandchildren may still run.
        _kill_group(child)
        child.wait()
        for thread in threads:
            thread.join()
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
    return Finished(
        child.returncode,
        output.text("stdout"),
        output.text("stderr"),
        time.monotonic() - started,
        timed_out,
        output.truncated,
    )


class _Output:
    """What came so far, decoded piece by piece."""

    def __init__(self, limit: int, on_text: OnText | None) -> None:
        new = codecs.getincrementaldecoder("utf-8")
        self._decoders = {name: new(errors="replace") for name in ("stdout", "stderr")}
        self._pieces: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._left = limit
        self._on_text = on_text
        self.truncated = False

    def collect(
        self, inbox: queue.SimpleQueue[Chunk], child: subprocess.Popen[bytes], deadline: float
    ) -> bool:
        """Take chunks until both pipes are closed; True if the deadline came first."""
        open_pipes = 2
        while open_pipes and not self.truncated:
            left = deadline - time.monotonic()
            if left <= 0:
                return True
            try:
                stream, data = inbox.get(timeout=min(left, _POLL_S))
            except queue.Empty:
                if child.poll() is not None:
                    _kill_group(child)  # only grandchildren still hold the pipes open
                continue
            self._take(stream, data)
            open_pipes -= not data
        return False

    def _take(self, stream: Stream, data: bytes) -> None:
        self.truncated = len(data) > self._left
        kept = data[: self._left]
        self._left -= len(kept)
        text = self._decoders[stream].decode(kept, final=not data).replace("\r\n", "\n")
        if text:
            self._pieces[stream].append(text)
            if self._on_text is not None:
                self._on_text(stream, text)

    def text(self, stream: Stream) -> str:
        return "".join(self._pieces[stream])


def _write(pipe: IO[bytes], data: bytes) -> None:
    # A program need not read its input.
    with contextlib.suppress(BrokenPipeError, OSError):
        pipe.write(data)
        pipe.close()


def _read(pipe: IO[bytes], stream: Stream, inbox: queue.SimpleQueue[Chunk]) -> None:
    try:
        while data := os.read(pipe.fileno(), _READ_BYTES):
            inbox.put((stream, data))
    finally:
        inbox.put((stream, b""))


def _own_group() -> dict[str, object]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        if child.poll() is None:
            subprocess.run(
                ["taskkill", "/F", "/T", "/PID", str(child.pid)], capture_output=True, check=False
            )
        return
    # The group's number is the child's; it stays valid as long as a member lives.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
