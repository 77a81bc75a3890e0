"""The service in front of another one, through airust's own client: same tokens, same logprobs."""

from __future__ import annotations

import pytest

from airust.engines.base import Engine
from airust.engines.registry import load_engine
from airust.types import Message, Request, SamplingParams
from tests.serving.conftest import Serve


@pytest.fixture
def remote(torch_engine: Engine, serve: Serve) -> Engine:
    """A client of a server of the torch engine."""
    return load_engine("openai", "torch", base_url=f"{serve(torch_engine).url}/v1")


PARAMS = [
    SamplingParams(max_tokens=20),
    SamplingParams(max_tokens=20, logprobs=3),
    SamplingParams(max_tokens=20, temperature=1.2, seed=3, top_p=0.9, top_k=50, min_p=0.01),
    SamplingParams(max_tokens=20, repetition_penalty=1.3, presence_penalty=0.5),
    SamplingParams(max_tokens=8, regex="[a-c]{4}"),
    SamplingParams(max_tokens=20, ignore_eos=True, logit_bias=((70, 5.0),)),
]


@pytest.mark.parametrize("params", PARAMS)
@pytest.mark.parametrize("chat", [True, False], ids=["chat", "prompt"])
def test_the_way_through_a_server_changes_nothing(
    torch_engine: Engine, remote: Engine, params: SamplingParams, chat: bool
):
    with remote:
        if chat:
            request = Request(messages=(Message("user", "Why does rain fall?"),), params=params)
        else:
            request = Request(prompt="Rust has one", params=params)
        here, there = torch_engine.generate(request), remote.generate(request)
    assert there.text == here.text
    assert there.finish_reason == here.finish_reason
    assert there.usage.completion_tokens == here.usage.completion_tokens

    def ids(tokens: object) -> list[int]:
        return [t.token_id for t in tokens if t.token_id is not None]  # type: ignore[attr-defined]

    assert ids(there.tokens) == ids(here.tokens)
    if params.logprobs is not None:
        near = pytest.approx([t.logprob for t in here.tokens if t.logprob is not None], abs=1e-4)
        assert [t.logprob for t in there.tokens if t.logprob is not None] == near
