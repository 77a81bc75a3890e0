"""The service in front of another one, through airust's own client: same tokens, same logprobs."""

from __future__ import annotations

from collections.abc import Sequence

import httpx2
import pytest

from airust.engines.base import Engine
from airust.engines.dummy import DummyEngine
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


class Beginning(DummyEngine):
    """Its tokenizer puts a token before every text, as those of Llama and Gemma do."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def prompt_ids(self, request: Request) -> list[int]:
        turns = request.messages or ()
        return [0, *self.encode(request.prompt or "".join(turn.content for turn in turns))]

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(ids).decode(errors="replace")


def test_tokens_that_a_tokenizer_adds_are_told_apart(serve: Serve) -> None:
    with Beginning() as engine:
        server = serve(engine)

        def tokens(**body: object) -> list[int]:
            answer = httpx2.post(f"{server.url}/tokenize", json=body, trust_env=False)
            found: list[int] = answer.json()["tokens"]
            return found

        assert tokens(prompt="ab") == [0, 97, 98]
        assert tokens(prompt="ab", add_special_tokens=True) == [0, 97, 98]
        assert tokens(prompt="ab", add_special_tokens=False) == [97, 98]
        messages = [{"role": "user", "content": "ab"}]
        assert tokens(messages=messages, add_special_tokens=False) == [0, 97, 98]
        refused = httpx2.post(
            f"{server.url}/tokenize", trust_env=False,
            json={"messages": messages, "add_special_tokens": True},
        )  # fmt: skip
        assert refused.status_code == 400
        with load_engine("openai", "dummy", base_url=f"{server.url}/v1") as remote:
            assert remote.encode("ab") == [97, 98]
            assert remote.encode("") == []
            assert remote.prompt_ids(Request(prompt="ab")) == [0, 97, 98]
            assert remote.prompt_ids(Request((Message("user", "ab"),))) == [0, 97, 98]
            assert remote.prompt_ids(Request(token_ids=(5, 6))) == [5, 6]
