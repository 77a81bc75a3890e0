"""The service for a lesson: in a thread of the kernel, or in a process that can be killed."""

from __future__ import annotations

import atexit
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from airust.engines.base import Engine
from airust.serving import create_app
from airust.serving.server import DrainingServer, config_of, listen
from airust.settings import Settings
from airust.types import EngineError

ADDRESS = re.compile(r"Serving .* at (http://\S+)")
TIMEOUT_S = 120.0  # for answers on a machine that is busy with other things
QUIET_RATE, RUSH_RATE = 8.0, 40.0  # visitors a second


class _Reachable:
    """Something with a URL."""

    url: str

    def client(self, key: str | None = None) -> httpx.Client:
        """Asks the service, with a key if there is one; proxies of the environment are not used."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT_S, trust_env=False)


class ServiceThread(_Reachable):
    """An application on a free port, in a thread. It ends with the process, or with ``close``.

    Args:
        settings: of the service; its port should be 0.
    """

    def __init__(self, engines: Mapping[str, Engine] | Engine, settings: Settings) -> None:
        app, ready = create_app(engines, settings), threading.Event()
        self._socket = listen(settings)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.server = DrainingServer(config_of(app, settings), app.state.service, ready.set)
        self.thread = threading.Thread(
            target=self.server.run, args=([self._socket],), daemon=True, name="airust-lesson"
        )
        self.thread.start()
        ready.wait(TIMEOUT_S)

    def close(self) -> None:
        """End it. Safe to repeat."""
        self.server.should_exit = True
        self.thread.join(TIMEOUT_S)
        self._socket.close()


class ServiceProcess(_Reachable):
    """``airust serve`` with these options on a free port, in a process that ends with this one.

    Args:
        folder: where it runs, and keeps its database unless told otherwise; a temporary one if
            absent.

    Raises:
        EngineError: it did not start; the message holds its last words.
    """

    def __init__(self, *options: str, folder: Path | None = None) -> None:
        self._own = tempfile.TemporaryDirectory(prefix="airust-") if folder is None else None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "airust", "serve", *options, "--port", "0"],
            cwd=folder if self._own is None else self._own.name,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        atexit.register(self.kill)
        assert self._process.stderr is not None
        self._said = self._process.stderr
        self.url, last = "", "no message"
        while not self.url and (line := self._said.readline()):
            last = line.strip() or last
            if found := ADDRESS.search(line):
                self.url = found[1]
        # Nobody reads what it says from here on, but a full pipe would stop it.
        self._drain = threading.Thread(target=self._said.read, daemon=True)
        self._drain.start()
        if not self.url:
            self.kill()
            raise EngineError(f"The service did not start: {last}")

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does. Safe to repeat."""
        atexit.unregister(self.kill)
        self._process.kill()
        self._process.wait()
        self._drain.join()
        self._said.close()
        if self._own is not None:
            self._own.cleanup()


def visitors(url: str, seconds: float, seed: int = 0) -> None:
    """Users of an echo who come by a Poisson process, many more of them in the middle.

    One in ten asks for a model that does not exist. Returns when the last one has been answered.
    """
    rng, start = random.Random(seed), time.monotonic()
    crowd: list[threading.Thread] = []
    with httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False) as client:

        def visit(words: int, model: str) -> None:
            talk = {"model": model, "messages": [{"role": "user", "content": "word " * words}]}
            client.post("/v1/chat/completions", json=talk)

        while (passed := time.monotonic() - start) < seconds:
            model = "nobody" if rng.random() < 0.1 else "echo"
            crowd.append(threading.Thread(target=visit, args=(rng.randint(5, 20), model)))
            crowd[-1].start()
            rushing = 0.4 < passed / seconds < 0.7
            time.sleep(rng.expovariate(RUSH_RATE if rushing else QUIET_RATE))
        for visitor in crowd:
            visitor.join()
