"""Servers with OpenAI's API: which model, which server, what goes over the wire and what breaks."""

from __future__ import annotations

import gc
import queue
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from airust.engines.openai import OpenAIEngine, wire
from airust.engines.parity import run_parity
from airust.engines.registry import load_engine
from airust.types import (
    AirustError,
    ContextOverflowError,
    DoneEvent,
    EngineError,
    ErrorEvent,
    Event,
    Message,
    OverloadedError,
    Request,
    SamplingParams,
    TokenEvent,
    UnsupportedError,
    UserError,
)
from tests.conftest import RECITED
from tests.engines.conftest import stub_of
from tests.engines.stubs.http import Failure
from tests.engines.stubs.openai_server import OpenAIStub
from tests.engines.stubs.waiting import last_event, wait_for

TIMEOUT_S = 60
SOON = {"Retry-After-Ms": "1"}  # the client waits half a second otherwise


@pytest.fixture(autouse=True)
def no_settings_of_the_tester(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def load(stub: OpenAIStub, **options: object) -> OpenAIEngine:
    engine = load_engine("openai", stub.url, **options)
    assert isinstance(engine, OpenAIEngine)
    return engine


def chat(max_tokens: int = 20, **params: Any) -> Request:
    messages = (Message("system", "Be exact."), Message("user", "Recite."))
    return Request(messages=messages, params=SamplingParams(max_tokens=max_tokens, **params))


# Which model at which server


def test_an_address_alone_means_its_only_model(openai_stub: OpenAIStub) -> None:
    for address in (openai_stub.url, f"{openai_stub.url}/", f"{openai_stub.url}/v1"):
        with load_engine("openai", address) as engine:
            assert engine.settings["model"] == openai_stub.model
            assert engine.settings["base_url"] == f"{openai_stub.url}/v1"
            assert engine.generate(chat()).text == RECITED * 2


def test_an_address_with_several_models_lists_them(openai_stub: OpenAIStub) -> None:
    openai_stub.others = ("other-1", "other-2")
    with pytest.raises(UserError, match=f"{openai_stub.model}, other-1, other-2"):
        load(openai_stub)
    with load_engine("openai", openai_stub.model, base_url=openai_stub.url) as engine:
        assert engine.generate(chat()).text == RECITED * 2


def test_a_model_that_the_server_has_not(openai_stub: OpenAIStub) -> None:
    with pytest.raises(UserError, match=f"no model 'tinny'; it has: {openai_stub.model}"):
        load_engine("openai", "tinny", base_url=openai_stub.url)


def test_the_environment_names_the_server(
    openai_stub: OpenAIStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    openai_stub.key = "sk-right"
    monkeypatch.setenv("OPENAI_BASE_URL", f"{openai_stub.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-right")
    with load_engine("openai", openai_stub.model) as engine:
        assert engine.generate(chat()).text == RECITED * 2


def test_a_server_that_lists_no_models(openai_stub: OpenAIStub) -> None:
    openai_stub.lists_models = False
    with pytest.raises(UserError, match="lists no models; give a model's name"):
        load(openai_stub)
    with load_engine("openai", openai_stub.model, base_url=openai_stub.url) as engine:
        assert engine.settings["server"] == "other"
        assert engine.generate(chat()).text == RECITED * 2


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        ("gpt-5", {}, "api.openai.com needs a key: set OPENAI_API_KEY or the option api_key"),
        ("m", {"base_url": "localhost:8000"}, "base_url is 'localhost:8000' but must be like"),
        ("m", {"base_url": 8000}, "base_url is 8000 but must be like"),
        ("http://a:1", {"base_url": "http://b:1"}, "'http://a:1' is an address and base_url"),
        ("http://me:secret@a:1", {}, "The server's address contains a password; give the key"),
        ("m", {"timeout_s": 0}, "timeout_s is 0 but must be a number above 0."),
        ("m", {"retries": -1}, "retries is -1 but must be a whole number, 0 or more."),
        ("m", {"server": "vlm"}, "server is 'vlm' but must be one of: auto, openai, vllm"),
    ],
)
def test_bad_options_are_one_sentence(
    model: str, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_engine("openai", model, **options)
    assert str(caught.value).startswith(sentence)
    assert "secret" not in str(caught.value)


# What the server can do


@pytest.mark.parametrize(
    ("owner", "others", "kind"),
    [
        ("vllm", (), "vllm"),
        ("airust", (), "vllm"),
        ("llamacpp", (), "llamacpp"),
        ("local", ("default",), "mistralrs"),
        ("library", (), "ollama"),
        ("somebody", (), "other"),
    ],
)
def test_the_server_tells_who_it_is(
    openai_stub: OpenAIStub, owner: str, others: tuple[str, ...], kind: str
) -> None:
    openai_stub.owner, openai_stub.others = owner, others
    with load(openai_stub) as engine:
        assert engine.settings["server"] == kind
        assert engine.capabilities.token_ids == (kind in ("vllm", "llamacpp"))
        assert engine.generate(chat()).text == RECITED * 2
    with load(openai_stub, server="vllm") as engine:
        assert engine.settings["server"] == "vllm"
        assert engine.capabilities == OpenAIEngine.capabilities


def test_our_own_service_tells_what_its_engine_can_do(openai_stub: OpenAIStub) -> None:
    openai_stub.owner = "airust"
    openai_stub.card = {"capabilities": {"seed": False, "logprobs": True, "chat": True}}
    with load(openai_stub) as engine:
        assert engine.context == openai_stub.context
        assert (engine.capabilities.seed, engine.capabilities.logprobs) == (False, True)
        with pytest.raises(UnsupportedError, match="does not support a seed"):
            engine.generate(chat(seed=1))
        assert engine.generate(chat(logprobs=1)).text == RECITED * 2


def test_what_a_server_would_ignore_is_refused(openai_stub: OpenAIStub) -> None:
    openai_stub.owner = "somebody"
    with load(openai_stub) as engine:
        for params in (
            SamplingParams(seed=1),
            SamplingParams(top_k=4),
            SamplingParams(min_p=0.1),
            SamplingParams(regex="a+"),
            SamplingParams(json_schema="{}"),
        ):
            with pytest.raises(UnsupportedError, match="'openai' does not support"):
                engine.generate(Request(prompt="abc", params=params))
    schema = Request(prompt="abc", params=SamplingParams(json_schema="{}"))
    with (
        load(openai_stub, server="openai") as engine,
        pytest.raises(UnsupportedError, match="JSON schema only with chat messages"),
    ):
        engine.generate(schema)
    assert openai_stub.bodies == []


# What goes over the wire


def sent(stub: OpenAIStub, request: Request, **options: object) -> dict[str, Any]:
    """The body of a request, which the server then refuses."""
    stub.failures.append(Failure(400, {"error": {"message": "Enough."}}))
    with load(stub, **options) as engine, pytest.raises(UserError, match="Enough"):
        engine.generate(request)
    return stub.bodies.pop()


EVERYTHING = SamplingParams(
    max_tokens=9,
    temperature=0.5,
    top_k=4,
    top_p=0.9,
    min_p=0.1,
    repetition_penalty=1.1,
    presence_penalty=0.5,
    frequency_penalty=-0.5,
    logit_bias=((5, 1.5), (6, -100)),
    seed=3,
    stop=("END", "\n"),
    logprobs=2,
    json_schema='{"type": "object"}',
)


def test_everything_a_vllm_server_takes(openai_stub: OpenAIStub) -> None:
    common = {
        "model": openai_stub.model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
        "temperature": 0.5,
        "top_k": 4,
        "top_p": 0.9,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "logit_bias": {"5": 1.5, "6": -100},
        "seed": 3,
        "stop": ["END", "\n"],
        "ignore_eos": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
        },
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
    }
    messages = (Message("system", "Be brief."), Message("user", "水?"))
    assert sent(openai_stub, Request(messages=messages, params=EVERYTHING)) == common | {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "水?"},
        ],
        "logprobs": True,
        "top_logprobs": 2,
    }
    assert sent(openai_stub, Request(token_ids=(5, 6), params=EVERYTHING)) == common | {
        "prompt": [5, 6],
        "logprobs": 2,
    }


def test_the_models_own_defaults_do_not_come_in(openai_stub: OpenAIStub) -> None:
    """vLLM and others fill what is missing from generation_config.json."""
    body = sent(openai_stub, Request(prompt="a"))
    wanted = {"temperature": 0, "top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1}
    assert {name: body[name] for name in wanted} == wanted
    assert body["ignore_eos"] is False
    endless = sent(openai_stub, Request(prompt="a", params=SamplingParams(ignore_eos=True)))
    assert endless["ignore_eos"] is True


@pytest.mark.parametrize(("seed", "sent_as"), [(7, 7), (-1, 2**31 - 1), (2**70 + 3, 3)])
def test_any_whole_number_is_a_seed(openai_stub: OpenAIStub, seed: int, sent_as: int) -> None:
    assert sent(openai_stub, chat(seed=seed))["seed"] == sent_as


def test_openai_gets_only_what_it_knows(openai_stub: OpenAIStub) -> None:
    request = chat(max_tokens=5)
    assert sent(openai_stub, request, server="openai") == {
        "model": openai_stub.model,
        "messages": [
            {"role": "system", "content": "Be exact."},
            {"role": "user", "content": "Recite."},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 5,
        "temperature": 0.0,
    }


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("vllm", "structured_outputs", {"regex": "a+"}),
        ("mistralrs", "grammar", {"type": "regex", "value": "a+"}),
    ],
)
def test_regular_expressions(openai_stub: OpenAIStub, kind: str, field: str, value: object) -> None:
    request = Request(prompt="a", params=SamplingParams(regex="a+"))
    assert sent(openai_stub, request, server=kind)[field] == value


@pytest.mark.parametrize("schema", ["{", "[]", "true"])
def test_a_schema_that_is_none(openai_stub: OpenAIStub, schema: str) -> None:
    with load(openai_stub) as engine, pytest.raises(UserError, match=r"The JSON schema .*JSON"):
        engine.generate(chat(json_schema=schema))


# Tokens, logprobs, usage


def test_text_to_ids_and_back(openai_stub: OpenAIStub) -> None:
    with load(openai_stub) as engine:
        ids = engine.encode(RECITED)
        assert ids == openai_stub.engine.encode(RECITED)
        assert engine.decode(ids) == RECITED
        with pytest.raises(UserError, match="vocabulary"):
            engine.decode([10**6])
        answered = threading.Event()
        errors: list[AirustError] = []

        def on_event(event: Event) -> None:
            try:
                engine.encode("a")  # would wait for the thread that it is in
            except AirustError as error:
                errors.append(error)
            if isinstance(event, DoneEvent):
                answered.set()

        engine.submit(chat(max_tokens=2), on_event)
        assert answered.wait(TIMEOUT_S)
        assert {type(error) for error in errors} == {EngineError}
    with pytest.raises(EngineError, match="'openai' is closed"):
        engine.encode("a")
    openai_stub.beside_v1 = False
    with load(openai_stub) as engine, pytest.raises(UnsupportedError, match="how it tokenises"):
        engine.encode("a")


def test_chat_logprobs_have_ids_and_texts(openai_stub: OpenAIStub) -> None:
    with load(openai_stub) as engine:
        answer = engine.generate(chat(max_tokens=10, logprobs=3))
        asked = openai_stub.translated
        again = engine.generate(chat(max_tokens=10, logprobs=3))
    assert "".join(token.text for token in answer.tokens) == RECITED
    for token in answer.tokens:
        assert token.token_id is not None
        assert token.logprob == pytest.approx(0, abs=1e-3)
        assert [top.token_id is not None for top in token.top] == [True] * 3
        assert token.top[0].token_id == token.token_id
    assert answer.tokens[-1].top[0].text == RECITED[-1]
    assert again.tokens == answer.tokens
    assert openai_stub.translated == asked  # each id is asked for once


def test_tokens_that_come_together_keep_their_texts(openai_stub: OpenAIStub) -> None:
    with load(openai_stub) as engine:
        apart = engine.generate(chat(logprobs=2))
        openai_stub.together = True
        assert engine.generate(chat(logprobs=2)).tokens[-3:] == apart.tokens[-3:]
        plain = engine.generate(chat())
    assert [token.token_id for token in plain.tokens] == [t.token_id for t in apart.tokens]
    assert [token.text for token in plain.tokens] == [""] * 19 + [RECITED * 2]


def test_behind_a_gateway_alternatives_are_texts_only(openai_stub: OpenAIStub) -> None:
    openai_stub.beside_v1 = False
    with load(openai_stub) as engine:
        *_, last = engine.generate(chat(max_tokens=10, logprobs=3)).tokens
    assert last.top[0].text == RECITED[-1]
    assert last.top[0].token_id == last.token_id is not None
    assert last.top[1].text != ""
    assert last.top[1].token_id is None


def test_a_server_that_gives_no_logprobs_is_found_out(openai_stub: OpenAIStub) -> None:
    openai_stub.gives_logprobs = False
    with load(openai_stub) as engine, pytest.raises(EngineError, match="asked for logprobs and"):
        engine.generate(chat(logprobs=1))


LLAMA_SERVER = {
    "text": "a",
    "logprobs": {
        "content": [
            {
                "id": 7,
                "token": "a",
                "bytes": [97],
                "logprob": -0.5,
                "top_logprobs": [
                    {"id": 7, "token": "a", "bytes": [97], "logprob": -0.5},
                    {"id": 8, "token": "b", "bytes": [98], "logprob": -1.5},
                ],
            }
        ]
    },
}
OPENAI_PROMPT = {
    "text": "ab",
    "logprobs": {
        "tokens": ["a", "b"],
        "token_logprobs": [-0.5, -0.25],
        "top_logprobs": [{"b": -1.5, "a": -0.5}, None],
        "text_offset": [0, 1],
    },
}


def test_forms_of_logprobs() -> None:
    (token,) = wire.piece(LLAMA_SERVER).tokens
    assert token.token_id == 7
    assert [(t.token_id, t.text, t.logprob) for t in token.top] == [(7, "a", -0.5), (8, "b", -1.5)]
    first, second = wire.piece(OPENAI_PROMPT).tokens
    assert [(t.token_id, t.text, t.logprob) for t in first.top] == [
        (None, "a", -0.5),
        (None, "b", -1.5),
    ]
    assert second.chosen is not None
    assert (second.chosen.text, second.chosen.logprob, second.top) == ("b", -0.25, ())


def test_several_tokens_in_one_chunk() -> None:
    piece = wire.piece({"delta": {"content": "水"}, "token_ids": [1, 2, 3]})
    assert [token.token_id for token in piece.tokens] == [1, 2, 3]
    assert piece.text == "水"


def test_usage_counts_the_prefix_cache(openai_stub: OpenAIStub) -> None:
    with load(openai_stub) as engine:
        first, second = engine.generate(chat()), engine.generate(chat())
    assert first.usage.prompt_tokens == second.usage.prompt_tokens > 0
    assert 0 == first.usage.cached_tokens < second.usage.cached_tokens


def test_a_server_that_counts_nothing(openai_stub: OpenAIStub) -> None:
    openai_stub.counts = False
    with load(openai_stub) as engine:
        assert engine.generate(chat(max_tokens=9)).usage.completion_tokens == 9


def test_a_shorter_answer_where_the_context_ends(openai_stub: OpenAIStub) -> None:
    with load(openai_stub) as engine:
        prompt = (5,) * 250
        params = SamplingParams(max_tokens=1000, ignore_eos=True)
        answer = engine.generate(Request(token_ids=prompt, params=params))
        assert (answer.finish_reason, answer.usage.completion_tokens) == ("length", 6)
        long = chat(max_tokens=1000, ignore_eos=True)
        answer = engine.generate(long)
        assert answer.usage.prompt_tokens + answer.usage.completion_tokens == openai_stub.context


def test_parity_through_a_server(model_dir: Path) -> None:
    with stub_of(OpenAIStub, model_dir, "random") as stub:
        prompts = [Request(prompt="What is"), Request(messages=(Message("user", "水为什么"),))]
        spec = f"openai:base_url={stub.url},served_as=random"
        (found,) = run_parity(model_dir, [spec], prompts=prompts, new_tokens=12).engines
    assert (found.status, found.divergence) == ("passed", None), found.reason
    assert (found.positions, found.unscored) == (24, 0)
    assert found.max_delta is not None and found.max_delta < 1e-4
    assert found.max_kl is not None and found.max_kl < 1e-6


# What goes wrong


def test_failures_that_pass_are_tried_again(openai_stub: OpenAIStub) -> None:
    with load(openai_stub) as engine:
        openai_stub.failures += [Failure(500, headers=SOON), Failure(429, headers=SOON)]
        assert engine.generate(chat()).text == RECITED * 2
        assert len(openai_stub.bodies) == 3
        openai_stub.failures += [Failure(503, headers=SOON)] * 3
        with pytest.raises(OverloadedError, match="no more requests for now"):
            engine.generate(chat())
    with load(openai_stub, retries=0) as engine:
        openai_stub.failures.append(Failure(500))
        with pytest.raises(EngineError, match=r"failed \(500\)"):
            engine.generate(chat())


OVERFLOW_VLLM = "This model's maximum context length is 256 tokens"


@pytest.mark.parametrize(
    ("status", "body", "kind", "sentence"),
    [
        (400, {"error": {"message": "top_p is odd."}}, UserError, "refuses the request: top_p is"),
        (400, {"detail": "Not so."}, UserError, "refuses the request: Not so."),
        (400, {"message": "Not so."}, UserError, "refuses the request: Not so."),
        (422, {"error": {"message": "No."}}, UserError, "refuses the request: No."),
        (
            400,
            {"error": {"message": "Too much.", "code": "context_length_exceeded"}},
            ContextOverflowError,
            "refuses the prompt as too long: Too much.",
        ),
        (
            400,
            {"error": {"message": "Too much.", "type": "exceed_context_size_error"}},
            ContextOverflowError,
            "refuses the prompt as too long: Too much.",
        ),
        (400, {"error": {"message": OVERFLOW_VLLM}}, ContextOverflowError, OVERFLOW_VLLM),
        (401, {"error": {"message": "Wrong key."}}, UserError, "refuses the key (Wrong key); set"),
        (403, {"error": {"message": "Not you."}}, UserError, "refuses the key (Not you); set"),
        (404, {"error": {"message": "No such."}}, UserError, "does not know what it was asked"),
        (429, {"error": {"message": "Slow."}}, OverloadedError, "no more requests for now: Slow"),
        (503, {"error": {"message": "Later."}}, OverloadedError, "no more requests for now: Later"),
        (500, {"error": {"message": "Oh."}}, EngineError, "failed (500): Oh."),
        (502, "<html>\n<b>Bad</b>", EngineError, "failed (502): Bad Gateway."),
    ],
)
def test_refusals_are_one_sentence(
    openai_stub: OpenAIStub,
    status: int,
    body: dict[str, Any] | str,
    kind: type[AirustError],
    sentence: str,
) -> None:
    # A kind without vLLM's /tokenize: what does not fit stays what the server said.
    with load(openai_stub, retries=0, server="llamacpp") as engine:
        openai_stub.failures.append(Failure(status, body))
        with pytest.raises(AirustError) as caught:
            engine.generate(chat())
        assert type(caught.value) is kind
        assert sentence in str(caught.value)
        assert f"at {openai_stub.url}/v1 " in str(caught.value)
        assert str(caught.value).endswith(".")
        assert "\n" not in str(caught.value)
        assert engine.generate(chat()).text == RECITED * 2


def test_a_wrong_key(openai_stub: OpenAIStub) -> None:
    openai_stub.key = "sk-right"
    for options in ({}, {"api_key": "sk-wrong"}):
        with pytest.raises(UserError, match=r"refuses the key .*OPENAI_API_KEY") as caught:
            load(openai_stub, **options)
        assert "sk-" not in str(caught.value)
    with load(openai_stub, api_key="sk-right") as engine:
        assert engine.generate(chat()).text == RECITED * 2
        assert "sk-right" not in str(engine.settings)


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # taken, but nobody listens
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(UserError, match=f"{url}/v1 cannot be reached.*does it run"):
            load_engine("openai", url, retries=0)


def test_a_server_that_dies(openai_stub: OpenAIStub, reciter_dir: Path) -> None:
    with stub_of(OpenAIStub, reciter_dir, "reciter") as stub:
        engine = load(stub, retries=0)
    with engine, pytest.raises(EngineError, match=r"cannot be reached or broke off"):
        engine.generate(chat())


def test_a_server_that_is_none(reciter_dir: Path, bedrock_stub: Any) -> None:
    with pytest.raises(UserError, match=bedrock_stub.url):
        load_engine("openai", bedrock_stub.url, retries=0)


@pytest.mark.parametrize("pause_after", [0, 2])
def test_silence_is_not_waited_for_forever(openai_stub: OpenAIStub, pause_after: int) -> None:
    with load(openai_stub, timeout_s=0.3, retries=0) as engine:
        openai_stub.pause_after = pause_after
        openai_stub.go.clear()
        with pytest.raises(EngineError, match=r"sent nothing for 0\.3 seconds"):
            engine.generate(chat())
        wait_for(lambda: openai_stub.active == 0)
        openai_stub.go.set()
        assert engine.generate(chat()).text == RECITED * 2


def test_a_stream_that_breaks_off(openai_stub: OpenAIStub) -> None:
    with load(openai_stub) as engine:
        openai_stub.break_after = 6
        inbox: queue.Queue[Event] = queue.Queue()
        engine.submit(chat(), inbox.put)
        first, last = inbox.get(timeout=TIMEOUT_S), last_event(inbox)
        assert isinstance(first, TokenEvent)
        assert isinstance(last, ErrorEvent)
        assert isinstance(last.error, EngineError)
        assert "broke off" in str(last.error)
        assert len(openai_stub.bodies) == 1  # what has been shown is not asked for again
        openai_stub.break_after = None
        assert engine.generate(chat()).text == RECITED * 2


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("", "broke the answer off without a reason"),
        ("content_filter", "ended the answer for the reason 'content_filter'"),
    ],
)
def test_answers_that_end_oddly(openai_stub: OpenAIStub, reason: str, sentence: str) -> None:
    openai_stub.reason = reason
    with load(openai_stub) as engine, pytest.raises(EngineError, match=sentence):
        engine.generate(chat())


def test_an_error_inside_a_stream(openai_stub: OpenAIStub) -> None:
    openai_stub.fault = "The GPU is on fire."
    with (
        load(openai_stub) as engine,
        pytest.raises(EngineError, match=r"off: The GPU is on fire\."),
    ):
        engine.generate(chat())


# Cancelling and closing


@pytest.mark.parametrize("pause_after", [0, 3])
def test_cancelling_frees_the_server(openai_stub: OpenAIStub, pause_after: int) -> None:
    openai_stub.pause_after = pause_after
    openai_stub.go.clear()
    with load(openai_stub) as engine:
        inbox: queue.Queue[Event] = queue.Queue()
        handle = engine.submit(chat(max_tokens=200), inbox.put)
        wait_for(lambda: openai_stub.active == 1 and inbox.qsize() == pause_after)
        thread = threading.Thread(target=handle.cancel)
        thread.start()
        thread.join()
        last = last_event(inbox)
        assert isinstance(last, DoneEvent)
        assert last.finish_reason == "cancelled"
        assert last.usage.completion_tokens == pause_after
        wait_for(lambda: openai_stub.active == 0)
        handle.cancel()
        openai_stub.go.set()
        assert engine.generate(chat()).text == RECITED * 2


def test_many_streams_wait_in_one_thread(openai_stub: OpenAIStub) -> None:
    count = 32
    openai_stub.go.clear()
    with load(openai_stub) as engine:
        inboxes: list[queue.Queue[Event]] = [queue.Queue() for _ in range(count)]
        for inbox in inboxes:
            engine.submit(chat(max_tokens=30), inbox.put)
        wait_for(lambda: openai_stub.active == count)
        ours = [t for t in threading.enumerate() if t.name == "airust-requests"]
        assert len(ours) == 1
        openai_stub.go.set()
        for inbox in inboxes:
            last = last_event(inbox)
            assert isinstance(last, DoneEvent)
            assert last.usage.completion_tokens == 30
    assert openai_stub.most_active == count


def test_closing_cancels_what_runs(openai_stub: OpenAIStub) -> None:
    openai_stub.go.clear()
    engine = load(openai_stub)
    inboxes: list[queue.Queue[Event]] = [queue.Queue() for _ in range(3)]
    for inbox in inboxes:
        engine.submit(chat(), inbox.put)
    engine.close()
    for inbox in inboxes:
        last = inbox.get_nowait()
        assert isinstance(last, DoneEvent)
        assert last.finish_reason == "cancelled"
    wait_for(lambda: openai_stub.active == 0)


def test_closing_from_within_a_callback(openai_stub: OpenAIStub) -> None:
    engine = load(openai_stub)
    inbox: queue.Queue[Event] = queue.Queue()

    def on_event(event: Event) -> None:
        engine.close()
        inbox.put(event)

    engine.submit(chat(max_tokens=200), on_event)
    last = last_event(inbox)
    assert isinstance(last, DoneEvent)
    assert last.finish_reason == "cancelled"


def test_a_forgotten_engine_ends_its_thread(openai_stub: OpenAIStub) -> None:
    engine = load(openai_stub)
    engine.generate(chat())
    del engine
    gc.collect()
    wait_for(lambda: not [t for t in threading.enumerate() if t.name == "airust-requests"])


# The network


def test_proxies_do_not_come_between_us_and_our_own_machine(
    openai_stub: OpenAIStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:9")
    with load(openai_stub, retries=0) as engine:
        assert engine.generate(chat()).text == RECITED * 2


@pytest.mark.parametrize("size", [1, 2, 7])
def test_characters_cut_by_the_network(openai_stub: OpenAIStub, size: int) -> None:
    openai_stub.chunk_bytes = size
    with load(openai_stub) as engine:
        pieces = list(engine.stream(chat()))
    assert "".join(pieces) == RECITED * 2
    assert "水" in pieces
