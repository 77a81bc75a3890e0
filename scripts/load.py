"""Ask a server for N streams at a time and tell what came: one line of JSON.

    python scripts/load.py http://127.0.0.1:3000 --streams 64 --seconds 10 --tokens 128

Each stream asks again as soon as it has its answer. Tokens are those of the servers' own usage, so
it works with any server of OpenAI's chat completions. Bare sockets and hardly any parsing: the
client shares the machine with what it measures. ``--requests`` ends after so many answers instead,
to see whether a server's memory grows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

USAGE = re.compile(rb'"completion_tokens": ?(\d+)')
TEXT = re.compile(rb'"content": ?"[^"]')
LONGEST_TAIL = 4096  # bytes of an event that may come in two pieces


@dataclass
class Totals:
    """What all streams together have seen."""

    until: float
    most: int
    answers: int = 0
    tokens: int = 0
    failures: int = 0
    open: int = 0
    ttft_s: list[float] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """No more questions."""
        return time.perf_counter() > self.until or 0 < self.most <= self.answers


class Stream(asyncio.Protocol):
    """One connection that asks again and again."""

    def __init__(self, request: bytes, totals: Totals) -> None:
        self._request, self._totals = request, totals
        self._seen = b""
        self._asked = 0.0
        self._first = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._totals.open += 1
        self._ask()

    def _ask(self) -> None:
        assert self._transport is not None
        self._seen, self._first, self._asked = b"", False, time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """A piece of the answer."""
        totals = self._totals
        seen = self._seen + data
        if not self._first and TEXT.search(seen):
            self._first = True
            totals.ttft_s.append(time.perf_counter() - self._asked)
        if b"data: [DONE]" not in seen:
            self._seen = seen[-LONGEST_TAIL:]
            return
        totals.answers += 1
        found = USAGE.findall(seen)
        totals.tokens += int(found[-1]) if found else 0
        totals.failures += not found
        assert self._transport is not None
        if totals.over:
            self._transport.close()
        else:
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        """The end."""
        self._totals.open -= 1


async def load(url: str, body: dict[str, object], streams: int, totals: Totals) -> None:
    """Run all streams to their end."""
    parts, data = urlsplit(url), json.dumps(body).encode()
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json"
    request = f"{head}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data
    loop = asyncio.get_running_loop()
    for _ in range(streams):
        await loop.create_connection(lambda: Stream(request, totals), host, port)
    while totals.open:
        await asyncio.sleep(0.01)


def main() -> None:
    """Read the command line, run, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--requests", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--model")
    parser.add_argument("--prompt", default="What is the capital of France?")
    options = parser.parse_args()
    body: dict[str, object] = {
        "messages": [{"role": "user", "content": options.prompt}],
        "max_tokens": options.tokens,
        "temperature": 1.0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if options.model:
        body["model"] = options.model
    start = time.perf_counter()
    limit_s = 1e9 if options.requests else options.seconds
    totals = Totals(start + limit_s, options.requests)
    asyncio.run(load(options.url, body, options.streams, totals))
    seconds = time.perf_counter() - start
    ttft = sorted(totals.ttft_s) or [0.0]
    found = {
        "streams": options.streams,
        "answers": totals.answers,
        "failures": totals.failures,
        "tokens_per_s": round(totals.tokens / seconds, 1),
        "ttft_p50_ms": round(statistics.median(ttft) * 1000, 1),
        "ttft_p99_ms": round(ttft[int(len(ttft) * 0.99)] * 1000, 1),
        "seconds": round(seconds, 2),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
