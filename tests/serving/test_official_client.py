"""The official `openai` client in process: no socket, the whole application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

import httpx2
import openai
import pytest
from pydantic import BaseModel

from airust.engines.base import Engine
from airust.engines.dummy import DummyEngine
from airust.serving import create_app
from airust.settings import KeySettings, Settings
from airust.types import Message, Request, SamplingParams

QUESTION = "What is the capital of France?"
Steps = Callable[[openai.AsyncOpenAI], Awaitable[None]]


def talk(engine: Engine, settings: Settings, steps: Steps) -> None:
    async def session() -> None:
        transport = httpx2.ASGITransport(create_app({"m": engine}, settings))
        http = httpx2.AsyncClient(transport=transport)
        async with openai.AsyncOpenAI(
            base_url="http://testserver/v1", api_key="none", http_client=http, max_retries=0
        ) as client:
            await steps(client)

    asyncio.run(session())


def expected(engine: Engine, **params: int) -> str:
    request = Request((Message("user", QUESTION),), params=SamplingParams(**params))
    return engine.generate(request).text


def test_chat_completions(torch_engine: Engine, settings: Settings) -> None:
    text = expected(torch_engine, max_tokens=12)

    async def steps(client: openai.AsyncOpenAI) -> None:
        assert [model.id async for model in client.models.list()] == ["m"]
        assert (await client.models.retrieve("m")).id == "m"
        whole = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": QUESTION}], max_tokens=12, n=2,
            logprobs=True, top_logprobs=2,
        )  # fmt: skip
        assert [choice.message.content for choice in whole.choices] == [text, text]
        logprobs = whole.choices[0].logprobs
        assert logprobs is not None
        assert logprobs.content is not None
        assert len(logprobs.content) == 12
        assert all(len(entry.top_logprobs) == 2 for entry in logprobs.content)
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": QUESTION}], max_tokens=12,
            stream=True, stream_options={"include_usage": True},
        )  # fmt: skip
        chunks = [chunk async for chunk in stream]
        pieces = [c.choices[0].delta.content or "" for c in chunks if c.choices]
        assert "".join(pieces) == text
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 12
        assert chunks[-1].choices == []

    talk(torch_engine, settings, steps)


def test_the_clients_own_helpers(torch_engine: Engine, settings: Settings) -> None:
    """Its streaming helper, and its parsing of answers that follow a schema."""

    class Weather(BaseModel):
        sky: Literal["sun", "rain"]

    async def steps(client: openai.AsyncOpenAI) -> None:
        async with client.chat.completions.stream(
            model="m", messages=[{"role": "user", "content": QUESTION}], max_tokens=12
        ) as stream:
            deltas = [e.delta async for e in stream if e.type == "content.delta"]
        assert "".join(deltas) == expected(torch_engine, max_tokens=12)
        parsed = await client.chat.completions.parse(
            model="m", messages=[{"role": "user", "content": "Sky?"}], response_format=Weather,
            max_tokens=60,
        )  # fmt: skip
        weather = parsed.choices[0].message.parsed
        assert weather is not None
        assert weather.sky in ("sun", "rain")

    talk(torch_engine, settings, steps)


def test_completions_and_responses(torch_engine: Engine, settings: Settings) -> None:
    text = expected(torch_engine, max_tokens=12)

    async def steps(client: openai.AsyncOpenAI) -> None:
        ids = torch_engine.encode(QUESTION)
        by_text = await client.completions.create(model="m", prompt=QUESTION, max_tokens=5)
        by_ids = await client.completions.create(model="m", prompt=ids, max_tokens=5)
        assert by_text.choices[0].text == by_ids.choices[0].text
        answer = await client.responses.create(model="m", input=QUESTION, max_output_tokens=12)
        assert answer.output_text == text
        async with client.responses.stream(
            model="m", input=QUESTION, max_output_tokens=12
        ) as stream:
            events = [event async for event in stream]
        assert events[0].type == "response.created"
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert "".join(deltas) == text
        assert events[-1].type == "response.incomplete"  # the answer was cut off
        assert events[-1].response.output_text == text

    talk(torch_engine, settings, steps)


def test_failures_are_typed(dummy: DummyEngine, settings: Settings) -> None:
    async def steps(client: openai.AsyncOpenAI) -> None:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.models.list()
        assert refused.value.code == "invalid_api_key"
        assert refused.value.request_id

    talk(dummy, settings.model_copy(update={"keys": KeySettings(required=True)}), steps)

    async def mistaken(client: openai.AsyncOpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "x"}], seed=1, logprobs=True
            )
        assert refused.value.code == "unsupported_parameter"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("none")

    talk(dummy, settings, mistaken)
