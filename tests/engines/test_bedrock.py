"""Amazon Bedrock: what Converse is asked, how its answers are read, and what breaks."""

from __future__ import annotations

import queue
import socket
import threading
from typing import Any

import pytest

from airust.engines.bedrock import BedrockEngine
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
    UserError,
)
from tests.conftest import RECITED
from tests.engines.conftest import MODEL_ID
from tests.engines.stubs.bedrock_server import BedrockStub
from tests.engines.stubs.http import Failure
from tests.engines.stubs.waiting import last_event, wait_for

TIMEOUT_S = 60
pytestmark = pytest.mark.usefixtures("bedrock_stub")


def load(**options: object) -> BedrockEngine:
    engine = load_engine("bedrock", MODEL_ID, **options)
    assert isinstance(engine, BedrockEngine)
    return engine


def ask(max_tokens: int = 20, **params: Any) -> Request:
    messages = (Message("user", "Recite."),)
    return Request(messages=messages, params=SamplingParams(max_tokens=max_tokens, **params))


def failure(code: str, message: str = "Not so.", status: int = 400) -> Failure:
    return Failure(status, {"message": message}, {"x-amzn-ErrorType": f"{code}:http://x/"})


# What Converse is asked


def test_the_request(bedrock_stub: BedrockStub) -> None:
    turns = (
        Message("system", "Be brief."),
        Message("user", "水?"),
        Message("assistant", "H2O."),
        Message("user", "Why?"),
    )
    params = SamplingParams(max_tokens=5, temperature=0.5, top_p=0.9, stop=("END", "\n"))
    with load() as engine:
        engine.generate(Request(messages=turns, params=params))
    assert bedrock_stub.bodies == [
        {
            "operation": "converse-stream",
            "system": [{"text": "Be brief."}],
            "messages": [
                {"role": "user", "content": [{"text": "水?"}]},
                {"role": "assistant", "content": [{"text": "H2O."}]},
                {"role": "user", "content": [{"text": "Why?"}]},
            ],
            "inferenceConfig": {
                "maxTokens": 5,
                "temperature": 0.5,
                "topP": 0.9,
                "stopSequences": ["END", "\n"],
            },
        }
    ]


def test_what_is_not_set_is_not_sent(bedrock_stub: BedrockStub) -> None:
    """Some models refuse topP beside a temperature, or an empty list of system messages."""
    with load() as engine:
        engine.generate(ask(max_tokens=5))
    assert bedrock_stub.bodies == [
        {
            "operation": "converse-stream",
            "messages": [{"role": "user", "content": [{"text": "Recite."}]}],
            "inferenceConfig": {"maxTokens": 5, "temperature": 0.0},
        }
    ]


def test_a_schema(bedrock_stub: BedrockStub) -> None:
    bedrock_stub.failures.append(failure("ValidationException", "Enough."))
    with load() as engine, pytest.raises(UserError, match="Enough"):
        engine.generate(ask(json_schema='{"type": "object"}'))
    assert bedrock_stub.bodies[0]["outputConfig"] == {
        "textFormat": {
            "type": "json_schema",
            "structure": {"jsonSchema": {"name": "answer", "schema": '{"type": "object"}'}},
        }
    }


def test_a_model_that_does_not_stream(bedrock_stub: BedrockStub) -> None:
    with load(stream=False) as engine:
        answer = engine.generate(ask())
    assert [body["operation"] for body in bedrock_stub.bodies] == ["converse"]
    assert (answer.text, answer.finish_reason) == (RECITED * 2, "length")
    assert answer.usage.completion_tokens == 20
    assert len(answer.tokens) == 1


# What comes back


def test_usage_counts_what_was_read_from_the_cache(bedrock_stub: BedrockStub) -> None:
    with load() as engine:
        first, second = engine.generate(ask()), engine.generate(ask())
    assert first.usage.prompt_tokens == second.usage.prompt_tokens > 0
    assert 0 == first.usage.cached_tokens < second.usage.cached_tokens


@pytest.mark.parametrize(
    ("reason", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
    ],
)
def test_reasons(bedrock_stub: BedrockStub, reason: str, ours: str) -> None:
    bedrock_stub.reason = reason
    with load() as engine:
        assert engine.generate(ask()).finish_reason == ours


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("", "broke the answer off without a reason"),
        ("guardrail_intervened", "ended the answer for the reason 'guardrail_intervened'"),
    ],
)
def test_answers_that_end_oddly(bedrock_stub: BedrockStub, reason: str, sentence: str) -> None:
    bedrock_stub.reason = reason
    with load() as engine, pytest.raises(EngineError, match=sentence):
        engine.generate(ask())


# What goes wrong


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("AWS_ACCESS_KEY_ID", "", r"Bedrock needs credentials .*set AWS_ACCESS_KEY_ID and"),
        ("AWS_DEFAULT_REGION", "", r"needs a region: set AWS_DEFAULT_REGION or the option reg"),
        ("AWS_PROFILE", "nobody", r"Bedrock: The config profile \(nobody\) could not be found\."),
    ],
)
def test_settings_of_aws_that_lack(
    name: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value:
        monkeypatch.setenv(name, value)
    else:
        monkeypatch.delenv(name)
        if name == "AWS_ACCESS_KEY_ID":
            monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(UserError, match=sentence):
        load()


def test_the_region_is_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with load(region="us-west-2") as engine:
        assert engine.settings["region"] == "us-west-2"
        assert engine.generate(ask()).text == RECITED * 2


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        ("runs/tiny", {}, "'runs/tiny' is neither the id of a Bedrock model nor an ARN."),
        ("http://x", {}, "'http://x' is neither the id of a Bedrock model nor an ARN."),
        ("m", {"concurrency": 0}, "concurrency is 0 but must be a whole number above 0."),
        ("m", {"stream": "yes"}, "stream is 'yes' but must be true or false."),
        ("m", {"timeout_s": "1"}, "timeout_s is '1' but must be a number above 0."),
        ("m", {"retries": True}, "retries is True but must be a whole number, 0 or more."),
        ("m", {"region": "no where"}, "Bedrock: "),
    ],
)
def test_bad_options_are_one_sentence(
    model: str, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_engine("bedrock", model, **options)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_not_there() -> None:
    with (
        load_engine("bedrock", "nobody.nothing-v1:0") as engine,
        pytest.raises(UserError, match=r"request to 'nobody.nothing-v1:0': The model identifier"),
    ):
        engine.generate(ask())


@pytest.mark.parametrize(
    ("refusal", "kind", "sentence"),
    [
        (
            failure("ValidationException"),
            UserError,
            f"refuses the request to '{MODEL_ID}': Not so.",
        ),
        (
            failure("ValidationException", "Input is too long for requested model."),
            ContextOverflowError,
            "refuses the prompt as too long: Input is too long",
        ),
        (
            failure("AccessDeniedException", "You have no access.", 403),
            UserError,
            f"denies access to '{MODEL_ID}': You have no access.",
        ),
        (
            failure("ExpiredTokenException", "The token is expired.", 403),
            UserError,
            f"denies access to '{MODEL_ID}': The token is expired.",
        ),
        (
            failure("ResourceNotFoundException", "Could not resolve.", 404),
            UserError,
            f"has no model '{MODEL_ID}' in this region: Could not resolve.",
        ),
        (
            failure("ThrottlingException", "Too many requests.", 429),
            OverloadedError,
            "takes no more requests for now: Too many requests.",
        ),
        (
            failure("InternalServerException", "Oh.", 500),
            EngineError,
            "failed (InternalServerException): Oh.",
        ),
    ],
)
def test_refusals_are_one_sentence(
    bedrock_stub: BedrockStub, refusal: Failure, kind: type[AirustError], sentence: str
) -> None:
    with load(retries=0) as engine:
        bedrock_stub.failures.append(refusal)
        with pytest.raises(AirustError) as caught:
            engine.generate(ask())
        assert type(caught.value) is kind
        assert sentence in str(caught.value)
        assert "\n" not in str(caught.value)
        assert engine.generate(ask()).text == RECITED * 2


def test_failures_that_pass_are_tried_again(bedrock_stub: BedrockStub) -> None:
    bedrock_stub.failures += [
        failure("ThrottlingException", status=429),
        failure("ServiceUnavailableException", status=503),
    ]
    with load() as engine:
        assert engine.generate(ask()).text == RECITED * 2
    assert len(bedrock_stub.bodies) == 3


def test_a_service_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # taken, but nobody listens
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", url)
        with load(retries=0) as engine, pytest.raises(EngineError, match=f"Could not .*{url}"):
            engine.generate(ask())


@pytest.mark.parametrize("pause_after", [0, 4])
def test_silence_is_not_waited_for_forever(bedrock_stub: BedrockStub, pause_after: int) -> None:
    with load(timeout_s=0.3, retries=0) as engine:
        bedrock_stub.pause_after = pause_after
        bedrock_stub.go.clear()
        with pytest.raises(EngineError, match=r"sent nothing for too long"):
            engine.generate(ask())
        wait_for(lambda: bedrock_stub.active == 0)
        bedrock_stub.go.set()
        assert engine.generate(ask()).text == RECITED * 2


def test_a_stream_that_breaks_off(bedrock_stub: BedrockStub) -> None:
    with load() as engine:
        bedrock_stub.break_after = 4
        inbox: queue.Queue[Event] = queue.Queue()
        engine.submit(ask(), inbox.put)
        first, last = inbox.get(timeout=TIMEOUT_S), last_event(inbox)
        assert isinstance(first, TokenEvent)
        assert isinstance(last, ErrorEvent)
        assert isinstance(last.error, EngineError)
        assert "broke the answer off" in str(last.error)
        assert len(bedrock_stub.bodies) == 1  # what has been shown is not asked for again
        bedrock_stub.break_after = None
        assert engine.generate(ask()).text == RECITED * 2


def test_an_error_inside_a_stream(bedrock_stub: BedrockStub) -> None:
    bedrock_stub.fault = "Slow down."
    with load() as engine, pytest.raises(EngineError, match=r"for now: Slow down\."):
        engine.generate(ask())


# Cancelling


def test_cancelling_closes_the_stream_while_nothing_comes(bedrock_stub: BedrockStub) -> None:
    bedrock_stub.pause_after = 10  # 水🦀abc, of which 水 is three tokens and 🦀 four
    bedrock_stub.go.clear()
    with load() as engine:
        inbox: queue.Queue[Event] = queue.Queue()
        handle = engine.submit(ask(max_tokens=200), inbox.put)
        wait_for(lambda: inbox.qsize() == 5)
        handle.cancel()
        last = last_event(inbox)
        assert isinstance(last, DoneEvent)
        assert last.finish_reason == "cancelled"
        wait_for(lambda: bedrock_stub.active == 0)
        handle.cancel()
        bedrock_stub.go.set()
        assert engine.generate(ask()).text == RECITED * 2


def test_cancelled_before_bedrock_begins_to_answer(bedrock_stub: BedrockStub) -> None:
    bedrock_stub.go.clear()
    with load() as engine:
        inbox: queue.Queue[Event] = queue.Queue()
        handle = engine.submit(ask(max_tokens=200), inbox.put)
        wait_for(lambda: bedrock_stub.active == 1)
        handle.cancel()
        bedrock_stub.go.set()
        last = last_event(inbox)
        assert isinstance(last, DoneEvent)
        assert last.finish_reason == "cancelled"
        wait_for(lambda: bedrock_stub.active == 0)


def test_answers_at_the_same_time(bedrock_stub: BedrockStub) -> None:
    bedrock_stub.go.clear()
    texts: list[str] = []
    with load(concurrency=4) as engine:
        asking = [
            threading.Thread(target=lambda: texts.append(engine.generate(ask()).text))
            for _ in range(8)
        ]
        for thread in asking:
            thread.start()
        wait_for(lambda: bedrock_stub.active == 4)
        bedrock_stub.go.set()
        for thread in asking:
            thread.join(TIMEOUT_S)
    assert texts == [RECITED * 2] * 8
    assert bedrock_stub.most_active == 4


# The network


def test_proxies_do_not_come_between_us_and_our_own_machine(
    bedrock_stub: BedrockStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:9")
    with load(retries=0) as engine:
        assert engine.generate(ask()).text == RECITED * 2


@pytest.mark.parametrize("size", [1, 7])
def test_frames_cut_by_the_network(bedrock_stub: BedrockStub, size: int) -> None:
    bedrock_stub.chunk_bytes = size
    with load() as engine:
        assert list(engine.stream(ask())) == list(RECITED * 2)
