"""What holds for every engine, whatever runs behind it."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from airust.engines.base import Engine, EngineStats
from airust.engines.registry import BUILT_INS, list_engines, load_engine
from airust.gpt.tokenizer import Tokenizer
from airust.types import (
    AirustError,
    ContextOverflowError,
    DoneEvent,
    ErrorEvent,
    Event,
    Message,
    Request,
    SamplingParams,
    TokenEvent,
    UnsupportedError,
    UserError,
)
from tests.conftest import RECITED

TIMEOUT_S = 60


@dataclass
class Subject:
    """An engine that recites, and the way to make it do so."""

    engine: Engine
    model: Path

    def request(self, max_tokens: int = 30, stop: tuple[str, ...] = ()) -> Request:
        text = f"{RECITED} " * 300 if self.engine.name == "dummy" else "Recite."
        params = SamplingParams(max_tokens=max_tokens, stop=stop)
        return Request(messages=(Message("user", text),), params=params)


# Engines that run a model of tokens; the dummy engine's tokens are words, without logprobs or end.
MODELS = [name for name in BUILT_INS if name != "dummy"]
TAKE_IDS = [name for name, row in BUILT_INS.items() if row.capabilities.token_ids]
GIVE_LOGPROBS = [name for name, row in BUILT_INS.items() if row.capabilities.logprobs]


@pytest.fixture(scope="module", params=list(BUILT_INS))
def subject(request: pytest.FixtureRequest, reciter_dir: Path) -> Iterator[Subject]:
    info = next(engine for engine in list_engines() if engine.name == request.param)
    if not info.available:
        pytest.skip(f"not installed: {', '.join(info.missing)}")
    with load_engine(request.param, reciter_dir) as engine:
        yield Subject(engine, reciter_dir)


def collect(engine: Engine, request: Request) -> list[Event]:
    """All events of a request, and whatever still comes after the last."""
    inbox: queue.Queue[Event] = queue.Queue()
    engine.submit(request, inbox.put)
    events = [inbox.get(timeout=TIMEOUT_S)]
    while not isinstance(events[-1], DoneEvent | ErrorEvent):
        events.append(inbox.get(timeout=TIMEOUT_S))
    engine.generate(request)  # time for a superfluous event to arrive
    return events + list(inbox.queue)


def test_tokens_then_one_final_event(subject: Subject) -> None:
    *tokens, done = collect(subject.engine, subject.request())
    assert all(isinstance(event, TokenEvent) for event in tokens)
    assert isinstance(done, DoneEvent)
    assert done.finish_reason == "length"
    assert done.usage.completion_tokens == 30
    assert done.usage.prompt_tokens > 0
    assert 0 <= done.timings.queued_s <= done.timings.ttft_s <= done.timings.total_s


def test_the_model_recites(subject: Subject) -> None:
    text = subject.engine.generate(subject.request()).text.replace(" ", "")
    assert text.startswith(RECITED * 4)


def test_stream_and_generate_and_astream_agree(subject: Subject) -> None:
    request = subject.request()

    async def all_pieces() -> str:
        events = subject.engine.astream(request)
        return "".join([e.text async for e in events if isinstance(e, TokenEvent)])

    text = subject.engine.generate(request).text
    assert "".join(subject.engine.stream(request)) == text
    assert asyncio.run(all_pieces()) == text


def test_characters_are_never_split(subject: Subject) -> None:
    pieces = list(subject.engine.stream(subject.request(max_tokens=36)))
    assert "\ufffd" not in "".join(pieces)
    assert len(pieces) > 5


@pytest.mark.parametrize("subject", MODELS, indirect=True)
def test_a_character_cut_by_the_limit_is_marked(subject: Subject) -> None:
    text = subject.engine.generate(subject.request(max_tokens=8)).text
    assert text.rstrip("\ufffd") == RECITED
    assert text.endswith("\ufffd")


def test_stop_strings_across_token_borders(subject: Subject) -> None:
    full = subject.engine.generate(subject.request()).text
    for stop in (full[3:6], full[1:9], "b"):  # 3 ends the first round, 9 is in the middle of one
        answer = subject.engine.generate(subject.request(stop=("never", stop)))
        assert answer.text == full[: full.index(stop)]
        assert answer.finish_reason == "stop"


def test_a_stop_string_that_never_comes_changes_nothing(subject: Subject) -> None:
    full = subject.engine.generate(subject.request()).text
    unfinished = full[-3:] + "!"  # held back until the end, then shown
    assert subject.engine.generate(subject.request(stop=(unfinished,))).text == full


def test_cancel_ends_soon(subject: Subject) -> None:
    inbox: queue.Queue[Event] = queue.Queue()
    submitted = threading.Event()

    def on_event(event: Event) -> None:
        submitted.wait(TIMEOUT_S)
        handle.cancel()  # at the first event, before the next token; and again at every other
        inbox.put(event)

    handle = subject.engine.submit(subject.request(max_tokens=200), on_event)
    submitted.set()
    events = [inbox.get(timeout=TIMEOUT_S)]
    while not isinstance(events[-1], DoneEvent):
        events.append(inbox.get(timeout=TIMEOUT_S))
    assert events[-1].finish_reason == "cancelled"
    assert events[-1].usage.completion_tokens < 200


def test_leaving_the_loop_cancels_and_the_engine_goes_on(subject: Subject) -> None:
    text = subject.engine.generate(subject.request()).text
    for _ in range(3):
        events = subject.engine.events(subject.request(max_tokens=200))
        next(events)
        events.close()
    assert subject.engine.generate(subject.request()).text == text


def test_several_threads_at_once(subject: Subject) -> None:
    alone = subject.engine.generate(subject.request()).text
    texts: list[str] = []

    def ask() -> None:
        texts.append(subject.engine.generate(subject.request()).text)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert texts == [alone] * 6


def test_what_it_cannot_do_is_refused_before_any_event(subject: Subject) -> None:
    messages = (Message("user", "hi"),)
    wanted = {
        "chat": Request(messages=messages),
        "raw_prompt": Request(prompt="hi"),
        "token_ids": Request(token_ids=(5, 6)),
        "logprobs": Request(messages=messages, params=SamplingParams(logprobs=1)),
        "seed": Request(messages=messages, params=SamplingParams(seed=1)),
        "json_schema": Request(messages=messages, params=SamplingParams(json_schema="{}")),
        "regex": Request(messages=messages, params=SamplingParams(regex="a+")),
        "penalties": Request(messages=messages, params=SamplingParams(presence_penalty=1.0)),
        "logit_bias": Request(messages=messages, params=SamplingParams(logit_bias=((5, 1.0),))),
        "min_p": Request(messages=messages, params=SamplingParams(min_p=0.1)),
        "repetition_penalty": Request(
            messages=messages, params=SamplingParams(repetition_penalty=1.1)
        ),
        "ignore_eos": Request(messages=messages, params=SamplingParams(ignore_eos=True)),
    }
    events: list[Event] = []
    for capability, request in wanted.items():
        if not getattr(subject.engine.capabilities, capability):
            with pytest.raises(UnsupportedError, match=subject.engine.name):
                subject.engine.submit(request, events.append)
    assert events == []


@pytest.mark.parametrize("subject", MODELS, indirect=True)
def test_end_of_text_ends_the_answer(subject: Subject) -> None:
    params = SamplingParams(max_tokens=20)
    answer = subject.engine.generate(Request(prompt="abz", params=params))
    assert (answer.text, answer.finish_reason) == ("", "stop")
    assert answer.usage.completion_tokens <= 1


@pytest.mark.parametrize("subject", MODELS, indirect=True)
def test_ignore_eos(subject: Subject) -> None:
    params = SamplingParams(max_tokens=7, ignore_eos=True)
    answer = subject.engine.generate(Request(prompt="abz", params=params))
    assert (answer.text, answer.finish_reason) == (RECITED, "length")
    assert answer.usage.completion_tokens == 7


@pytest.mark.parametrize("subject", TAKE_IDS, indirect=True)
def test_token_ids_and_raw_prompts(subject: Subject) -> None:
    params = SamplingParams(max_tokens=12)
    raw = subject.engine.generate(Request(prompt="xyab", params=params))
    ids = subject.engine.generate(Request(token_ids=_ids("xyab", subject.model), params=params))
    assert raw.text == ids.text
    assert raw.text.startswith("c水abc水")
    assert raw.usage.prompt_tokens == ids.usage.prompt_tokens == 4


def _ids(text: str, folder: Path) -> tuple[int, ...]:
    return tuple(Tokenizer.load(folder).encode(text))


@pytest.mark.parametrize("subject", GIVE_LOGPROBS, indirect=True)
def test_logprobs(subject: Subject) -> None:
    params = SamplingParams(max_tokens=12, logprobs=3)
    answer = subject.engine.generate(Request(prompt="xyab", params=params))
    tokens = [t for t in answer.tokens if t.token_id is not None]
    assert len(tokens) == 12
    for token in tokens:
        assert token.logprob == pytest.approx(0, abs=1e-3)  # it is sure
        assert len(token.top) == 3
        assert token.top[0].token_id == token.token_id
        assert token.top[0].logprob >= token.top[1].logprob >= token.top[2].logprob
    only = SamplingParams(max_tokens=1, logprobs=0)
    assert subject.engine.generate(Request(prompt="xyab", params=only)).tokens[0].top == ()


@pytest.mark.parametrize("subject", GIVE_LOGPROBS, indirect=True)
def test_greedy_and_score(subject: Subject) -> None:
    prompt, recited = _ids("xyz", subject.model), _ids(RECITED, subject.model)
    tokens = [t.token_id for t in subject.engine.greedy(prompt, 7)]
    assert tokens[1:] == list(recited)  # after the end-of-text token
    scores = subject.engine.score(prompt[:2], recited, top_k=4)
    for score, token in zip(scores, recited, strict=True):
        assert score is not None
        assert score.logprob == pytest.approx(0, abs=1e-3)
        assert score.top[0].token_id == token
        assert len(score.top) == 4


@pytest.mark.parametrize("subject", TAKE_IDS, indirect=True)
def test_text_to_ids_and_back(subject: Subject) -> None:
    ids = subject.engine.encode("xyab水")
    assert tuple(ids) == _ids("xyab水", subject.model)
    assert subject.engine.decode(ids) == "xyab水"
    assert subject.engine.decode(ids[:-1]) == "xyab\ufffd"
    assert subject.engine.decode(subject.engine.encode("")) == ""
    end = Tokenizer.load(subject.model).turn_end
    assert subject.engine.decode([*ids, end]) == "xyab水<|im_end|>"
    for wrong in (-1, 10**6):
        with pytest.raises(UserError, match=r"^[^\n]*\.$"):
            subject.engine.decode([5, wrong])


@pytest.mark.parametrize("subject", ["dummy"], indirect=True)
def test_an_engine_without_tokens_says_so(subject: Subject) -> None:
    assert subject.engine.context is None
    with pytest.raises(UnsupportedError, match="'dummy' does not tell how it tokenises"):
        subject.engine.encode("hi")
    with pytest.raises(UnsupportedError, match="'dummy' does not tell how it tokenises"):
        subject.engine.decode([1])


def test_stats(subject: Subject) -> None:
    before = subject.engine.stats()
    assert (before.running, before.waiting) == (0, 0)
    done = threading.Event()
    inside: list[EngineStats] = []

    def on_event(event: Event) -> None:
        inside.append(subject.engine.stats())
        if isinstance(event, DoneEvent):
            done.set()

    subject.engine.submit(subject.request(), on_event)
    assert done.wait(TIMEOUT_S)
    assert (inside[0].running, inside[0].waiting) == (1, 0)
    after = inside[-1]  # with the last event it has ended already
    assert (after.running, after.waiting) == (0, 0)
    assert after.generated_tokens == before.generated_tokens + 30
    if after.kv_tokens_total is not None:
        assert inside[0].kv_tokens_used
        assert 0 < inside[0].kv_tokens_used <= after.kv_tokens_total
        assert after.kv_tokens_used == 0
        assert before.prefix_queries_tokens < after.prefix_queries_tokens
    assert after.prefix_hits_tokens <= after.prefix_queries_tokens


@pytest.mark.parametrize("subject", MODELS, indirect=True)
def test_a_full_context(subject: Subject) -> None:
    assert subject.engine.context == 256
    params = SamplingParams(max_tokens=1000)
    answer = subject.engine.generate(Request(prompt="a" * 250, params=params))
    assert answer.finish_reason == "length"
    assert answer.usage.completion_tokens == 6
    for request in (Request(prompt="a" * 256), Request(messages=(Message("user", "a" * 300),))):
        with pytest.raises(ContextOverflowError, match="256"):
            subject.engine.generate(request)


def test_bad_options_and_models_are_one_sentence(subject: Subject, tmp_path: Path) -> None:
    name = subject.engine.name
    with pytest.raises(UserError, match=f"'{name}' has no option 'colour'"):
        load_engine(name, subject.model, colour="red")
    if name == "dummy":
        return
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in subject.model.iterdir():
        if file.suffix in (".json", ".jinja"):
            (broken / file.name).write_bytes(file.read_bytes())
    (broken / "model.safetensors").write_bytes(b"truncated")
    for model in (tmp_path / "nowhere", tmp_path, broken):
        with pytest.raises(UserError) as caught:
            load_engine(name, model)
        sentence = str(caught.value)
        assert sentence.endswith(".")
        assert "\n" not in sentence
        assert str(model) in sentence


def test_close_twice_and_then_nothing_goes(subject: Subject) -> None:
    engine = load_engine(subject.engine.name, subject.model)
    inbox: queue.Queue[Event] = queue.Queue()
    engine.submit(subject.request(max_tokens=200), inbox.put)
    engine.close()
    engine.close()
    events = [inbox.get(timeout=TIMEOUT_S)]
    while not isinstance(events[-1], DoneEvent | ErrorEvent):
        events.append(inbox.get(timeout=TIMEOUT_S))
    with pytest.raises(AirustError, match=f"'{engine.name}' is closed"):
        engine.generate(subject.request())


def test_the_registry_knows_its_capabilities(subject: Subject) -> None:
    assert BUILT_INS[subject.engine.name].capabilities == subject.engine.capabilities
