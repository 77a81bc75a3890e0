"""Sessions: the tree, the search, the context, in and out, and whose they are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from airust.engines.base import Engine
from airust.engines.dummy import DummyEngine
from airust.serving import create_app
from airust.serving.api.schemas import MessageTree, ResponseBody
from airust.serving.context import choose, window_of
from airust.settings import SessionSettings, Settings
from airust.types import Message
from tests.serving.conftest import client_of

Steps = Callable[[httpx2.AsyncClient], Awaitable[None]]


def talk(engine: Engine, settings: Settings, steps: Steps) -> None:
    async def run() -> None:
        async with client_of(create_app({"m": engine}, settings)) as client:
            await steps(client)

    asyncio.run(run())


async def ask(client: httpx2.AsyncClient, **body: Any) -> dict[str, Any]:
    response = await client.post("/v1/responses", json=body)
    assert response.status_code == 200, response.text
    ResponseBody.model_validate(response.json(), strict=True)
    return response.json()


async def tree(client: httpx2.AsyncClient, session: str) -> list[dict[str, Any]]:
    response = await client.get(f"/v1/sessions/{session}/messages")
    MessageTree.model_validate(response.json(), strict=True)
    return response.json()["data"]


def shape(messages: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    """Each message with its parent's text."""
    texts = {m["id"]: m["content"] for m in messages}
    return [(m["content"], texts.get(m["parent_id"])) for m in messages]


def test_a_message_by_hand_keeps_what_is_told_about_it(dummy: DummyEngine, settings: Settings):
    async def steps(client: httpx2.AsyncClient) -> None:
        session = (await client.post("/v1/sessions", json={})).json()["id"]
        path, details = f"/v1/sessions/{session}/messages", {"model": "tiny", "token_ids": [1, 2]}
        body = {"role": "assistant", "content": "Hi", "details": details}
        assert (await client.post(path, json=body)).json()["details"] == details
        assert (await tree(client, session))[0]["details"] == details
        plain = await client.post(path, json={"role": "user", "content": "Hi"})
        assert plain.json()["details"] == {}
        refused = await client.post(path, json=body | {"details": "tiny"})
        assert refused.status_code == 400

    talk(dummy, settings, steps)


def test_create_rename_list_delete(dummy: DummyEngine, settings: Settings):
    async def steps(client: httpx2.AsyncClient) -> None:
        first = (await client.post("/v1/sessions", json={"title": "One"})).json()
        second = (await client.post("/v1/sessions", json={"system": "Be brief."})).json()
        listed = (await client.get("/v1/sessions")).json()["data"]
        assert [s["id"] for s in listed] == [second["id"], first["id"]]
        changed = await client.patch(f"/v1/sessions/{first['id']}", json={"title": "Two"})
        assert (changed.json()["title"], changed.json()["system"]) == ("Two", None)
        assert (await client.get(f"/v1/sessions/{second['id']}")).json()["system"] == "Be brief."
        gone = await client.delete(f"/v1/sessions/{second['id']}")
        assert (gone.status_code, gone.content) == (204, b"")
        assert (await client.get(f"/v1/sessions/{second['id']}")).status_code == 404
        assert len((await client.get("/v1/sessions")).json()["data"]) == 1

    talk(dummy, settings, steps)


def test_a_tree_grows_by_edits_and_regenerations(settings: Settings):
    script = ["first answer", "edited answer", "other first answer", "follow-up"]

    async def steps(client: httpx2.AsyncClient) -> None:
        session = (await client.post("/v1/sessions", json={})).json()["id"]
        first = await ask(client, input="question", conversation=session)
        await ask(client, input="edited question", conversation=session, parent=None)
        question = first["context"]["question_id"]
        again = await ask(client, conversation=session, parent=question)  # regenerate
        await ask(client, input="and then?", previous_response_id=again["id"])
        assert shape(await tree(client, session)) == [
            ("question", None),
            ("first answer", "question"),
            ("edited question", None),
            ("edited answer", "edited question"),
            ("other first answer", "question"),
            ("and then?", "other first answer"),
            ("follow-up", "and then?"),
        ]
        found = (await client.get(f"/v1/sessions/{session}")).json()
        assert found["title"] == "question"
        assert found["head"] == (await tree(client, session))[-1]["id"]
        shown = await client.get(f"/v1/sessions/{session}/export")
        assert shown.headers["content-type"].startswith("text/markdown")
        assert "other first answer" in shown.text
        assert "edited" not in shown.text

    with DummyEngine(script) as engine:
        talk(engine, settings, steps)


def test_streamed_answers_are_kept_too(dummy: DummyEngine, settings: Settings):
    async def steps(client: httpx2.AsyncClient) -> None:
        session = (await client.post("/v1/sessions", json={})).json()["id"]
        body = {"input": "one two", "conversation": session, "stream": True}
        text = (await client.post("/v1/responses", json=body)).text
        assert text.count("event: response.output_text.delta") >= 1
        assert [m["content"] for m in await tree(client, session)] == ["one two", "one two"]
        assert (await tree(client, session))[1]["details"]["finish_reason"] == "stop"

    talk(dummy, settings, steps)


def test_history_survives_a_restart(dummy: DummyEngine, settings: Settings):
    found: list[str] = []

    async def before(client: httpx2.AsyncClient) -> None:
        session = (await client.post("/v1/sessions", json={})).json()["id"]
        await ask(client, input="remember me", conversation=session)
        found.append(session)

    async def after(client: httpx2.AsyncClient) -> None:
        assert [m["content"] for m in await tree(client, found[0])] == ["remember me"] * 2

    talk(dummy, settings, before)
    talk(dummy, settings, after)


@pytest.mark.parametrize(
    ("query", "hits"),
    [("borrow", 1), ("BORROW checker", 1), ("rrow", 1), ("低处流", 1), ("低处", 1), ("nothing", 0),
     ('"', 1), ("%", 0), ("checker rust", 0), ("\0borrow\0check", 1)],
)  # fmt: skip
def test_search(dummy: DummyEngine, settings: Settings, query: str, hits: int):
    async def steps(client: httpx2.AsyncClient) -> None:
        session = (await client.post("/v1/sessions", json={})).json()["id"]
        for text in ("The borrow checker proves it.", "水为什么往低处流？", 'It says "hello".'):
            body = {"role": "user", "content": text}
            await client.post(f"/v1/sessions/{session}/messages", json=body)
        found = await client.get("/v1/sessions/search", params={"q": query})
        assert len(found.json()["data"]) == hits, found.text
        await client.delete(f"/v1/sessions/{session}")
        after = await client.get("/v1/sessions/search", params={"q": query})
        assert after.json()["data"] == []

    talk(dummy, settings, steps)


def test_export_and_import_keep_every_branch(settings: Settings):
    async def steps(client: httpx2.AsyncClient) -> None:
        session = (await client.post("/v1/sessions", json={"system": "S"})).json()["id"]
        await ask(client, input="a", conversation=session)
        await ask(client, input="b", conversation=session, parent=None)
        before = await tree(client, session)
        document = (await client.get("/v1/sessions/export")).json()
        await client.delete(f"/v1/sessions/{session}")
        made = (await client.post("/v1/sessions/import", json=document)).json()["data"]
        assert [s["id"] for s in made] == [session]
        assert shape(await tree(client, session)) == shape(before)
        assert made[0]["system"] == "S"
        again = (await client.post("/v1/sessions/import", json=document)).json()["data"]
        assert again[0]["id"] != session  # its name is taken
        one = (await client.get(f"/v1/sessions/{session}/export?format=json")).json()
        assert one["sessions"][0]["id"] == session

    with DummyEngine(["1", "2"]) as engine:
        talk(engine, settings, steps)


OLD = [
    {"abc": {"title": "Rust", "messages": [{"role": "user", "content": "Hi"},
                                           {"role": "assistant", "content": "Hello"}]}},
    [{"id": "abc", "name": "Rust", "history": [{"role": "user", "content": "Hi"},
                                               {"role": "assistant", "content": "Hello"}]}],
    {"sessions": {"abc": {"title": "Rust", "created_at": "2025-01-02T03:04:05+00:00", "messages": [
        {"role": "system", "content": "S"}, {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"}]}}},
]  # fmt: skip


@pytest.mark.parametrize("document", OLD, ids=["table", "list", "system"])
def test_sessions_json_of_old(dummy: DummyEngine, settings: Settings, document: Any):
    async def steps(client: httpx2.AsyncClient) -> None:
        made = (await client.post("/v1/sessions/import", json=document)).json()["data"]
        assert [(s["id"], s["title"]) for s in made] == [("abc", "Rust")]
        assert shape(await tree(client, "abc")) == [("Hi", None), ("Hello", "Hi")]
        answered = await ask(client, input="more", conversation="abc")
        assert answered["context"]["messages"] == (4 if made[0]["system"] else 3)

    talk(dummy, settings, steps)


@pytest.mark.parametrize(
    "document",
    [{"a": 3}, [3], {"a": {"messages": 3}}, {"a": [{"role": "user"}]},
     {"good": {"messages": []}, "bad": [{"role": "nobody", "content": "x"}]}],
)  # fmt: skip
def test_a_damaged_import_changes_nothing(dummy: DummyEngine, settings: Settings, document: Any):
    async def steps(client: httpx2.AsyncClient) -> None:
        response = await client.post("/v1/sessions/import", json=document)
        assert response.status_code == 400
        assert response.json()["error"]["param"].startswith("sessions.")
        assert (await client.get("/v1/sessions")).json()["data"] == []

    talk(dummy, settings, steps)


def test_only_the_last_messages_are_shown(dummy: DummyEngine, settings: Settings):
    async def steps(client: httpx2.AsyncClient) -> None:
        session = (await client.post("/v1/sessions", json={"system": "S"})).json()["id"]
        for number in range(15):
            answer = await ask(client, input=f"message {number}", conversation=session)
        assert answer["context"]["left_out"] == 29 - 19  # an answer without question goes, too
        assert answer["context"]["messages"] == 1 + 19

    talk(dummy, settings, steps)


def test_the_context_is_capped_by_tokens(torch_engine: Engine, settings: Settings):
    """Twenty short messages fit; a few long ones do not, and the newest stay."""

    async def steps(client: httpx2.AsyncClient) -> None:
        session = (await client.post("/v1/sessions", json={})).json()["id"]
        text = "Rain falls when drops in a cloud grow too heavy. " * 3
        for _ in range(4):
            answer = await ask(client, input=text, conversation=session, max_output_tokens=4)
        assert answer["context"]["left_out"] > 0
        assert answer["usage"]["input_tokens"] < 256

    talk(torch_engine, settings, steps)


def test_the_window_keeps_system_and_last_message():
    branch = [Message("user", "x" * 50), Message("assistant", "y" * 50), Message("user", "z" * 99)]
    window = choose("S", branch, last_messages=20, most_tokens=10)
    assert [m.content[0] for m in window.messages] == ["S", "z"]
    assert window.left_out == 2


def test_the_cap_can_be_set(torch_engine: Engine):
    branch = [Message("user", "Rain falls. " * 4)] * 6
    wide = window_of(None, branch, torch_engine, SessionSettings(), 16)
    narrow = window_of(None, branch, torch_engine, SessionSettings(max_context_tokens=60), 16)
    assert narrow.left_out > wide.left_out


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "invalid_value"),
        ({"input": "x", "conversation": "none"}, 404, "session_not_found"),
        ({"input": "x", "previous_response_id": "resp_none"}, 404, "message_not_found"),
        ({"input": "x", "conversation": "a", "previous_response_id": "b"}, 400, "invalid_value"),
        ({"input": "x", "parent": "a"}, 400, "invalid_value"),
        ({"input": "x", "tools": []}, 400, "unsupported_parameter"),
        ({"input": "x", "top_logprobs": 2}, 400, "unsupported_parameter"),
    ],
)
def test_refused_responses(
    dummy: DummyEngine, settings: Settings, body: dict[str, Any], status: int, code: str
):
    async def steps(client: httpx2.AsyncClient) -> None:
        response = await client.post("/v1/responses", json=body)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)

    talk(dummy, settings, steps)


def test_a_refused_question_is_not_kept(dummy: DummyEngine, settings: Settings):
    async def steps(client: httpx2.AsyncClient) -> None:
        session = (await client.post("/v1/sessions", json={})).json()["id"]
        body = {"input": "x", "conversation": session, "top_logprobs": 1}  # not in this engine
        assert (await client.post("/v1/responses", json=body)).status_code == 400
        assert await tree(client, session) == []

    talk(dummy, settings, steps)


def test_an_answer_needs_a_question(dummy: DummyEngine, settings: Settings):
    async def steps(client: httpx2.AsyncClient) -> None:
        session = (await client.post("/v1/sessions", json={})).json()["id"]
        await ask(client, input="x", conversation=session)
        response = await client.post("/v1/responses", json={"conversation": session})
        assert response.status_code == 400

    talk(dummy, settings, steps)


def test_portable_documents_are_json(dummy: DummyEngine, settings: Settings):
    async def steps(client: httpx2.AsyncClient) -> None:
        response = await client.get("/v1/sessions/export")
        assert json.loads(response.content) == {
            "format": "airust-sessions", "version": 1, "sessions": [],
        }  # fmt: skip

    talk(dummy, replace_database(settings), steps)


def replace_database(settings: Settings) -> Settings:
    url = settings.sessions.database_url.replace("airust.db", "deeper/folder/airust.db")
    return settings.model_copy(update={"sessions": SessionSettings(database_url=url)})
