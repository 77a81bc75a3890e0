"""Token ids and times of answers, going on from a beginning, costs, and opinions on answers."""

from __future__ import annotations

import math
from typing import Any

import httpx2
import pytest

from airust.engines.base import Engine
from airust.engines.dummy import DummyEngine
from airust.serving import create_app
from airust.settings import Settings
from tests.serving.conftest import Serve, client_of
from tests.serving.test_sessions import ask, talk, tree
from tests.serving.test_websocket import say, socket, until


def test_deltas_tell_ids_seconds_and_alternatives(torch_engine: Engine, serve: Serve):
    server = serve(torch_engine)
    session = httpx2.post(f"{server.url}/v1/sessions", json={}, trust_env=False).json()["id"]
    with socket(server) as line:
        say(line, "response.create", input="Hi", conversation=session, max_output_tokens=12,
            return_token_ids=True, top_logprobs=3)  # fmt: skip
        events = until(line, "response.incomplete")
    deltas = [e for e in events if e["type"] == "response.output_text.delta"]
    ids = [ident for e in deltas for ident in e["token_ids"]]
    entries = [entry for e in deltas for entry in e["logprobs"]]
    seconds = [e["seconds"] for e in deltas]
    assert [entry["token_id"] for entry in entries] == ids
    assert len(ids) == 12
    assert seconds == sorted(seconds)
    for entry in entries:
        assert len(entry["top_logprobs"]) == 3
        assert entry["top_logprobs"][0]["token_id"] == entry["token_id"]  # greedy
    end = events[-1]["response"]
    kept = httpx2.get(f"{server.url}/v1/sessions/{session}/messages", trust_env=False).json()
    details = kept["data"][-1]["details"]
    assert details["token_ids"] == ids
    assert len(details["token_times_s"]) == len(ids)
    assert details["timings"] == end["timings"]
    assert 0 <= end["timings"]["ttft_s"] <= end["timings"]["total_s"]


def test_an_answer_goes_on_from_its_beginning(torch_engine: Engine, settings: Settings):
    async def steps(client: Any) -> None:
        session = (await client.post("/v1/sessions", json={})).json()["id"]
        wanted = {"conversation": session, "max_output_tokens": 12, "return_token_ids": True}
        first = await ask(client, input="Hi", **wanted)
        question = first["context"]["question_id"]
        details = (await tree(client, session))[1]["details"]
        ids = details["token_ids"]
        assert len(ids) == 12
        # Its own beginning: the same answer again, as another branch.
        wanted |= {"parent": question, "max_output_tokens": 7}
        again = await ask(client, prefix={"token_ids": ids[:5]}, **wanted)
        messages = await tree(client, session)
        assert messages[2]["parent_id"] == question
        assert messages[2]["details"]["token_ids"] == ids
        assert messages[2]["details"]["prefix_tokens"] == 5
        assert messages[2]["content"] == messages[1]["content"]
        assert again["usage"]["output_tokens"] == 7
        # Another token: the answer goes another way.
        forked = await ask(client, prefix={"token_ids": [*ids[:4], ids[4] + 1]}, **wanted)
        assert forked["output"][0]["content"][0]["text"] != messages[1]["content"]
        written = await ask(client, prefix={"text": "The capital"}, **wanted)
        assert written["output"][0]["content"][0]["text"].startswith("The capital")

    talk(torch_engine, settings, steps)


def test_a_character_in_two_parts_is_kept_whole(reciter: Engine, settings: Settings):
    async def steps(client: Any) -> None:
        session = (await client.post("/v1/sessions", json={})).json()["id"]
        wanted = {"conversation": session, "return_token_ids": True, "max_output_tokens": 12}
        first = await ask(client, input="Hi", **wanted)
        question = first["context"]["question_id"]
        ids = (await tree(client, session))[1]["details"]["token_ids"]
        cuts = [i for i in range(1, 8) if reciter.decode(ids[:i]).endswith("\ufffd")]
        assert cuts, "the crab is one token"
        wanted |= {"parent": question, "max_output_tokens": 12 - cuts[0]}
        await ask(client, prefix={"token_ids": ids[: cuts[0]]}, **wanted)
        messages = await tree(client, session)
        assert messages[2]["details"]["token_ids"] == ids
        assert messages[2]["content"] == reciter.decode(ids)

    talk(reciter, settings, steps)


@pytest.mark.parametrize(
    ("prefix", "status"),
    [({"text": "a"}, 400), ({"token_ids": [1]}, 400), ({}, 400), ({"text": ""}, 400)],
)
def test_engines_without_token_ids_refuse(
    dummy: DummyEngine, settings: Settings, prefix: Any, status: int
):
    async def steps(client: Any) -> None:
        answer = await client.post("/v1/responses", json={"input": "x", "prefix": prefix})
        assert answer.status_code == status

    talk(dummy, settings, steps)


def test_an_answer_is_inspected(torch_engine: Engine, settings: Settings):
    async def steps(client: Any) -> None:
        said = await ask(client, input="Hi", max_output_tokens=8, return_token_ids=True,
                         top_logprobs=4)  # fmt: skip
        given = said["output"][0]["content"][0]["logprobs"]
        body = {"messages": [{"role": "user", "content": "Hi"}], "top_logprobs": 4}
        ids = [entry["token_id"] for entry in given]
        found = (await client.post("/v1/inspect", json=body | {"token_ids": ids})).json()
        assert [token["token_id"] for token in found["tokens"]] == ids
        for told, entry in zip(found["tokens"], given, strict=True):
            assert math.isclose(told["logprob"], entry["logprob"], abs_tol=1e-3)
            assert [t["token_id"] for t in told["top_logprobs"]] == [
                t["token_id"] for t in entry["top_logprobs"]
            ]
        written = (await client.post("/v1/inspect", json=body | {"text": "The capital"})).json()
        assert "".join(token["token"] for token in written["tokens"]) == "The capital"
        both = await client.post("/v1/inspect", json=body | {"text": "a", "token_ids": [1]})
        assert both.status_code == 400

    talk(torch_engine, settings, steps)


def test_engines_without_probabilities_refuse(dummy: DummyEngine, settings: Settings):
    async def steps(client: Any) -> None:
        body = {"messages": [{"role": "user", "content": "Hi"}], "text": "x"}
        answer = await client.post("/v1/inspect", json=body)
        assert answer.status_code == 400
        assert "probabilities" in answer.json()["error"]["message"]

    talk(dummy, settings, steps)


def test_costs_of_a_branch(torch_engine: Engine, settings: Settings):
    async def steps(client: Any) -> None:
        made = {"system": "Be brief."}
        session = (await client.post("/v1/sessions", json=made)).json()["id"]
        path = f"/v1/sessions/{session}"
        parent = None
        for place in range(30):
            role = "assistant" if place % 2 else "user"
            body = {"parent_id": parent, "role": role, "content": f"message {place}"}
            parent = (await client.post(f"{path}/messages", json=body)).json()["id"]
        use = (await client.get(f"{path}/context?max_output_tokens=16")).json()
        assert use["max_model_len"] == torch_engine.context
        assert use["system_tokens"] == len(torch_engine.encode("Be brief."))
        for cost, place in zip(use["messages"], range(30), strict=True):
            assert cost["tokens"] == len(torch_engine.encode(f"message {place}"))
        shown = [cost["shown"] for cost in use["messages"]]
        assert shown == sorted(shown)
        assert 0 < sum(shown) < 30
        assert use["prompt_tokens"] <= torch_engine.context - 16
        short = (await client.get(f"{path}/context?leaf={use['messages'][0]['id']}")).json()
        assert len(short["messages"]) == 1

    talk(torch_engine, settings, steps)


def test_costs_where_the_engine_does_not_tell(dummy: DummyEngine, settings: Settings):
    async def steps(client: Any) -> None:
        session = (await client.post("/v1/sessions", json={})).json()["id"]
        await ask(client, input="Hi", conversation=session)
        use = (await client.get(f"/v1/sessions/{session}/context")).json()
        assert [cost["tokens"] for cost in use["messages"]] == [None, None]
        assert use["prompt_tokens"] is None

    talk(dummy, settings, steps)


def test_removed_messages_come_back(dummy: DummyEngine, settings: Settings):
    async def steps(client: Any) -> None:
        session = (await client.post("/v1/sessions", json={})).json()["id"]
        path = f"/v1/sessions/{session}"
        first = await ask(client, input="one", conversation=session)
        await ask(client, input="two", conversation=session)
        await ask(client, input="three", conversation=session, parent=None)
        before = await tree(client, session)
        head = (await client.get(path)).json()["head"]
        gone = (await client.delete(f"{path}/messages/{before[0]['id']}")).json()["data"]
        assert [m["content"] for m in gone] == ["one", "one", "two", "two"]
        assert [m["content"] for m in await tree(client, session)] == ["three", "three"]
        assert (await client.get(path)).json()["head"] == head
        body = {"data": gone, "head": gone[-1]["id"]}
        assert (await client.post(f"{path}/restore", json=body)).status_code == 204
        after = await tree(client, session)
        assert sorted(after, key=lambda m: m["id"]) == sorted(before, key=lambda m: m["id"])
        assert (await client.get(path)).json()["head"] == gone[-1]["id"]
        again = await client.post(f"{path}/restore", json=body)
        assert again.json()["error"]["code"] == "message_exists"
        # Where the head goes: to the end beside it, or to the message above.
        await client.delete(f"{path}/messages/{before[0]['id']}")
        assert (await client.get(path)).json()["head"] == head
        await client.delete(f"{path}/messages/{head}")
        assert (await client.get(path)).json()["head"] == before[4]["id"]
        missing = await client.delete(f"{path}/messages/{first['output'][0]['id']}")
        assert missing.status_code == 404

    talk(dummy, settings, steps)


def test_the_page_and_its_files(dummy: DummyEngine, settings: Settings):
    import asyncio

    async def steps() -> None:
        async with client_of(create_app(dummy, settings)) as client:
            page = await client.get("/")
            assert page.headers["content-type"].startswith("text/html")
            assert "'unsafe-inline'" not in page.headers["content-security-policy"]
            script = await client.get("/ui/main.js")
            assert script.headers["content-type"].startswith("text/javascript")
            tag = {"if-none-match": script.headers["etag"]}
            assert (await client.get("/ui/main.js", headers=tag)).status_code == 304
            for path in ("/ui/../app.py", "/ui/__init__.py", "/ui/%2e%2e/settings.py", "/ui/x"):
                assert (await client.get(path)).status_code == 404

    asyncio.run(steps())
