"""/v1/completions, /infer, /tokenize, /detokenize, /v1/models."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from airust.engines.base import Engine
from airust.engines.dummy import DummyEngine
from airust.serving import create_app
from airust.serving.api.schemas import Inference, ModelList, TextCompletion
from airust.settings import Settings
from airust.types import Request, SamplingParams
from tests.serving.conftest import client_of
from tests.serving.test_chat import chunks

PROMPT = "Rust has one owner"


def call(
    engine: Engine, settings: Settings, url: str, body: dict[str, Any] | None = None
) -> httpx2.Response:
    async def request() -> httpx2.Response:
        async with client_of(create_app({"m": engine}, settings)) as client:
            return await (client.get(url) if body is None else client.post(url, json=body))

    return asyncio.run(request())


def complete(engine: Engine, settings: Settings, **body: Any) -> dict[str, Any]:
    response = call(engine, settings, "/v1/completions", {"prompt": PROMPT} | body)
    assert response.status_code == 200, response.text
    TextCompletion.model_validate(response.json(), strict=True)
    return response.json()


def test_text_and_token_ids_give_the_same(torch_engine: Engine, settings: Settings):
    ids = torch_engine.encode(PROMPT)
    text = complete(torch_engine, settings, max_tokens=10)
    tokens = complete(torch_engine, settings, prompt=ids, max_tokens=10)
    assert text["choices"] == tokens["choices"]
    assert text["usage"] == tokens["usage"]
    assert text["usage"]["prompt_tokens"] == len(ids)


def test_several_prompts_with_several_answers_each(torch_engine: Engine, settings: Settings):
    ids = [torch_engine.encode(PROMPT), torch_engine.encode("Rain")]
    options: dict[str, Any] = {"n": 2, "seed": 1, "temperature": 1.0, "max_tokens": 6}
    body = complete(torch_engine, settings, prompt=ids, **options)
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    assert body["usage"]["prompt_tokens"] == sum(map(len, ids))
    alone = complete(torch_engine, settings, prompt="Rain", **options)
    assert [c["text"] for c in alone["choices"]] == [c["text"] for c in body["choices"][2:]]


def test_streamed(torch_engine: Engine, settings: Settings):
    whole = complete(torch_engine, settings, max_tokens=20, logprobs=2, return_token_ids=True)
    body = {"prompt": PROMPT, "max_tokens": 20, "stream": True, "logprobs": 2}
    response = call(torch_engine, settings, "/v1/completions", body | {"return_token_ids": True})
    found = [chunk["choices"][0] for chunk in chunks(response)]
    assert "".join(choice["text"] for choice in found) == whole["choices"][0]["text"]
    assert [i for c in found for i in c.get("token_ids", [])] == whole["choices"][0]["token_ids"]
    for name in ("tokens", "token_logprobs", "text_offset", "top_logprobs"):
        parts = [c["logprobs"][name] for c in found if c["logprobs"]]
        found_there = [value for part in parts for value in part]
        assert found_there == whole["choices"][0]["logprobs"][name], name


def test_echo_scores_the_prompt(torch_engine: Engine, settings: Settings):
    """What evaluation harnesses ask for: the logprobs of a given text."""
    ids = torch_engine.encode(PROMPT)
    body = complete(torch_engine, settings, echo=True, logprobs=1, max_tokens=0)
    choice = body["choices"][0]
    expected = torch_engine.score(ids[:1], ids[1:])
    assert choice["text"] == PROMPT
    assert choice["logprobs"]["token_logprobs"][0] is None
    found = choice["logprobs"]["token_logprobs"][1:]
    assert found == pytest.approx([score.logprob for score in expected if score], abs=1e-6)
    assert "".join(choice["logprobs"]["tokens"]) == PROMPT
    assert body["usage"]["completion_tokens"] == 0


def test_echo_before_a_completion(torch_engine: Engine, settings: Settings):
    plain = complete(torch_engine, settings, max_tokens=5)["choices"][0]["text"]
    echoed = complete(torch_engine, settings, max_tokens=5, echo=True)["choices"][0]["text"]
    assert echoed == PROMPT + plain


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": []},
        {"prompt": [[]]},
        {"prompt": ""},
        {"max_tokens": 0},
        {"suffix": "x"},
        {"best_of": 2},
        {"echo": True, "stream": True},
        {"prompt": [10**6]},
        {"prompt": [-1]},
    ],
)
def test_refusals(torch_engine: Engine, settings: Settings, body: dict[str, Any]):
    response = call(torch_engine, settings, "/v1/completions", {"prompt": PROMPT} | body)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["message"]


def test_infer(dummy: DummyEngine, settings: Settings):
    response = call(dummy, settings, "/infer", {"prompt": "hello rust"})
    assert Inference.model_validate(response.json(), strict=True).output == "hello rust"


def test_tokenize_and_back(torch_engine: Engine, settings: Settings):
    text = "水为什么往低处流？ Rust"
    body = call(torch_engine, settings, "/tokenize", {"prompt": text}).json()
    assert body == {
        "tokens": torch_engine.encode(text),
        "count": len(torch_engine.encode(text)),
        "max_model_len": 256,
    }
    back = call(torch_engine, settings, "/detokenize", {"tokens": body["tokens"]}).json()
    assert back == {"prompt": text}
    refused = call(torch_engine, settings, "/detokenize", {"tokens": [99999]})
    assert refused.status_code == 400


def test_tokenize_a_conversation(torch_engine: Engine, settings: Settings):
    messages = [{"role": "user", "content": "Hi"}]
    tokens = call(torch_engine, settings, "/tokenize", {"messages": messages}).json()["tokens"]
    chat = call(
        torch_engine, settings, "/v1/chat/completions", {"messages": messages, "max_tokens": 3}
    ).json()["usage"]
    assert len(tokens) == chat["prompt_tokens"]
    raw = Request(token_ids=tuple(tokens), params=SamplingParams(max_tokens=3))
    assert torch_engine.generate(raw).usage.prompt_tokens == len(tokens)


def test_models(torch_engine: Engine, settings: Settings):
    body = ModelList.model_validate(call(torch_engine, settings, "/v1/models").json())
    assert [(m.id, m.engine, m.max_model_len) for m in body.data] == [("m", "torch", 256)]
    assert call(torch_engine, settings, "/v1/models/m").json()["id"] == "m"
    missing = call(torch_engine, settings, "/v1/models/x/y")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
