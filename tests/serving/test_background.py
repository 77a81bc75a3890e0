"""Responses that outlive their socket, and what other tabs are told."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from websockets.sync.client import ClientConnection

from airust.engines.dummy import DummyEngine
from tests.serving.conftest import LiveServer, Serve, eventually
from tests.serving.test_websocket import hear, say, socket, until

WORDS = "one two three four five six seven eight nine ten " * 40


def call(server: LiveServer, method: str, path: str, **options: Any) -> Any:
    answer = httpx2.request(method, server.url + path, trust_env=False, **options)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")


def begin(line: ClientConnection, server: LiveServer) -> tuple[str, list[dict[str, Any]]]:
    session = call(server, "POST", "/v1/sessions", json={})["id"]
    say(line, "response.create", input="x", conversation=session, background=True,
        max_output_tokens=5000)  # fmt: skip
    return session, until(line, "response.output_text.delta")


def test_an_answer_goes_on_and_is_resumed_where_it_was_left(serve: Serve):
    with DummyEngine([WORDS], delay_s=0.005) as engine:
        server = serve(engine)
        with socket(server) as line:
            session, before = begin(line, server)
        with socket(server) as line:
            say(line, "sessions.watch", event_id="w")
            watching = until(line, "sessions.watching")[-1]
            (running,) = watching["running"]
            assert watching["event_id"] == "w"
            assert running["session_id"] == session
            assert running["response_id"] == before[0]["response_id"]
            say(line, "response.attach", response_id=running["response_id"],
                starting_after=before[-1]["sequence_number"])  # fmt: skip
            after = [e for e in until(line, "response.completed") if "sequence_number" in e]
        numbers = [event["sequence_number"] for event in before + after]
        assert numbers == list(range(len(numbers)))
        assert text_of(before + after) == WORDS.rstrip() + " " or text_of(before + after) == WORDS
        tree = call(server, "GET", f"/v1/sessions/{session}/messages")["data"]
        assert tree[-1]["content"] == text_of(before + after)
        assert tree[-1]["id"] == running["message_id"]


def test_whoever_attaches_late_gets_all_of_it(serve: Serve):
    with DummyEngine(["a b c"]) as engine:
        server = serve(engine)
        with socket(server) as line:
            session = call(server, "POST", "/v1/sessions", json={})["id"]
            say(line, "response.create", input="x", conversation=session, background=True)
            first = until(line, "response.completed")
        with socket(server) as line:
            say(line, "response.attach", response_id=first[0]["response_id"])
            assert hear(line)["type"] == "response.attached"
            assert until(line, "response.completed") == first


def test_any_socket_may_cancel(serve: Serve):
    with DummyEngine([WORDS * 20], delay_s=0.01) as engine:
        server = serve(engine)
        with socket(server) as line, socket(server) as other:
            session, events = begin(line, server)
            say(other, "response.cancel", response_id=events[0]["response_id"])
            last = until(line, "response.incomplete")[-1]["response"]
            assert last["incomplete_details"] == {"reason": "cancelled"}
        eventually(lambda: engine.stats().running == 0, "the engine goes on")
        tree = call(server, "GET", f"/v1/sessions/{session}/messages")["data"]
        assert tree[-1]["details"]["finish_reason"] == "cancelled"


def test_other_tabs_are_told(dummy: DummyEngine, serve: Serve):
    server = serve(dummy)
    with socket(server) as line, socket(server) as other:
        say(other, "sessions.watch")
        until(other, "sessions.watching")
        session = call(server, "POST", "/v1/sessions", json={})["id"]
        path = f"/v1/sessions/{session}"
        call(server, "PATCH", path, json={"title": "T"})
        say(line, "response.create", input="x", conversation=session, background=True)
        end = until(line, "response.completed")[-1]["response"]
        call(server, "DELETE", f"{path}/messages/{end['output'][0]['id']}")
        call(server, "DELETE", path)
        told = [hear(other) for _ in range(7)]
    assert {event["type"] for event in told} == {"session.changed"}
    assert {event["session_id"] for event in told} == {session}
    assert [event["change"] for event in told] == [
        "created", "updated", "messages", "answering", "answered", "messages", "deleted",
    ]  # fmt: skip
    assert told[3]["response"]["response_id"] == end["id"]
    assert told[4]["message_id"] == end["output"][0]["id"]


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"response_id": "resp_0"}, "response_not_found"),
        ({}, "response_not_found"),
    ],
)
def test_nothing_to_attach_to(dummy: DummyEngine, serve: Serve, event: Any, code: str):
    with socket(serve(dummy)) as line:
        say(line, "response.attach", event_id="mine", **event)
        told = hear(line)
    assert (told["error"]["code"], told["event_id"]) == (code, "mine")


def test_a_refused_question_is_told_once(dummy: DummyEngine, serve: Serve):
    with socket(serve(dummy)) as line:
        say(line, "response.create", input="x", model="none", background=True, event_id="mine")
        assert hear(line)["error"]["code"] == "model_not_found"
        say(line, "response.create", input="still there", background=True)
        assert text_of(until(line, "response.completed")) == "still there"


def test_requests_have_no_background(dummy: DummyEngine, serve: Serve):
    answer = httpx2.post(
        f"{serve(dummy).url}/v1/responses", json={"input": "x", "background": True},
        trust_env=False,
    )  # fmt: skip
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "background"
