"""/v1/chat/completions in process: what goes in, what comes out."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest

from airust.engines.base import Engine
from airust.engines.dummy import DummyEngine
from airust.serving import create_app
from airust.serving.api.schemas import ChatCompletion
from airust.settings import Settings
from airust.types import Message, Request, SamplingParams
from tests.conftest import RECITED
from tests.serving.conftest import client_of

URL = "/v1/chat/completions"


def ask(engine: Engine, settings: Settings, url: str = URL, **body: Any) -> httpx2.Response:
    async def post() -> httpx2.Response:
        async with client_of(create_app({"m": engine}, settings)) as client:
            messages = [{"role": "user", "content": "What is the capital of France?"}]
            return await client.post(url, json={"messages": messages} | body)

    return asyncio.run(post())


def chunks(response: httpx2.Response) -> list[dict[str, Any]]:
    assert response.headers["content-type"].startswith("text/event-stream")
    pieces = response.text.split("\n\n")
    assert pieces[-2:] == ["data: [DONE]", ""]
    return [json.loads(piece.removeprefix("data: ")) for piece in pieces[:-2]]


def streamed_text(response: httpx2.Response, index: int = 0) -> str:
    choices = [c for chunk in chunks(response) for c in chunk["choices"] if c["index"] == index]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def test_the_answer_is_the_engines(torch_engine: Engine, settings: Settings):
    question = (Message("user", "What is the capital of France?"),)
    expected = torch_engine.generate(Request(question, params=SamplingParams(max_tokens=12)))
    response = ask(torch_engine, settings, max_tokens=12)
    body = ChatCompletion.model_validate(response.json(), strict=True)
    assert response.status_code == 200
    assert body.choices[0].message.content == expected.text
    assert body.usage.completion_tokens == expected.usage.completion_tokens
    assert body.usage.prompt_tokens == expected.usage.prompt_tokens
    assert body.model == "m"


@pytest.mark.parametrize("url", [URL, "/chat/completions"])
def test_streamed_pieces_are_the_whole(torch_engine: Engine, settings: Settings, url: str):
    whole = ask(torch_engine, settings, url, max_tokens=40)
    stream = ask(torch_engine, settings, url, max_tokens=40, stream=True)
    assert streamed_text(stream) == whole.json()["choices"][0]["message"]["content"]
    first, *_, last = chunks(stream)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert last["choices"][0]["finish_reason"] == whole.json()["choices"][0]["finish_reason"]


def test_usage_comes_last_when_wanted(torch_engine: Engine, settings: Settings):
    stream = ask(
        torch_engine, settings, max_tokens=5, stream=True, stream_options={"include_usage": True}
    )
    *others, last = chunks(stream)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] <= 5
    assert all(chunk["usage"] is None for chunk in others)


def test_several_answers(torch_engine: Engine, settings: Settings):
    options: dict[str, Any] = {"n": 3, "temperature": 1.0, "seed": 5, "max_tokens": 12}
    whole = ask(torch_engine, settings, **options).json()
    texts = [choice["message"]["content"] for choice in whole["choices"]]
    assert len(set(texts)) == 3
    again = ask(torch_engine, settings, stream=True, **options)
    assert [streamed_text(again, i) for i in range(3)] == texts


def test_a_seed_repeats(torch_engine: Engine, settings: Settings):
    options: dict[str, Any] = {"temperature": 1.5, "seed": 11, "max_tokens": 20, "top_p": 0.9}
    first, second = (ask(torch_engine, settings, **options).json() for _ in range(2))
    assert first["choices"] == second["choices"]


def test_stop_ends_before_the_string(reciter: Engine, settings: Settings):
    body = ask(reciter, settings, max_tokens=50, stop=[RECITED[-2:]]).json()
    assert body["choices"][0]["message"]["content"] == RECITED[:-2]
    assert body["choices"][0]["finish_reason"] == "stop"


def test_length(reciter: Engine, settings: Settings):
    body = ask(reciter, settings, max_completion_tokens=6).json()
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 6


def test_logprobs(torch_engine: Engine, settings: Settings):
    options: dict[str, Any] = {"logprobs": True, "top_logprobs": 3, "max_tokens": 10}
    whole = ask(torch_engine, settings, **options).json()["choices"][0]["logprobs"]["content"]
    assert len(whole) == 10
    for entry in whole:
        assert len(entry["top_logprobs"]) == 3
        assert entry["logprob"] == entry["top_logprobs"][0]["logprob"] <= 0  # greedy
        assert entry["token"] == entry["top_logprobs"][0]["token"]
        if entry["bytes"] is not None:
            assert bytes(entry["bytes"]).decode() == entry["token"]
    stream = ask(torch_engine, settings, stream=True, **options)
    found = [
        entry
        for chunk in chunks(stream)
        for entry in (chunk["choices"][0]["logprobs"] or {"content": []})["content"]
    ]
    assert found == whole


def test_token_ids(torch_engine: Engine, settings: Settings):
    question = (Message("user", "What is the capital of France?"),)
    expected = torch_engine.generate(Request(question, params=SamplingParams(max_tokens=8)))
    ids = [token.token_id for token in expected.tokens if token.token_id is not None]
    options: dict[str, Any] = {"return_token_ids": True, "max_tokens": 8}
    whole = ask(torch_engine, settings, **options).json()
    assert whole["choices"][0]["token_ids"] == ids
    assert len(whole["prompt_token_ids"]) == expected.usage.prompt_tokens
    stream = chunks(ask(torch_engine, settings, stream=True, **options))
    assert [i for c in stream for i in c["choices"][0].get("token_ids", [])] == ids
    assert stream[0]["choices"][0]["prompt_token_ids"] == whole["prompt_token_ids"]


def test_parts_and_developer_messages(dummy: DummyEngine, settings: Settings):
    messages = [
        {"role": "developer", "content": "Echo."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}],
        },
    ]
    body = ask(dummy, settings, messages=messages, user="me", metadata={"a": "b"}).json()
    assert body["choices"][0]["message"]["content"] == "a b"


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"tools": []}, 400, "unsupported_parameter", "tools"),
        ({"messages": []}, 400, "invalid_value", "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "invalid_value", None),
        ({"temperature": 7}, 400, "invalid_value", "temperature"),
        ({"n": 1000}, 400, "invalid_value", "n"),
        ({"top_logprobs": 3}, 400, "invalid_value", None),
        ({"stream_options": {"include_usage": True}}, 400, "invalid_value", None),
        ({"stop": [""]}, 400, "invalid_value", None),
        ({"logit_bias": {"x": 1}}, 400, "invalid_value", None),
        ({"max_tokens": 3, "max_completion_tokens": 4}, 400, "invalid_value", None),
        ({"model": "gpt-17"}, 404, "model_not_found", "model"),
        ({"logprobs": True}, 400, "unsupported_parameter", None),
        ({"response_format": {"type": "json_schema"}}, 400, "invalid_value", None),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "text": ""}]}]},
            400,
            "invalid_value",
            None,
        ),
    ],
)
def test_refusals(
    dummy: DummyEngine,
    settings: Settings,
    body: dict[str, Any],
    status: int,
    code: str,
    param: str | None,
):
    response = ask(dummy, settings, **body)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert set(error) == {"message", "type", "param", "code"}
    if param is not None:
        assert error["param"] == param


def test_a_long_prompt_is_told_apart(torch_engine: Engine, settings: Settings):
    messages = [{"role": "user", "content": "water " * 500}]
    response = ask(torch_engine, settings, messages=messages)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


def test_an_error_stays_small_however_wrong_the_body(dummy: DummyEngine, settings: Settings):
    response = ask(dummy, settings, messages=[{"role": "x" * 999, "content": 3}] * 2000)
    assert response.status_code == 400
    assert len(response.content) < 4000


def test_a_failure_in_the_middle_of_a_stream(settings: Settings):
    class Failing(DummyEngine):
        def answer(self, prepared: list[str], job: Any) -> Any:
            from airust.types import TokenEvent

            job.emit(TokenEvent("so far"))
            raise RuntimeError("/home/secret/path is broken")

    with Failing() as engine:
        response = ask(engine, settings, stream=True)
        assert "so far" in response.text
        last = response.text.split("\n\n")[-3]
        error = json.loads(last.removeprefix("data: "))["error"]
        assert error["code"] == "engine_error"
        assert "secret" not in response.text
        whole = ask(engine, settings)
        assert whole.status_code == 500
        assert "secret" not in whole.text
