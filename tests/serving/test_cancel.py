"""Whoever hangs up frees the engine's slot: real connections, seen by the engine's own gauge."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import httpx2
import pytest

from airust.engines.base import Engine
from airust.engines.dummy import DummyEngine
from airust.settings import ServerSettings, Settings
from tests.conftest import RECITED
from tests.serving.conftest import LiveServer, Serve, eventually, gauge

RUNNING = "airust_num_requests_running"
ENDLESS = {
    "messages": [{"role": "user", "content": "Recite."}], "max_tokens": 200, "ignore_eos": True,
}  # fmt: skip


@pytest.fixture
def slow() -> Iterator[DummyEngine]:
    """Answers for minutes unless it is cancelled."""
    with DummyEngine(["word " * 4000] * 64, delay_s=0.02) as engine:
        yield engine


def raw_request(server: LiveServer, path: str, body: object) -> socket.socket:
    """A request on a bare socket, to hang up as rudely as one likes."""
    data = json.dumps(body).encode()
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    return connection


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Go on."}]}),
        ("/v1/completions", {"prompt": "Go on."}),
        ("/infer", {"prompt": "Go on."}),
    ],
    ids=["chat", "completions", "infer"],
)
def test_a_closed_connection_frees_the_slot(
    slow: DummyEngine, serve: Serve, path: str, body: dict[str, object], stream: bool
):
    if path == "/infer" and stream:
        body, stream = body | {"max_tokens": 10_000}, False  # it has no stream
    server = serve(slow)
    asked = body | ({"stream": True, "max_tokens": 10_000} if stream else {"max_tokens": 10_000})
    with raw_request(server, path, asked) as connection:
        eventually(lambda: gauge(server.url, RUNNING) == 1, "it never ran")
        if stream:
            assert b"200 OK" in connection.recv(4096)
    eventually(lambda: gauge(server.url, RUNNING) == 0, "the slot was not freed")
    assert gauge(server.url, "airust_num_requests_pending") == 0


def test_many_answers_of_one_request_are_all_freed(slow: DummyEngine, serve: Serve):
    server = serve(slow)
    body = {"messages": [{"role": "user", "content": "x"}], "n": 5, "max_tokens": 10_000}
    with raw_request(server, "/v1/chat/completions", body):
        eventually(lambda: gauge(server.url, RUNNING) == 5, "it never ran")
    eventually(lambda: gauge(server.url, RUNNING) == 0, "the slots were not freed")


def test_the_torch_engine_stops_within_a_step(reciter: Engine, serve: Serve):
    """The counter of generated tokens stands still once the gauge is down."""
    server = serve(reciter)
    asked = ENDLESS | {"stream": True, "n": 4}
    with raw_request(server, "/v1/chat/completions", asked) as connection:
        seen = b""
        while RECITED[0].encode() not in seen:
            seen += connection.recv(4096)

    def idle() -> bool:
        stats = reciter.stats()
        return stats.running == stats.waiting == 0

    eventually(idle, "the slots were not freed")
    before = reciter.stats().generated_tokens
    httpx2.get(f"{server.url}/healthz", trust_env=False)
    assert reciter.stats().generated_tokens == before


def test_too_long_an_answer_is_cancelled(slow: DummyEngine, serve: Serve, settings: Settings):
    server = serve(
        slow, settings.model_copy(update={"server": ServerSettings(request_timeout_s=0.2)})
    )
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 10_000}
    url = f"{server.url}/v1/chat/completions"
    whole = httpx2.post(url, json=body, trust_env=False, timeout=60)
    assert (whole.status_code, whole.json()["error"]["code"]) == (504, "timeout")
    assert whole.headers["x-should-retry"] == "false"
    stream = httpx2.post(url, json=body | {"stream": True}, trust_env=False, timeout=60)
    assert '"code":"timeout"' in stream.text
    eventually(lambda: gauge(server.url, RUNNING) == 0, "the slot was not freed")


def test_the_queue_has_an_end(slow: DummyEngine, serve: Serve, settings: Settings):
    server = serve(slow, settings.model_copy(update={"server": ServerSettings(max_pending=2)}))
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 10_000}
    url = f"{server.url}/v1/chat/completions"
    with raw_request(server, "/v1/chat/completions", body | {"n": 2}):
        eventually(lambda: gauge(server.url, RUNNING) == 2, "it never ran")
        refused = httpx2.post(url, json=body, trust_env=False)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_overloaded")
        assert refused.headers["retry-after"] == "1"
    eventually(lambda: gauge(server.url, RUNNING) == 0, "the slots were not freed")
    answered = httpx2.post(url, json=body | {"max_tokens": 1}, trust_env=False)
    assert answered.status_code == 200


def test_keep_alive_comments_while_nothing_is_said(serve: Serve, settings: Settings):
    with DummyEngine(["late"], delay_s=0.3) as engine:
        server = serve(
            engine, settings.model_copy(update={"server": ServerSettings(keep_alive_s=0.05)})
        )
        body = {"messages": [{"role": "user", "content": "x"}], "stream": True}
        text = httpx2.post(f"{server.url}/v1/chat/completions", json=body, trust_env=False).text
    assert text.count(": keep-alive\n\n") >= 2
    assert '"content":"late"' in text
    assert text.endswith("data: [DONE]\n\n")


def test_a_closed_engine_says_so(serve: Serve, slow: DummyEngine):
    server = serve(slow)
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 10_000}
    closing = threading.Timer(0.2, slow.close)
    closing.start()
    response = httpx2.post(f"{server.url}/infer", json={"prompt": "x"}, trust_env=False)
    closing.join()
    assert (response.status_code, response.json()["error"]["code"]) == (500, "engine_error")
    after = httpx2.post(f"{server.url}/v1/chat/completions", json=body, trust_env=False)
    assert after.status_code == 500
