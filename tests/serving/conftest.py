"""Apps in process, servers on a free port, and servers as real processes."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from airust.engines.base import Engine
from airust.engines.dummy import DummyEngine
from airust.engines.registry import load_engine
from airust.serving import create_app
from airust.serving.server import DrainingServer, config_of, listen
from airust.settings import ServerSettings, SessionSettings, Settings

TIMEOUT_S = 60
# A proxy that nobody answers at: whoever listens to it fails.
PROXIES = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "all_proxy")}


@pytest.fixture(autouse=True)
def proxies_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PROXIES.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def torch_engine(model_dir: Path) -> Iterator[Engine]:
    with load_engine("torch", model_dir, threads=1) as engine:
        yield engine


@pytest.fixture(scope="session")
def reciter(reciter_dir: Path) -> Iterator[Engine]:
    """Says 水abc again and again, for as long as it is let."""
    with load_engine("torch", reciter_dir, threads=1) as engine:
        yield engine


@pytest.fixture
def dummy() -> Iterator[DummyEngine]:
    with DummyEngine() as engine:
        yield engine


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    database = f"sqlite:///{tmp_path / 'airust.db'}"
    return Settings(sessions=SessionSettings(database_url=database))


def client_of(app: FastAPI, key: str | None = None) -> httpx2.AsyncClient:
    """A client that calls the app without a socket."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    transport = httpx2.ASGITransport(app, client=("127.0.0.1", 1234))
    return httpx2.AsyncClient(transport=transport, base_url="http://testserver", headers=headers)


class LiveServer:
    """An app behind a socket, in a thread of this process."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self._sock = listen(settings.model_copy(update={"server": ServerSettings(port=0)}))
        self.port = self._sock.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        started = threading.Event()
        self.server = DrainingServer(config_of(app, settings), app.state.service, started.set)
        self._thread = threading.Thread(target=self.server.run, args=([self._sock],), daemon=True)
        self._thread.start()
        assert started.wait(TIMEOUT_S)

    def close(self) -> None:
        self.server.should_exit = True
        self._thread.join(TIMEOUT_S)
        self._sock.close()
        assert not self._thread.is_alive()


Serve = Callable[..., LiveServer]


@pytest.fixture
def serve(settings: Settings) -> Iterator[Serve]:
    """Start live servers; they end with the test."""
    with contextlib.ExitStack() as stack:

        def start(engine: Engine, changed: Settings | None = None) -> LiveServer:
            chosen = changed or settings
            server = LiveServer(create_app(engine, chosen), chosen)
            stack.callback(server.close)
            return server

        yield start


class ServerProcess:
    """``airust serve`` as users start it."""

    def __init__(self, *args: str, cwd: Path, environment: dict[str, str] | None = None) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("AIRUST_")}
        inherited |= PROXIES | {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
        inherited |= environment or {}
        root = str(Path(__file__).resolve().parent.parent.parent)
        inherited["PYTHONPATH"] = root
        self.process = subprocess.Popen(
            [sys.executable, "-m", "airust", "serve", *args],
            cwd=cwd, env=inherited, stderr=subprocess.PIPE, text=True,
            preexec_fn=None if sys.platform == "win32" else hear_interrupts,
        )  # fmt: skip
        self.lines: queue.Queue[str] = queue.Queue()
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self._wait_for_url()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            self.lines.put(line)
        self.lines.put("")

    def _wait_for_url(self) -> str:
        end = time.monotonic() + TIMEOUT_S
        while line := self.lines.get(timeout=max(end - time.monotonic(), 0.1)):
            if found := re.search(r"Serving .* at (http://\S+)", line):
                return found[1]
        self.wait()
        raise AssertionError("".join(self.log))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.wait()

    def wait(self) -> int:
        try:
            code = self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # it says where every thread is
            self.process.wait(TIMEOUT_S)
            self._reader.join(TIMEOUT_S)
            raise AssertionError("It did not stop:\n" + "".join(self.log)) from None
        self._reader.join(TIMEOUT_S)
        if self.process.stderr is not None:
            self.process.stderr.close()
        return code


def hear_interrupts() -> None:
    """A background shell starts its children with Ctrl+C ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def start_process(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    started: list[ServerProcess] = []

    def start(*args: str, environment: dict[str, str] | None = None) -> ServerProcess:
        server = ServerProcess(*args, cwd=tmp_path, environment=environment)
        started.append(server)
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
            server.wait()


def eventually(check: Callable[[], bool], what: str) -> None:
    """Wait until something is true; how long it takes is not judged."""
    end = time.monotonic() + TIMEOUT_S
    while not check():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def gauge(url: str, name: str) -> float:
    """A value of /metrics."""
    text = httpx2.get(f"{url}/metrics", trust_env=False).text
    found = re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, flags=re.MULTILINE)
    assert found, text
    return float(found[1])
