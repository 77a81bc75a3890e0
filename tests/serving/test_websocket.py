"""The WebSocket, with a real client over a real socket."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from airust.engines.dummy import DummyEngine
from airust.settings import Settings, WebSocketSettings
from tests.serving.conftest import LiveServer, Serve, eventually, gauge


def socket(server: LiveServer, **options: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}/ws", proxy=None, open_timeout=60, **options)


def say(line: ClientConnection, kind: str, **values: Any) -> None:
    line.send(json.dumps({"type": kind, **values}))


def hear(line: ClientConnection) -> dict[str, Any]:
    return json.loads(line.recv(timeout=60))


def until(line: ClientConnection, kind: str) -> list[dict[str, Any]]:
    events = [hear(line)]
    while events[-1]["type"] != kind:
        events.append(hear(line))
    return events


def test_a_response(dummy: DummyEngine, serve: Serve):
    with socket(serve(dummy)) as line:
        say(line, "response.create", input="one two three", event_id="mine")
        events = until(line, "response.completed")
    assert events[0]["type"] == "response.created"
    assert events[0]["event_id"] == "mine"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert len({event["response_id"] for event in events}) == 1
    deltas = [e["delta"] for e in events if e["type"] == "response.output_text.delta"]
    assert "".join(deltas) == "one two three"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "one two three"


def test_several_conversations_at_once(serve: Serve):
    with DummyEngine(delay_s=0.01) as engine:
        server = serve(engine)
        made = [
            httpx2.post(f"{server.url}/v1/sessions", json={}, trust_env=False).json()["id"]
            for _ in range(3)
        ]
        with socket(server) as line:
            for session in made:
                say(line, "response.create", input=f"{session} " * 20, conversation=session)
            events: list[dict[str, Any]] = []
            while sum(event["type"] == "response.completed" for event in events) < 3:
                events.append(hear(line))
        order = [e["response_id"] for e in events if e["type"].endswith("delta")]
        changes = sum(a != b for a, b in pairwise(order))
        assert changes > 3, "they came one after the other"
        for event in events:
            if event["type"] == "response.completed":
                session = event["response"]["conversation"]["id"]
                assert session in event["response"]["output"][0]["content"][0]["text"]


def test_cancel_frees_the_slot_and_keeps_what_was_said(serve: Serve):
    with DummyEngine(["word " * 5000], delay_s=0.02) as engine:
        server = serve(engine)
        session = httpx2.post(f"{server.url}/v1/sessions", json={}, trust_env=False).json()["id"]
        with socket(server) as line:
            say(line, "response.create", input="x", conversation=session, max_output_tokens=5000)
            first = until(line, "response.output_text.delta")[-1]
            assert engine.stats().running == 1
            say(line, "response.cancel", response_id=first["response_id"])
            last = until(line, "response.incomplete")[-1]["response"]
            assert last["incomplete_details"] == {"reason": "cancelled"}
            assert gauge(server.url, "airust_num_requests_running") == 0
            kept = httpx2.get(
                f"{server.url}/v1/sessions/{session}/messages", trust_env=False
            ).json()["data"]
            assert kept[1]["content"] == last["output"][0]["content"][0]["text"]
            assert kept[1]["details"]["finish_reason"] == "cancelled"


def test_a_closed_socket_frees_every_slot_and_keeps_what_was_said(serve: Serve):
    with DummyEngine(["word " * 5000] * 3, delay_s=0.02) as engine:
        server = serve(engine)
        session = httpx2.post(f"{server.url}/v1/sessions", json={}, trust_env=False).json()["id"]
        with socket(server) as line:
            for _ in range(3):
                say(
                    line, "response.create", input="x", conversation=session, parent=None,
                    max_output_tokens=5000,
                )  # fmt: skip
            eventually(lambda: engine.stats().running == 3, "they never ran")
            until(line, "response.output_text.delta")
        eventually(lambda: gauge(server.url, "airust_num_requests_running") == 0, "not freed")

        def kept() -> bool:
            messages = httpx2.get(
                f"{server.url}/v1/sessions/{session}/messages", trust_env=False
            ).json()["data"]
            return any(m["role"] == "assistant" for m in messages)

        eventually(kept, "what was said is lost")
        eventually(lambda: gauge(server.url, "airust_websocket_connections") == 0, "still open")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("no json", "invalid_json"),
        ("[]", "invalid_json"),
        ("{}", "unknown_event"),
        ('{"type": "nonsense"}', "unknown_event"),
        ('{"type": "response.create"}', "invalid_value"),
        ('{"type": "response.create", "input": 3}', "invalid_value"),
        ('{"type": "response.create", "response": 3}', "invalid_value"),
        ('{"type": "response.create", "input": "x", "foo": 1}', "unsupported_parameter"),
        ('{"type": "response.create", "input": "x", "model": "none"}', "model_not_found"),
        ('{"type": "response.cancel", "response_id": "none"}', "response_not_found"),
    ],
)
def test_mistakes_are_told_and_the_socket_stays(
    dummy: DummyEngine, serve: Serve, text: str, code: str
):
    with socket(serve(dummy)) as line:
        line.send(text)
        event = hear(line)
        assert (event["type"], event["error"]["code"]) == ("error", code)
        say(line, "response.create", input="still there")
        until(line, "response.completed")


@pytest.mark.parametrize(
    ("origin", "allowed", "good"),
    [
        (None, (), True),
        ("http://127.0.0.1:{port}", (), True),
        ("http://evil.example", (), False),
        ("null", (), False),
        ("http://friend.example", ("http://friend.example",), True),
        ("http://anyone.example", ("*",), True),
    ],
)
def test_pages_of_other_origins_are_refused(
    dummy: DummyEngine, serve: Serve, settings: Settings, origin: str | None,
    allowed: tuple[str, ...], good: bool,
):  # fmt: skip
    changed = settings.model_copy(update={"websocket": WebSocketSettings(origins=allowed)})
    server = serve(dummy, changed)
    with socket(server, origin=origin and origin.format(port=server.port)) as line:
        if good:
            say(line, "response.create", input="x")
            until(line, "response.completed")
            return
        assert hear(line)["error"]["code"] == "origin_not_allowed"
        with pytest.raises(ConnectionClosed) as closed:
            line.recv(timeout=60)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


def test_a_frame_too_large_ends_the_connection(
    dummy: DummyEngine, serve: Serve, settings: Settings
):
    server = serve(
        dummy, settings.model_copy(update={"websocket": WebSocketSettings(max_frame_bytes=2000)})
    )
    with socket(server) as line:
        line.send("x" * 5000)
        with pytest.raises(ConnectionClosed) as closed:
            line.recv(timeout=60)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_binary_frames_end_the_connection(dummy: DummyEngine, serve: Serve):
    with socket(serve(dummy)) as line:
        line.send(b"\x00")
        with pytest.raises(ConnectionClosed):
            line.recv(timeout=60)
