"""HTTP and WebSockets through messages, into a real service."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airust.engines.base import Engine
from airust.engines.dummy import DummyEngine
from airust.serving import create_app
from airust.settings import SessionSettings, Settings
from airust.widgets.loop import BackgroundLoop
from airust.widgets.tunnel import Tunnel
from tests.widgets.waiting import eventually


class FrontEnd:
    """The other end of a tunnel: sends messages, gathers what comes."""

    def __init__(self, app: Any) -> None:
        self.loop = BackgroundLoop("test")
        self.batches: list[tuple[dict[str, Any], list[bytes]]] = []
        self.tunnel = Tunnel(app, lambda batch, buffers: self.batches.append((batch, buffers)))

    def send(self, kind: str, ident: str = "v:1", **values: Any) -> None:
        self.loop.call(self.tunnel.receive, {"kind": kind, "id": ident, **values})

    def items(self, ident: str = "v:1", kind: str = "") -> list[dict[str, Any]]:
        """What has come for an exchange, with the bytes in place of buffer numbers."""
        found = []
        for batch, buffers in list(self.batches):
            assert batch["kind"] == "batch"
            for item in batch["items"]:
                if item["id"] == ident and kind in ("", item["kind"]):
                    has = "buffer" in item
                    found.append(item | ({"bytes": buffers[item["buffer"]]} if has else {}))
        return found

    def until(self, check: Callable[[dict[str, Any]], bool], ident: str = "v:1") -> dict[str, Any]:
        """Wait for an item."""
        eventually(lambda: any(map(check, self.items(ident))), "it never came")
        return next(filter(check, self.items(ident)))

    def get(self, path: str, ident: str, method: str = "GET", body: Any = None) -> tuple[int, Any]:
        text = None if body is None else json.dumps(body)
        headers = [["Content-Type", "application/json"]]
        self.send("http", ident, method=method, path=path, headers=headers, body=text)
        self.until(lambda item: bool(item.get("end")), ident)
        items = self.items(ident)
        whole = b"".join(item.get("bytes", b"") for item in items)
        return items[0]["status"], json.loads(whole) if whole else None

    def events(self, ident: str = "v:1") -> list[dict[str, Any]]:
        return [json.loads(item["text"]) for item in self.items(ident, "text")]

    def until_event(self, kind: str, ident: str = "v:1") -> dict[str, Any]:
        eventually(lambda: any(e["type"] == kind for e in self.events(ident)), f"no {kind}")
        return next(event for event in self.events(ident) if event["type"] == kind)

    def ask(self, text: str, ident: str = "v:1", **values: Any) -> None:
        event = {"type": "response.create", "input": text, **values}
        self.send("text", ident, text=json.dumps(event))

    def close(self) -> None:
        self.loop.run(self.tunnel.close())
        self.loop.close()


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    return Settings(sessions=SessionSettings(database_url=f"sqlite:///{tmp_path / 'a.db'}"))


@pytest.fixture
def connect(settings: Settings) -> Iterator[Callable[[Engine], FrontEnd]]:
    made: list[FrontEnd] = []

    def start(engine: Engine) -> FrontEnd:
        made.append(FrontEnd(create_app(engine, settings)))
        return made[-1]

    yield start
    for front_end in made:
        front_end.close()


def test_http(connect: Callable[[Engine], FrontEnd]):
    with DummyEngine() as engine:
        front_end = connect(engine)
        status, models = front_end.get("/v1/models", "v:1")
        assert status == 200
        assert [model["id"] for model in models["data"]] == ["dummy"]
        status, made = front_end.get("/v1/sessions", "v:2", "POST", {"title": "Über 水"})
        assert (status, made["title"]) == (201, "Über 水")
        status, found = front_end.get("/v1/sessions/search?q=%C3%9Cber&limit=3", "v:3")
        assert (status, found["object"]) == (200, "list")
        assert front_end.get(f"/v1/sessions/{made['id']}", "v:4", "DELETE") == (204, None)
        status, refused = front_end.get("/v1/nothing", "v:5")
        assert (status, set(refused)) == (404, {"error"})
        eventually(lambda: front_end.tunnel.open_exchanges == 0, "requests stay open")


def test_a_streamed_http_answer_comes_in_pieces_and_an_abort_frees_the_engine(
    connect: Callable[[Engine], FrontEnd],
):
    with DummyEngine(["word " * 5000], delay_s=0.01) as engine:
        front_end = connect(engine)
        body = {"messages": [{"role": "user", "content": "x"}], "stream": True, "max_tokens": 5000}
        front_end.send(
            "http", method="POST", path="/v1/chat/completions", body=json.dumps(body),
            headers=[["content-type", "application/json"]],
        )  # fmt: skip
        front_end.until(lambda item: b"word" in item.get("bytes", b""))
        assert not any(item.get("end") for item in front_end.items())
        assert engine.stats().running == 1
        front_end.send("abort")
        eventually(lambda: engine.stats().running == 0, "the engine goes on")
        eventually(lambda: front_end.tunnel.open_exchanges == 0, "the request stays open")


def test_a_socket_streams_and_cancels(connect: Callable[[Engine], FrontEnd]):
    with DummyEngine(["one two three", "word " * 5000], delay_s=0.01) as engine:
        front_end = connect(engine)
        front_end.send("open", path="/ws")
        front_end.until(lambda item: item["kind"] == "opened")
        front_end.ask("x")
        front_end.until_event("response.completed")
        deltas = [e["delta"] for e in front_end.events() if e["type"].endswith("text.delta")]
        assert "".join(deltas) == "one two three"
        front_end.ask("y", event_id="second", max_output_tokens=5000)
        eventually(lambda: engine.stats().running == 1, "it never ran")
        eventually(lambda: any(e.get("event_id") for e in front_end.events()), "never created")
        begun = next(e for e in front_end.events() if e.get("event_id") == "second")
        cancel = {"type": "response.cancel", "response_id": begun["response_id"]}
        front_end.send("text", text=json.dumps(cancel))
        last = front_end.until_event("response.incomplete")["response"]
        assert last["incomplete_details"] == {"reason": "cancelled"}
        assert engine.stats().running == 0
        front_end.send("close")
        front_end.until(lambda item: item["kind"] == "closed")


def test_a_burst_of_tokens_is_a_few_messages(connect: Callable[[Engine], FrontEnd]):
    with DummyEngine(["word" + " word" * 1999]) as engine:
        front_end = connect(engine)
        front_end.send("open", path="/ws")
        front_end.ask("x", max_output_tokens=3000)
        done = front_end.until_event("response.completed")
        assert done["response"]["usage"]["output_tokens"] == 2000
        deltas = [e["delta"] for e in front_end.events() if e["type"].endswith("text.delta")]
        assert "".join(deltas) == "word" + " word" * 1999
        texts = len(front_end.items(kind="text"))
        assert len(front_end.batches) < texts or texts < 100


def test_two_views_do_not_hear_each_other_and_one_can_leave(
    connect: Callable[[Engine], FrontEnd],
):
    with DummyEngine(["word " * 5000, "two"], delay_s=0.01) as engine:
        front_end = connect(engine)
        front_end.send("open", "a:1", path="/ws")
        front_end.send("open", "b:1", path="/ws")
        front_end.ask("x", "a:1", max_output_tokens=5000)
        front_end.until_event("response.output_text.delta", "a:1")
        front_end.ask("y", "b:1")
        front_end.until_event("response.completed", "b:1")
        assert engine.stats().running == 1
        front_end.loop.call(front_end.tunnel.receive, {"kind": "leave", "view": "a"})
        eventually(lambda: engine.stats().running == 0, "the answer of the view that left goes on")
        front_end.ask("z", "b:1", event_id="still here")
        front_end.until_event("response.completed", "b:1")
        assert front_end.tunnel.open_exchanges == 1


def test_closing_frees_the_engine(settings: Settings):
    with DummyEngine(["word " * 5000] * 2, delay_s=0.01) as engine:
        front_end = FrontEnd(create_app(engine, settings))
        front_end.send("open", path="/ws")
        front_end.ask("x", max_output_tokens=5000)
        eventually(lambda: engine.stats().running == 1, "it never ran")
        front_end.close()
        eventually(lambda: engine.stats().running == 0, "the engine goes on")
        assert front_end.loop.closed
        front_end.send("open", "v:9", path="/ws")  # too late: nothing happens


def test_what_makes_no_sense_is_dropped(connect: Callable[[Engine], FrontEnd]):
    with DummyEngine() as engine:
        front_end = connect(engine)
        for message in ({}, {"kind": "text", "id": "gone", "text": "x"}, {"kind": "nonsense"}):
            front_end.loop.call(front_end.tunnel.receive, message)
        assert front_end.get("/healthz", "v:1")[0] == 200


def test_an_app_that_fails_is_told(caplog: pytest.LogCaptureFixture):
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("no such thing")

    front_end = FrontEnd(broken)
    front_end.send("http", path="/")
    failed = front_end.until(lambda item: item["kind"] == "failed")
    assert failed["message"] == "ValueError: no such thing"
    front_end.send("open", "v:2", path="/ws")
    closed = front_end.until(lambda item: item["kind"] == "closed", "v:2")
    assert (closed["code"], closed["reason"]) == (1011, "ValueError: no such thing")
    front_end.close()


def test_a_front_end_that_is_gone_harms_nobody(caplog: pytest.LogCaptureFixture):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    def send(batch: Any, buffers: Any) -> None:
        raise RuntimeError("the comm is closed")

    loop = BackgroundLoop("test")
    tunnel = Tunnel(app, send)
    loop.call(tunnel.receive, {"kind": "http", "id": "v:1", "path": "/"})
    eventually(lambda: "could not be sent" in caplog.text, "nothing was logged")
    loop.run(tunnel.close())
    loop.close()
