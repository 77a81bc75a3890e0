"""What holds for every engine, whatever runs behind it.

Each test takes every installed engine, plug-ins included, that has the capabilities it needs.
They all load the same two small checkpoints: one that recites, so that every token is known
beforehand, and one of random weights, so that its probabilities say something.
"""

from __future__ import annotations

import asyncio
import gc
import json
import queue
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

from airust.engines.base import Capabilities, Engine, EngineStats, Handle
from airust.engines.registry import BUILT_INS, engine_class, list_engines, load_engine
from airust.gpt.checkpoint import load_model
from airust.gpt.model import GPT
from airust.gpt.sampling import penalise_repetition
from airust.gpt.tokenizer import Tokenizer
from airust.types import (
    Completion,
    ContextOverflowError,
    DoneEvent,
    EngineError,
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
from tests.engines.conftest import served

TIMEOUT_S = 60
MANY = 16  # requests at once
ECHO = "dummy"  # its tokens are words: no model, no logprobs, no end of text


def _capabilities() -> dict[str, Capabilities]:
    """Of every engine that is built in or installed."""
    infos = list_engines()
    return {i.name: i.capabilities or engine_class(i.name).capabilities for i in infos}


CAPABILITIES = _capabilities()
MODELS = [name for name in CAPABILITIES if name != ECHO]
REMOTE = {engine.name for engine in list_engines() if engine.remote}


def able(*wanted: str, fixture: str = "subject") -> pytest.MarkDecorator:
    """Every engine that runs a model and has all these capabilities."""
    names = [name for name in MODELS if all(getattr(CAPABILITIES[name], w) for w in wanted)]
    return pytest.mark.parametrize(fixture, names, indirect=True)


@dataclass
class Subject:
    """An engine and the model that it runs."""

    engine: Engine
    model: Path
    source: str | Path  # what the engine was loaded from: the model, or where a server has it

    def request(self, max_tokens: int = 30, **params: Any) -> Request:
        """The reciter's answer begins with RECITED, over and over."""
        text = f"{RECITED} " * 300 if self.engine.name == ECHO else "Recite."
        wanted = SamplingParams(max_tokens=max_tokens, **params)
        return Request(messages=(Message("user", text),), params=wanted)

    def ask(self, prompt: str, max_tokens: int = 12, **params: Any) -> Completion:
        """Go on from raw text."""
        wanted = SamplingParams(max_tokens=max_tokens, **params)
        return self.engine.generate(Request(prompt=prompt, params=wanted))

    def ids(self, text: str) -> tuple[int, ...]:
        return tuple(Tokenizer.load(self.model).encode(text))


def _load(name: str, model: Path) -> Iterator[Subject]:
    info = next(engine for engine in list_engines() if engine.name == name)
    if not info.available:
        pytest.skip(f"not installed: {', '.join(info.missing)}")
    with served(name, model) as source, load_engine(name, source) as engine:
        yield Subject(engine, model, source)


@pytest.fixture(scope="module", params=list(CAPABILITIES))
def subject(request: pytest.FixtureRequest, reciter_dir: Path) -> Iterator[Subject]:
    """The engine with the model that recites."""
    yield from _load(request.param, reciter_dir)


@pytest.fixture(scope="module", params=MODELS)
def random(request: pytest.FixtureRequest, model_dir: Path) -> Iterator[Subject]:
    """The engine with the model of random weights."""
    yield from _load(request.param, model_dir)


def collect(engine: Engine, request: Request) -> list[Event]:
    """All events of a request, and whatever still comes after the last."""
    inbox: queue.Queue[Event] = queue.Queue()
    engine.submit(request, inbox.put)
    events = _until_the_end(inbox)
    engine.generate(request)  # time for a superfluous event to arrive
    return events + list(inbox.queue)


def _until_the_end(inbox: queue.Queue[Event]) -> list[Event]:
    events = [inbox.get(timeout=TIMEOUT_S)]
    while not isinstance(events[-1], DoneEvent | ErrorEvent):
        events.append(inbox.get(timeout=TIMEOUT_S))
    return events


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Call all, each in a thread of its own, and wait; the results in the same order."""
    results: list[Any] = [None] * len(calls)

    def call(i: int) -> None:
        results[i] = calls[i]()

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    return results


# Text and its end


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
    assert text.startswith(RECITED * 3)


def test_stream_and_generate_and_astream_agree(subject: Subject) -> None:
    request = subject.request()

    async def all_pieces() -> str:
        events = subject.engine.astream(request)
        return "".join([e.text async for e in events if isinstance(e, TokenEvent)])

    text = subject.engine.generate(request).text
    assert "".join(subject.engine.stream(request)) == text
    assert asyncio.run(all_pieces()) == text


def test_characters_are_never_split(subject: Subject) -> None:
    """水 is three tokens, 🦀 four."""
    pieces = list(subject.engine.stream(subject.request(max_tokens=40)))
    assert "\ufffd" not in "".join(pieces)
    assert len(pieces) > 5


@able()
@pytest.mark.parametrize(
    ("tokens", "whole", "broken"), [(2, "", 2), (3, "水", 0), (6, "水", 3), (12, RECITED, 2)]
)
def test_a_character_cut_by_the_limit_is_marked(
    subject: Subject, tokens: int, whole: str, broken: int
) -> None:
    text = subject.engine.generate(subject.request(max_tokens=tokens)).text
    assert text.rstrip("\ufffd") == whole
    # Some decoders print one mark for each byte, others one for the character.
    assert 0 < text.count("\ufffd") <= broken or broken == text.count("\ufffd") == 0


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


@able("token_ids")
def test_usage_is_what_the_tokenizer_counts(subject: Subject) -> None:
    tokenizer = Tokenizer.load(subject.model)
    request = subject.request(max_tokens=24)
    usage = subject.engine.generate(request).usage
    assert usage.prompt_tokens == len(tokenizer.encode_chat(request.messages or ()))
    assert usage.completion_tokens == 24
    for prompt in ("xyab", "水🦀" * 9, "a\0b"):
        assert subject.ask(prompt).usage.prompt_tokens == len(tokenizer.encode(prompt))
    for stop in ("b", "🦀a", "c水"):  # the token that completes the stop string was generated
        until = RECITED * 2
        end = until.index(stop) + len(stop)
        answer = subject.engine.generate(subject.request(stop=(stop,)))
        assert answer.usage.completion_tokens == len(tokenizer.encode(until[:end]))


@able("raw_prompt")
def test_a_first_space_stays(subject: Subject) -> None:
    asked = {"logprobs": 0} if subject.engine.capabilities.logprobs else {}
    assert subject.ask("x", max_tokens=11, **asked).text == f" {RECITED}"


@able("raw_prompt")
def test_end_of_text_ends_the_answer(subject: Subject) -> None:
    answer = subject.ask("abz", max_tokens=20)
    assert (answer.text, answer.finish_reason) == ("", "stop")
    assert answer.usage.completion_tokens <= 1


@able("raw_prompt", "ignore_eos")
def test_ignore_eos(subject: Subject) -> None:
    answer = subject.ask("abz", max_tokens=11, ignore_eos=True)
    assert (answer.text, answer.finish_reason) == (RECITED, "length")
    assert answer.usage.completion_tokens == 11


@able("raw_prompt")
def test_a_full_context(subject: Subject) -> None:
    assert subject.engine.context == 256
    answer = subject.ask("a" * 250, max_tokens=1000)
    assert answer.finish_reason == "length"
    assert answer.usage.completion_tokens == 6
    for request in (Request(prompt="a" * 256), Request(messages=(Message("user", "a" * 300),))):
        with pytest.raises(ContextOverflowError, match="256"):
            subject.engine.generate(request)


@able("token_ids")
def test_token_ids_and_raw_prompts(subject: Subject) -> None:
    raw = subject.ask("xyab")
    params = SamplingParams(max_tokens=12)
    ids = subject.engine.generate(Request(token_ids=subject.ids("xyab"), params=params))
    assert raw.text == ids.text
    assert raw.text.startswith("c水🦀abc")
    assert raw.usage.prompt_tokens == ids.usage.prompt_tokens == 4


@able("token_ids")
def test_text_to_ids_and_back(subject: Subject) -> None:
    ids = subject.engine.encode("xyab水")
    assert tuple(ids) == subject.ids("xyab水")
    assert subject.engine.decode(ids) == "xyab水"
    assert subject.engine.decode(ids[:-1]) == "xyab\ufffd"
    assert subject.engine.decode(subject.engine.encode("")) == ""
    end = Tokenizer.load(subject.model).turn_end
    assert subject.engine.decode([*ids, end]) == "xyab水<|im_end|>"
    for wrong in (-1, 10**6):
        with pytest.raises(UserError, match=r"^[^\n]*\.$"):
            subject.engine.decode([5, wrong])


@pytest.mark.parametrize("subject", [ECHO], indirect=True)
def test_an_engine_without_tokens_says_so(subject: Subject) -> None:
    assert subject.engine.context is None
    with pytest.raises(UnsupportedError, match="'dummy' does not tell how it tokenises"):
        subject.engine.encode("hi")
    with pytest.raises(UnsupportedError, match="'dummy' does not tell how it tokenises"):
        subject.engine.decode([1])


# Which token comes next


@able("raw_prompt", fixture="random")
def test_greedy_is_deterministic_alone_and_among_others(random: Subject) -> None:
    prompts = [sentence * 2 for sentence in ("What is rain? ", "Rust has ", "水为什么", "3 + 4 = ")]
    alone = [random.ask(prompt).text for prompt in prompts]
    assert [random.ask(prompt).text for prompt in prompts] == alone
    calls = [lambda p=prompt: random.ask(p).text for prompt in prompts * 2]
    assert at_once(calls) == alone * 2


@able("raw_prompt", fixture="random")
@pytest.mark.parametrize("filtered", [{"top_k": 1}, {"top_p": 1e-9}, {"min_p": 0.999999}])
def test_filters_that_leave_one_token_are_greedy(
    random: Subject, filtered: dict[str, float]
) -> None:
    if not all(getattr(random.engine.capabilities, name, True) for name in filtered):
        return
    prompt = "What is the capital of France?"
    assert random.ask(prompt, temperature=1.5, **filtered).text == random.ask(prompt).text


@able("raw_prompt", fixture="random")
def test_a_temperature_makes_a_difference(random: Subject) -> None:
    assert len({random.ask("Rain falls", temperature=1.5).text for _ in range(4)}) > 1


@able("raw_prompt", "seed", fixture="random")
def test_the_same_seed_gives_the_same_text(random: Subject) -> None:
    def ask(seed: int) -> str:
        return random.ask("Rain falls", temperature=1.0, top_p=0.95, seed=seed).text

    texts = {seed: ask(seed) for seed in range(4)}
    assert len(set(texts.values())) > 1
    for seed in (-1, 2**64 + 1):  # any whole number is a seed
        assert ask(seed) == ask(seed)
    calls = [lambda s=seed: ask(s) for seed in (*texts, *texts)]
    assert at_once(calls) == [*texts.values(), *texts.values()]  # whatever else runs


@pytest.fixture(scope="module")
def gpt(model_dir: Path) -> GPT:
    """The judge: no cache, no batch, no code in common with an engine."""
    return load_model(model_dir)


@torch.inference_mode()
def _next(gpt: GPT, ids: Sequence[int]) -> torch.Tensor:
    logits: torch.Tensor = gpt(torch.tensor([list(ids)]))
    return logits[0, -1].float()


@able("token_ids", "logprobs", fixture="random")
def test_logprobs_are_those_of_the_model_at_every_position(random: Subject, gpt: GPT) -> None:
    so_far = list(random.ids("The capital of Japan is"))
    answer = random.ask("The capital of Japan is", max_tokens=24, logprobs=5, ignore_eos=True)
    tokens = [token for token in answer.tokens if token.token_id is not None]
    assert len(tokens) == 24
    for token in tokens:
        logprobs = _next(gpt, so_far).log_softmax(-1)
        likeliest = logprobs.topk(5)
        assert token.token_id == likeliest.indices[0]
        assert token.logprob == pytest.approx(float(likeliest.values[0]), abs=1e-4)
        assert [t.token_id for t in token.top] == likeliest.indices.tolist()
        assert [t.logprob for t in token.top] == pytest.approx(likeliest.values.tolist(), abs=1e-4)
        so_far.append(token.token_id)


@able("token_ids", "logprobs")
def test_as_many_alternatives_as_asked_for(subject: Subject) -> None:
    answer = subject.ask("xyab", logprobs=3)
    tokens = [t for t in answer.tokens if t.token_id is not None]
    assert len(tokens) == 12  # also those whose text is held back
    for token in tokens:
        assert token.logprob == pytest.approx(0, abs=1e-3)  # it is sure
        assert len(token.top) == 3
        assert token.top[0].token_id == token.token_id
        assert token.top[0].logprob >= token.top[1].logprob >= token.top[2].logprob
    assert subject.ask("xyab", max_tokens=1, logprobs=0).tokens[0].top == ()


@able("token_ids", "logprobs", "ignore_eos")
def test_greedy_and_score(subject: Subject) -> None:
    prompt, recited = subject.ids("xyz"), subject.ids(RECITED)
    tokens = [t.token_id for t in subject.engine.greedy(prompt, 11)]
    assert tokens[1:] == list(recited)  # after the end-of-text token
    scores = subject.engine.score(prompt[:2], recited, top_k=4)
    for score, token in zip(scores, recited, strict=True):
        assert score is not None
        assert score.logprob == pytest.approx(0, abs=1e-3)
        assert score.top[0].token_id == token
        assert len(score.top) == 4


def _penalised(gpt: GPT, prompt: Sequence[int], params: SamplingParams) -> list[int]:
    """Greedy tokens by the definitions in airust.types, one after another."""
    generated: list[int] = []
    for _ in range(params.max_tokens):
        logits = _next(gpt, [*prompt, *generated])
        seen = torch.zeros(len(logits), dtype=torch.bool)
        seen[[*prompt, *generated]] = True
        logits = penalise_repetition(logits, seen, params.repetition_penalty)
        for token in set(generated):
            times = generated.count(token)
            logits[token] -= params.presence_penalty + params.frequency_penalty * times
        for token, bias in params.logit_bias:
            logits[token] += bias
        generated.append(int(logits.argmax()))
    return generated


@able("raw_prompt", "repetition_penalty", "ignore_eos", fixture="random")
@pytest.mark.parametrize("penalty", [1.2, 3.0, 0.8])
def test_repetition_penalty(random: Subject, gpt: GPT, penalty: float) -> None:
    _check_penalised(random, gpt, SamplingParams(repetition_penalty=penalty))


@able("raw_prompt", "penalties", "ignore_eos", fixture="random")
@pytest.mark.parametrize("penalties", [(1.5, 0.0), (0.0, 2.0), (-1.0, 1.0), (-2.0, -2.0)])
def test_presence_and_frequency_penalties(
    random: Subject, gpt: GPT, penalties: tuple[float, float]
) -> None:
    presence, frequency = penalties
    params = SamplingParams(presence_penalty=presence, frequency_penalty=frequency)
    _check_penalised(random, gpt, params)


@able("raw_prompt", "logit_bias", "ignore_eos", fixture="random")
def test_logit_bias(random: Subject, gpt: GPT) -> None:
    (dot,), (likeliest, *_) = (
        random.ids("."),
        _penalised(gpt, random.ids(PENALISED), SamplingParams(max_tokens=1)),
    )
    for bias in (((dot, 100.0),), ((likeliest, -100.0),), ((dot, 2.0), (likeliest, -3.5))):
        _check_penalised(random, gpt, SamplingParams(logit_bias=bias))
    assert random.ask(PENALISED, max_tokens=3, logit_bias=((dot, 100.0),)).text == "..."
    for wrong in (-1, 10**6):
        with pytest.raises(UserError, match="vocabulary"):
            random.ask(PENALISED, logit_bias=((dot, 1.0), (wrong, 1.0)))


PENALISED = "What is the capital of France? The capital of France is"  # has what it repeats


def _check_penalised(random: Subject, gpt: GPT, params: SamplingParams) -> None:
    params = replace(params, max_tokens=24, ignore_eos=True)
    answer = random.engine.generate(Request(prompt=PENALISED, params=params))
    expected = _penalised(gpt, random.ids(PENALISED), params)
    ids = [token.token_id for token in answer.tokens if token.token_id is not None]
    if len(ids) == len(expected):
        assert ids == expected
    else:  # an engine that tells only text
        assert answer.text == Tokenizer.load(random.model).decode(expected)


# Grammars


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "legs": {"type": "integer", "minimum": 0, "maximum": 8},
        "tame": {"type": "boolean"},
    },
    "required": ["name", "legs", "tame"],
    "additionalProperties": False,
}


@able("raw_prompt", "json_schema", fixture="random")
def test_what_ends_by_itself_validates(random: Subject) -> None:
    schema = json.dumps(SCHEMA)
    calls = [
        lambda t=temperature: random.ask(
            "An animal:", max_tokens=150, json_schema=schema, temperature=t
        )
        for temperature in (0.0, 0.7, 1.0, 1.0, 1.5, 1.5)
    ]
    for answer in at_once(calls):
        assert answer.finish_reason == "stop"
        jsonschema.validate(json.loads(answer.text), SCHEMA)
        assert '": ' not in answer.text  # small models loop on white space
    assert len({answer.text for answer in at_once(calls)}) > 2


@able("raw_prompt", "json_schema", fixture="random")
def test_what_is_cut_says_so(random: Subject) -> None:
    answer = random.ask("An animal:", max_tokens=5, json_schema=json.dumps(SCHEMA))
    assert (answer.finish_reason, answer.usage.completion_tokens) == ("length", 5)
    assert answer.text.startswith('{"')
    # A list without end, and the text up to where it was cut.
    schema = json.dumps({"type": "array", "items": {"const": 7}, "minItems": 400})
    answer = random.ask("Seven:", max_tokens=20, json_schema=schema)
    assert answer.finish_reason == "length"
    assert ("[" + "7," * 20).startswith(answer.text)


@able("raw_prompt", "regex", fixture="random")
def test_what_ends_by_itself_matches(random: Subject) -> None:
    for regex, temperature in (("[0-9]{3}-(水|rain)", 1.0), ("(yes|no)!", 0.0), ("^a{3,5}$", 1.5)):
        answer = random.ask("Well,", regex=regex, temperature=temperature)
        assert answer.finish_reason == "stop"
        assert re.fullmatch(regex, answer.text)


@able("raw_prompt", "regex")
def test_the_end_is_the_models_choice_where_the_grammar_leaves_it(subject: Subject) -> None:
    """The model goes on with "b" after "a", and ends after "z"."""
    assert subject.ask("a", regex="bc?").text == "bc"
    assert subject.ask("z", regex="a?").text == ""
    assert subject.ask("xya", regex="(bc水)*").text == "bc水"


@able("raw_prompt", "regex", "seed", fixture="random")
def test_a_grammar_and_a_seed(random: Subject) -> None:
    texts = [
        random.ask("Well,", regex="[a-z]{12}", temperature=1.0, seed=seed).text
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


@able("raw_prompt", "regex", "logprobs", "token_ids", fixture="random")
def test_logprobs_are_the_models_own_whatever_shapes_the_answer(random: Subject, gpt: GPT) -> None:
    so_far = list(random.ids("Well,"))
    try:
        answer = random.ask("Well,", regex="[0-9]{4}", logprobs=2)
    except UnsupportedError:
        return  # refused because it could not keep this promise
    tokens = [token for token in answer.tokens if token.token_id is not None]
    assert len(tokens) == 4
    for token in tokens:
        logprobs = _next(gpt, so_far).log_softmax(-1)
        assert token.token_id is not None
        assert token.logprob == pytest.approx(float(logprobs[token.token_id]), abs=1e-4)
        assert [t.token_id for t in token.top] == logprobs.topk(2).indices.tolist()
        so_far.append(token.token_id)


@able("raw_prompt", "json_schema")
@pytest.mark.parametrize(
    "params",
    [
        {"json_schema": "{"},
        {"json_schema": "[]"},
        {"json_schema": '{"$ref": "#/nowhere"}'},
        {"json_schema": '{"not": {"type": "string"}}'},
        {"regex": "(["},
        {"regex": r"(a)\1"},
    ],
)
def test_a_bad_grammar_is_refused_before_any_event(
    subject: Subject, params: dict[str, str]
) -> None:
    if "regex" in params and not subject.engine.capabilities.regex:
        return
    if BUILT_INS[subject.engine.name].remote:  # it is the server that refuses
        return
    events: list[Event] = []
    with pytest.raises(UserError, match=r"^The (JSON schema|regular expression) [^\n]*\.$"):
        subject.engine.submit(subject.request(**params), events.append)
    assert subject.engine.generate(subject.request(max_tokens=3)).usage.completion_tokens == 3
    assert events == []


# Trimming


@able("trim")
def test_old_turns_are_left_out_if_asked(subject: Subject) -> None:
    turns = [
        Message(role, f"{role} {i} " + "abc " * 9)
        for i in range(9)
        for role in ("user", "assistant")
    ]
    system, question = Message("system", "Recite."), Message("user", "Go on.")
    params = SamplingParams(max_tokens=40)
    request = Request(messages=(system, *turns, question), params=params)
    with pytest.raises(ContextOverflowError):
        subject.engine.generate(request)
    answer = subject.engine.generate(replace(request, overflow="trim"))
    usage = answer.usage
    assert (answer.finish_reason, usage.completion_tokens) == ("length", 40)
    assert usage.prompt_tokens + 40 <= 256
    assert usage.trimmed_messages % 2 == 0
    assert 0 < usage.trimmed_messages < len(turns)
    assert usage.trimmed_tokens > 256
    left = (system, *turns[usage.trimmed_messages :], question)
    same = subject.engine.generate(Request(messages=left, params=params))
    assert (same.text, same.usage.prompt_tokens) == (answer.text, usage.prompt_tokens)
    assert (same.usage.trimmed_messages, same.usage.trimmed_tokens) == (0, 0)
    long = Request(messages=(system, Message("user", "a" * 300)), params=params, overflow="trim")
    with pytest.raises(ContextOverflowError, match="256"):
        subject.engine.generate(long)


@able("trim", "token_ids")
def test_the_oldest_tokens_are_left_out_if_asked(subject: Subject) -> None:
    params = SamplingParams(max_tokens=40)
    ids = subject.ids("xy" * 200 + "ab")
    for request in (Request(prompt="xy" * 200 + "ab"), Request(token_ids=ids)):
        with pytest.raises(ContextOverflowError):
            subject.engine.generate(request)
        answer = subject.engine.generate(replace(request, params=params, overflow="trim"))
        usage = answer.usage
        assert usage.prompt_tokens == 216
        assert (usage.trimmed_messages, usage.trimmed_tokens) == (0, len(ids) - 216)
        assert usage.completion_tokens == 40
        assert answer.text.startswith("c水")


@able("raw_prompt", "trim")
def test_a_text_may_be_cut_in_the_middle_of_a_character(subject: Subject) -> None:
    """水 is three tokens; an engine that takes only text begins at the next character."""
    params = SamplingParams(max_tokens=40)
    for before in ("", "x", "xy"):
        text = before + "水" * 90
        answer = subject.engine.generate(Request(prompt=text, params=params, overflow="trim"))
        usage = answer.usage
        assert 214 <= usage.prompt_tokens <= 216
        assert usage.prompt_tokens + usage.trimmed_tokens == len(subject.ids(text))
        assert answer.text.startswith("🦀abc")


# Cancelling


def test_cancel_from_another_thread_stops_at_the_next_token(subject: Subject) -> None:
    inbox: queue.Queue[Event] = queue.Queue()
    first, cancelled = threading.Event(), threading.Event()

    def on_event(event: Event) -> None:
        inbox.put(event)
        first.set()
        assert cancelled.wait(TIMEOUT_S)

    handle = subject.engine.submit(subject.request(max_tokens=200), on_event)
    assert first.wait(TIMEOUT_S)
    handle.cancel()
    handle.cancel()  # safe to repeat
    cancelled.set()
    *tokens, done = _until_the_end(inbox)
    assert isinstance(done, DoneEvent)
    assert done.finish_reason == "cancelled"
    assert len(tokens) <= 3  # the first, and what was on its way
    handle.cancel()  # and after the end


def test_cancel_from_the_callback(subject: Subject) -> None:
    inbox: queue.Queue[Event] = queue.Queue()
    submitted = threading.Event()

    def on_event(event: Event) -> None:
        submitted.wait(TIMEOUT_S)
        handle.cancel()  # at the first event, before the next token; and again at every other
        inbox.put(event)

    handle = subject.engine.submit(subject.request(max_tokens=200), on_event)
    submitted.set()
    done = _until_the_end(inbox)[-1]
    assert isinstance(done, DoneEvent)
    assert done.finish_reason == "cancelled"
    assert done.usage.completion_tokens < 200


def test_leaving_the_loop_cancels_and_the_engine_goes_on(subject: Subject) -> None:
    text = subject.engine.generate(subject.request()).text
    for _ in range(3):
        events = subject.engine.events(subject.request(max_tokens=200))
        next(events)
        events.close()
    assert subject.engine.generate(subject.request()).text == text


def test_nothing_leaks_after_200_cancels(subject: Subject) -> None:
    """Threads, slots, the requests themselves: whatever a request holds it gives back."""
    alone = subject.engine.generate(subject.request()).text
    threads = threading.active_count()
    requests: list[weakref.ref[Handle]] = []
    for number in range(200):
        inbox: queue.Queue[Event] = queue.Queue()
        handle = subject.engine.submit(subject.request(max_tokens=200), inbox.put)
        requests.append(weakref.ref(handle))
        if number % 2:  # one that runs; the others may not even have begun
            inbox.get(timeout=TIMEOUT_S)
        handle.cancel()
        del handle
    calls = [lambda: subject.engine.generate(subject.request()).text] * MANY
    assert at_once(calls) == [alone] * MANY
    _wait_for(lambda: subject.engine.stats().running == subject.engine.stats().waiting == 0)
    # A pool of threads may have grown to its size, and each of them may still have the last
    # request at hand while it waits for the next; nothing may grow with every request.
    assert threading.active_count() < threads + 50
    gc.collect()
    assert sum(request() is not None for request in requests) < 50


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Many at once, closing


def test_many_requests_at_once(subject: Subject) -> None:
    alone = {n: subject.engine.generate(subject.request(max_tokens=n)).text for n in range(5, 9)}
    calls = [
        lambda n=5 + i % 4: subject.engine.generate(subject.request(max_tokens=n)).text
        for i in range(MANY)
    ]
    assert at_once(calls) == [alone[5 + i % 4] for i in range(MANY)]


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


def test_closing_while_busy_ends_every_request(subject: Subject) -> None:
    engine = load_engine(subject.engine.name, subject.source)
    inboxes: list[queue.Queue[Event]] = [queue.Queue() for _ in range(2 * MANY)]
    for inbox in inboxes:
        engine.submit(subject.request(max_tokens=200), inbox.put)
    inboxes[0].get(timeout=TIMEOUT_S)  # it is in full swing
    engine.close()
    engine.close()
    for inbox in inboxes:
        _until_the_end(inbox)
    for use in (
        engine.generate,
        lambda r: list(engine.stream(r)),
        lambda r: engine.submit(r, print),
    ):
        with pytest.raises(EngineError, match=f"'{engine.name}' is closed"):
            use(subject.request())
    if engine.capabilities.token_ids and engine.capabilities.logprobs:
        for ask in (lambda: engine.score([5], [6]), lambda: engine.greedy([5], 2)):
            with pytest.raises(EngineError, match=f"'{engine.name}' is closed"):
                ask()


def test_closing_from_a_callback(subject: Subject) -> None:
    engine = load_engine(subject.engine.name, subject.source)
    inbox: queue.Queue[Event] = queue.Queue()

    def on_event(event: Event) -> None:
        engine.close()
        inbox.put(event)

    engine.submit(subject.request(max_tokens=200), on_event)
    _until_the_end(inbox)
    with pytest.raises(EngineError, match="is closed"):
        engine.generate(subject.request())


# Refusing


def test_what_it_cannot_do_is_refused_before_any_event(subject: Subject) -> None:
    messages = (Message("user", "hi"),)
    wanted = {
        "chat": Request(messages=messages),
        "raw_prompt": Request(prompt="hi"),
        "token_ids": Request(token_ids=(5, 6)),
        "trim": Request(messages=messages, overflow="trim"),
    }
    asked: dict[str, dict[str, Any]] = {
        "logprobs": {"logprobs": 1},
        "seed": {"seed": 1},
        "json_schema": {"json_schema": "{}"},
        "regex": {"regex": "a+"},
        "penalties": {"presence_penalty": 1.0},
        "logit_bias": {"logit_bias": ((5, 1.0),)},
        "top_k": {"top_k": 5},
        "min_p": {"min_p": 0.1},
        "repetition_penalty": {"repetition_penalty": 1.1},
        "ignore_eos": {"ignore_eos": True},
    }
    for capability, values in asked.items():
        wanted[capability] = Request(messages=messages, params=SamplingParams(**values))
    events: list[Event] = []
    for capability, request in wanted.items():
        if not getattr(subject.engine.capabilities, capability):
            with pytest.raises(UnsupportedError, match=subject.engine.name):
                subject.engine.submit(request, events.append)
    assert events == []


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": (Message("user", "half: \ud83e"),)},
        {"prompt": "half: \ud83e"},
        {"messages": (Message("user", "hi"),), "params": SamplingParams(stop=("\udd80",))},
    ],
)
def test_half_a_surrogate_pair_is_refused(subject: Subject, fields: dict[str, Any]) -> None:
    """Text that UTF-8 has no bytes for; all engines say the same."""
    if "prompt" in fields and not subject.engine.capabilities.raw_prompt:
        return
    with pytest.raises(UserError, match="not valid Unicode: it holds a lone surrogate"):
        subject.engine.submit(Request(**fields), lambda event: None)


@able("token_ids")
def test_token_ids_outside_the_vocabulary(subject: Subject) -> None:
    for wrong in (-1, 10**6, 2**40):
        with pytest.raises(UserError, match=r"^[^\n]*\.$"):
            subject.engine.generate(Request(token_ids=(5, wrong)))


def test_bad_options_and_models_are_one_sentence(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = subject.engine.name
    if name == "openai":  # a model's name is one at this server
        monkeypatch.setenv("OPENAI_BASE_URL", str(subject.source))
    with pytest.raises(UserError, match=f"'{name}' has no option 'colour'"):
        load_engine(name, subject.source, colour="red")
    if name == ECHO:
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


@pytest.mark.parametrize("subject", list(BUILT_INS), indirect=True)
def test_the_registry_knows_its_capabilities(subject: Subject) -> None:
    assert BUILT_INS[subject.engine.name].capabilities == subject.engine.capabilities
