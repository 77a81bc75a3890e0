"""Ask a server, or an engine in this process, in N streams at a time: JSON lines.

    python scripts/load.py http://127.0.0.1:3000 --streams 1,64 --seconds 10 --tokens 128
    python scripts/load.py torch:runs/tiny --streams 1,64 --seconds 10 --tokens 128

Several numbers of streams come one after the other, a line each. Each stream asks again as soon as
it has its answer, and what is asked before the time is up is waited for. The client shares the
machine with what it measures: bare sockets, hardly any parsing. It works with any server of
OpenAI's chat completions; tokens are those of the server's own usage. Where it tells none, an
answer that ended by its length had ``--tokens``, and else as many as chunks with text (``counted``
says which).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import queue
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from airust.engines.base import Engine
from airust.engines.registry import load_engine
from airust.types import DoneEvent, ErrorEvent, Event, Message, Request, SamplingParams

USAGE = re.compile(rb'"completion_tokens": ?(\d+)')
CUT_OFF = re.compile(rb'"finish_reason": ?"length"')
TEXT = re.compile(rb'"content": ?"[^"]')
END = b"0\r"  # the last chunk of HTTP's chunked encoding, as a line
QUESTIONS = [f"Question {number}: what is the capital of France?" for number in range(1000)]
GIVE_UP_S = 120.0  # for the last answers


@dataclass
class Totals:
    """What all streams together have seen."""

    until: float
    most_tokens: int  # of an answer
    answers: int = 0
    tokens: int = 0
    counted: str = "usage"
    ttft_s: list[float] = field(default_factory=list)
    failure: str = ""
    asked: int = 0

    def question(self) -> int:
        """The number of the next one: no two are alike, so that no cache has the answer."""
        self.asked += 1
        return self.asked % len(QUESTIONS)

    @property
    def over(self) -> bool:
        """No more questions."""
        return bool(self.failure) or time.perf_counter() > self.until


class Stream(asyncio.Protocol):
    """One connection that asks again and again."""

    def __init__(self, requests: Sequence[bytes], totals: Totals) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests, self._totals = requests, totals
        self._rest = b""
        self._asked, self._chunks, self._tokens, self._cut_off = 0.0, 0, 0, False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask(transport)

    def _ask(self, transport: asyncio.Transport) -> None:
        self._chunks = self._tokens = 0
        self._cut_off = False
        self._asked = time.perf_counter()
        transport.write(self._requests[self._totals.question()])

    def data_received(self, data: bytes) -> None:
        """A piece of the answer."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                self._event(line)
            elif line == END:
                self._answered()
            elif line.startswith(b"HTTP/1.1 ") and not line.startswith(b"HTTP/1.1 200"):
                self._fail(line.decode().strip())

    def _event(self, line: bytes) -> None:
        if b'"error"' in line[:20]:
            self._fail(line.decode(errors="replace")[:200])
        if TEXT.search(line):
            if not self._chunks:
                self._totals.ttft_s.append(time.perf_counter() - self._asked)
            self._chunks += 1
        if found := USAGE.search(line):
            self._tokens = int(found[1])
        self._cut_off = self._cut_off or bool(CUT_OFF.search(line))

    def _answered(self) -> None:
        totals, transport = self._totals, self._transport
        assert transport is not None
        totals.answers += 1
        if not self._tokens:
            totals.counted = "length" if self._cut_off else "chunks"
        totals.tokens += self._tokens or (totals.most_tokens if self._cut_off else self._chunks)
        if totals.over:
            transport.close()
        else:
            self._ask(transport)

    def _fail(self, why: str) -> None:
        self._totals.failure = why
        assert self._transport is not None
        self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """The end, which only we should have brought about."""
        if not self._totals.over:
            self._totals.failure = f"the server closed the connection ({error})"
        if not self.closed.done():
            self.closed.set_result(None)


async def ask_server(url: str, body: dict[str, object], streams: int, totals: Totals) -> None:
    """Run all streams to their end."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    requests = [_http(host, body, question) for question in QUESTIONS]
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Stream(requests, totals), host, port)
        for _ in range(streams)
    ]
    left_s = max(totals.until - time.perf_counter(), 0) + GIVE_UP_S
    _, late = await asyncio.wait([stream.closed for _, stream in opened], timeout=left_s)
    if late:
        totals.failure = totals.failure or f"{len(late)} streams never ended"


def _http(host: str, body: dict[str, object], question: str) -> bytes:
    data = json.dumps(body | {"messages": [{"role": "user", "content": question}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json"
    return f"{head}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


def ask_engine(engine: Engine, params: SamplingParams, streams: int, totals: Totals) -> None:
    """The same without a server: each last event asks again."""
    ended: queue.SimpleQueue[DoneEvent | ErrorEvent] = queue.SimpleQueue()

    def ask() -> None:
        question = Message("user", QUESTIONS[totals.question()])
        engine.submit(Request((question,), params=params), _listener(ended, totals))

    for _ in range(streams):
        ask()
    running = streams
    while running:
        event = ended.get(timeout=GIVE_UP_S)
        if isinstance(event, ErrorEvent):
            totals.failure = str(event.error)
        else:
            totals.answers += 1
            totals.tokens += event.usage.completion_tokens
        if totals.over:
            running -= 1
        else:
            ask()


def _listener(
    ended: queue.SimpleQueue[DoneEvent | ErrorEvent], totals: Totals
) -> Callable[[Event], None]:
    asked, first = time.perf_counter(), True

    def listen(event: Event) -> None:
        nonlocal first
        if isinstance(event, DoneEvent | ErrorEvent):
            ended.put(event)
        elif first and event.text:
            first = False
            totals.ttft_s.append(time.perf_counter() - asked)

    return listen


def quantile(values: list[float], share: float) -> float:
    """The smallest value that so large a share does not exceed.

    >>> quantile([3.0, 1.0, 2.0, 4.0], 0.5), quantile([3.0, 1.0], 0.99)
    (2.0, 3.0)
    """
    ordered = sorted(values)
    return ordered[max(-int(-share * len(ordered) // 1), 1) - 1]


def main() -> None:
    """Read the command line, run, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("target", help="http://HOST:PORT, or ENGINE:MODEL in this process")
    parser.add_argument("--streams", default="64", help="one number, or several with commas")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--warm", type=int, default=0, help="streams that ask once before")
    parser.add_argument("--model", help="the model's name at the server")
    options = parser.parse_args()
    if options.target.startswith("http://"):
        body: dict[str, object] = {
            "max_tokens": options.tokens,
            "temperature": 0.0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if options.model:
            body["model"] = options.model

        def ask(streams: int, totals: Totals) -> None:
            asyncio.run(ask_server(options.target, body, streams, totals))

        _run(ask, options)
        return
    name, _, model = options.target.partition(":")
    params = SamplingParams(max_tokens=options.tokens, temperature=0.0)
    with load_engine(name, model) as engine:
        _run(lambda streams, totals: ask_engine(engine, params, streams, totals), options)


def _run(ask: Callable[[int, Totals], None], options: argparse.Namespace) -> None:
    if options.warm:
        ask(options.warm, Totals(time.perf_counter(), options.tokens))
    for streams in map(int, options.streams.split(",")):
        start = time.perf_counter()
        totals = Totals(start + options.seconds, options.tokens)
        ask(streams, totals)
        print(json.dumps(_told(streams, totals, time.perf_counter() - start)), flush=True)


def _told(streams: int, totals: Totals, seconds: float) -> dict[str, object]:
    found: dict[str, object] = {
        "streams": streams,
        "answers": totals.answers,
        "tokens": totals.tokens,
        "counted": totals.counted,
        "seconds": round(seconds, 3),
        "tokens_per_s": round(totals.tokens / seconds, 2),
    }
    if totals.ttft_s:
        found["ttft_p50_ms"] = round(quantile(totals.ttft_s, 0.5) * 1000, 3)
        found["ttft_p99_ms"] = round(quantile(totals.ttft_s, 0.99) * 1000, 3)
    if totals.failure:
        found["failure"] = totals.failure
    return found


if __name__ == "__main__":
    main()
