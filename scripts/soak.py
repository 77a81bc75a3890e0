"""Ask a server ten thousand times in every way, and see whether it grows.

    python scripts/soak.py                                   the echo engine
    python scripts/soak.py --engine torch --model runs/tiny --requests 30000

(With bfloat16 oneDNN keeps a compiled product for every size of a step, and rare sizes come late:
10,000 requests are a warm-up then.)

Starts `airust serve`, asks through all endpoints in several tasks (whole and streamed answers,
streams and sockets that are given up, sessions with branches, mistakes), and looks at the process
now and then: memory, open files, threads. Behind a warm-up, the slope of each over the requests
is judged with its 95% interval (ordinary least squares): a leak is a slope that is surely above
what ``BOUNDS`` allow. Exit code 1 if there is one, or if an answer was not the expected one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
from websockets.asyncio.client import connect

from airust.bench.statistics import student_t

TASKS = 12
SAMPLES = 60
WARM_UP = 0.4  # of all requests: caches fill, threads start
# What 10,000 requests may add at most, in the figure's unit.
BOUNDS = {"rss_mb": 5.0, "open_files": 3.0, "threads": 3.0}
QUESTION = "What is the capital of France? And of Japan?"
ASKED = {"type": "response.create", "input": QUESTION}
GAUGES = ("airust_num_requests_running", "airust_num_requests_waiting",
          "airust_num_requests_pending", "airust_websocket_connections")  # fmt: skip


@dataclass(frozen=True)
class Trend:
    """Growth over 10,000 requests, with its interval."""

    growth: float
    low: float
    high: float


def trend(requests: Sequence[float], values: Sequence[float]) -> Trend:
    """The slope of a line through the samples.

    >>> trend([0, 5000, 10000, 15000], [1, 2, 3, 4])
    Trend(growth=2.0, low=2.0, high=2.0)
    """
    count = len(requests)
    x, y = sum(requests) / count, sum(values) / count
    spread = sum((r - x) ** 2 for r in requests)
    slope = sum((r - x) * (v - y) for r, v in zip(requests, values, strict=True)) / spread
    rest = sum((v - y - slope * (r - x)) ** 2 for r, v in zip(requests, values, strict=True))
    width = student_t(count - 2) * math.sqrt(rest / (count - 2) / spread)
    return Trend(slope * 1e4, (slope - width) * 1e4, (slope + width) * 1e4)


class Soak:
    """The ways to ask, and what came of them."""

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self.url, self.client = url, client
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.ways: list[Callable[[], Awaitable[int]]] = [
            self.whole, self.stream, self.stream, self.given_up, self.given_up, self.several,
            self.completion, self.infer, self.session, self.socket, self.socket_given_up,
            self.mistakes, self.look,
        ]  # fmt: skip

    @property
    def requests(self) -> int:
        """So many have been answered, or given up."""
        return sum(self.done.values())

    async def post(self, path: str, body: dict[str, Any], status: int = 200) -> Any:
        """One request with its expected status."""
        response = await self.client.post(path, json=body)
        if response.status_code != status:
            self.wrong.append(f"{path}: {response.status_code} {response.text[:200]}")
        return response.json()

    def chat(self, **more: Any) -> dict[str, Any]:
        """A body for /v1/chat/completions; no two are alike."""
        text = f"{random.randrange(10**6)}: {QUESTION}"
        return {"messages": [{"role": "user", "content": text}], "max_tokens": 16} | more

    async def whole(self) -> int:
        """An answer at once."""
        await self.post("/v1/chat/completions", self.chat())
        return 1

    async def several(self) -> int:
        """Three answers at once."""
        await self.post("/v1/chat/completions", self.chat(n=3))
        return 1

    async def stream(self) -> int:
        """A stream to its end."""
        body = self.chat(stream=True, stream_options={"include_usage": True})
        async with self.client.stream("POST", "/v1/chat/completions", json=body) as response:
            text = (await response.aread()).decode()
        if not text.endswith("data: [DONE]\n\n"):
            self.wrong.append(f"a stream ended with {text[-100:]!r}")
        return 1

    async def given_up(self) -> int:
        """A stream that the client leaves behind the first piece."""
        body = self.chat(stream=True, max_tokens=200)
        async with self.client.stream("POST", "/v1/chat/completions", json=body) as response:
            async for _ in response.aiter_raw():
                break
        return 1

    async def completion(self) -> int:
        """Raw text."""
        await self.post("/v1/completions", {"prompt": QUESTION, "max_tokens": 8})
        return 1

    async def infer(self) -> int:
        """The smallest form."""
        await self.post("/infer", {"prompt": QUESTION, "max_tokens": 8})
        return 1

    async def session(self) -> int:
        """A conversation with a branch, found, exported and deleted."""
        made = await self.post("/v1/sessions", {"title": "soak"}, 201)
        body = {"input": QUESTION, "conversation": made["id"], "max_output_tokens": 8}
        first = await self.post("/v1/responses", body)
        on = {"input": "More.", "previous_response_id": first["id"], "max_output_tokens": 8}
        await self.post("/v1/responses", on)
        await self.post("/v1/responses", body | {"parent": None})
        path = f"/v1/sessions/{made['id']}"
        for get in (f"{path}/messages", f"{path}/export", "/v1/sessions/search?q=capital"):
            response = await self.client.get(get)
            if response.status_code != 200:
                self.wrong.append(f"{get}: {response.status_code}")
        await self.client.delete(path)
        return 8

    async def socket(self) -> int:
        """Two responses over one WebSocket."""
        async with connect(f"{self.url.replace('http', 'ws')}/ws", proxy=None) as line:
            for _ in range(2):
                await line.send(json.dumps(ASKED | {"max_output_tokens": 8}))
            ended = 0
            while ended < 2:
                kind = json.loads(await line.recv())["type"]
                ended += kind in ("response.completed", "response.incomplete", "response.failed")
        return 2

    async def socket_given_up(self) -> int:
        """A socket that is closed in the middle of an answer."""
        async with connect(f"{self.url.replace('http', 'ws')}/ws", proxy=None) as line:
            await line.send(json.dumps(ASKED))
            await line.recv()
        return 1

    async def mistakes(self) -> int:
        """What is refused."""
        await self.post("/v1/chat/completions", self.chat(model="none"), 404)
        await self.post("/v1/chat/completions", {"messages": []}, 400)
        await self.post("/v1/chat/completions", self.chat(tools=[]), 400)
        return 3

    async def look(self) -> int:
        """What operators ask."""
        for path in ("/healthz", "/v1/models", "/metrics"):
            await self.client.get(path)
        return 3

    async def run(self, most: int) -> None:
        """One task: one way after the other, as they are drawn."""
        while self.requests < most and len(self.wrong) < 10:
            way = random.choice(self.ways)
            self.done[way.__name__] += await way()


def look_at(process: psutil.Process) -> dict[str, float]:
    """The process at the moment."""
    return {
        "rss_mb": process.memory_info().rss / 2**20,
        "open_files": process.num_fds(),
        "threads": process.num_threads(),
    }


async def soak(url: str, process: psutil.Process, most: int) -> tuple[Soak, list[dict[str, float]]]:
    """Ask, and look now and then."""
    samples: list[dict[str, float]] = []
    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=120) as client:
        work = Soak(url, client)
        tasks = [asyncio.ensure_future(work.run(most)) for _ in range(TASKS)]
        while not all(task.done() for task in tasks):
            if work.requests >= len(samples) * most / SAMPLES:
                samples.append({"requests": work.requests} | look_at(process))
                print("  ".join(f"{k} {v:,.1f}" for k, v in samples[-1].items()), flush=True)
            await asyncio.sleep(0.02)
        await asyncio.gather(*tasks)
        await asyncio.sleep(1)  # the last who gave up are noticed
        text = (await client.get("/metrics")).text
        for name in GAUGES:
            for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, flags=re.MULTILINE):
                if float(value) != 0:
                    work.wrong.append(f"{name} is {value} at the end")
        return work, samples


def judged(samples: Sequence[dict[str, float]]) -> list[str]:
    """Tell the trends; returns what leaks."""
    last = samples[-1]["requests"]
    kept = [sample for sample in samples if sample["requests"] >= WARM_UP * last]
    leaks = []
    for name, bound in BOUNDS.items():
        found = trend([s["requests"] for s in kept], [s[name] for s in kept])
        verdict = "grows" if found.low > bound else "flat"
        print(f"{name}: {found.growth:+.2f} ({found.low:+.2f} to {found.high:+.2f}) "
              f"in 10,000 requests, at most {bound:g}: {verdict}")  # fmt: skip
        leaks += [name] * (verdict == "grows")
    return leaks


def main() -> None:
    """Start a server, soak it, judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--engine", default="dummy")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--requests", type=int, default=10_000)
    options = parser.parse_args()
    # Whoever stops us so must not leave a server behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    command = [sys.executable, "-m", "airust", "serve", "--engine", options.engine, "--port", "0"]
    if options.model is not None:
        command += ["--model", str(options.model.resolve())]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("w") as lines:
            server = subprocess.Popen(command, cwd=folder, stderr=lines)
        try:
            url = _wait_for_url(log, server)
            work, samples = asyncio.run(soak(url, psutil.Process(server.pid), options.requests))
        finally:
            server.terminate()
            server.wait(60)
        traces = log.read_text().count("Traceback")
    if traces:
        work.wrong.append(f"{traces} tracebacks in the server's log")
    print(f"{work.requests} requests: " + ", ".join(f"{k} {v}" for k, v in work.done.items()))
    leaks = judged(samples)
    for sentence in work.wrong:
        print(f"wrong: {sentence}")
    raise SystemExit(bool(leaks or work.wrong))


def _wait_for_url(log: Path, server: subprocess.Popen[bytes]) -> str:
    while server.poll() is None:
        if found := re.search(r"Serving .* at (http://\S+)", log.read_text()):
            return found[1]
        time.sleep(0.1)
    raise SystemExit(log.read_text())


if __name__ == "__main__":
    main()
