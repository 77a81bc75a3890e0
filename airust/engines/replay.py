"""Replay: does the same answer come again?

A capsule (``airust.engines.capsule``) holds one answer. To replay it is to run its request in an
engine, the same or another, and to say how far the two answers go together:

* greedy, token by token, in every engine: the likeliest token is a property of the model;
* sampled, token by token, in engines that share a sampler, because the same seed then gives the
  same random numbers (torch, transformers and llamacpp share ``airust.gpt.sampling``);
* otherwise teacher-forced: the engine tells the logprob of each token of the capsule, given those
  before it. That compares the models and leaves the random numbers out.

What is near enough, and when two tokens are tied, is as in ``airust.engines.parity``.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from airust.engines.base import Engine
from airust.engines.capsule import Capsule, Recording
from airust.engines.parity import TOLERANCE, TOP_K, first_difference, gap_between
from airust.engines.registry import list_engines, parse_spec
from airust.gpt.fingerprint import vocabulary_sha256, weights_sha256
from airust.types import (
    EngineError,
    Message,
    Request,
    SamplingParams,
    TopLogprob,
    UnsupportedError,
    UserError,
)

ALTERNATIVES = 5  # likeliest tokens kept at each position
SEEDS = 2**32
Mode = Literal["replayed", "teacher-forced"]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first position at which two answers part."""

    position: int  # number of the generated token, from 0
    expected: int | None  # token id in the capsule; None where its answer ended
    got: int | None  # token id of the replay; None where its answer ended
    gap: float | None  # nats between the two in the capsule; None if it does not list both
    tied: bool  # greedy, and the gap is within twice the measured |delta logprob|
    recorded_top: tuple[TopLogprob, ...]
    replayed_top: tuple[TopLogprob, ...]


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """How far an engine's answer agrees with a capsule's. Logprobs are natural logarithms."""

    engine: str
    engine_version: str | None
    settings: dict[str, object]
    mode: Mode
    because: str  # why the mode is teacher-forced; empty if replayed
    match: bool  # the same tokens and the same end; teacher-forced: all logprobs within TOLERANCE
    tokens: int  # in the capsule's answer
    compared: int  # positions whose logprobs were compared
    max_delta: float | None  # the largest |delta logprob| over them
    difference: Difference | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


# Record


def record(
    engine: Engine,
    model: Path,
    messages: Sequence[Message],
    params: SamplingParams,
    spec: str | None = None,
) -> Capsule:
    """Ask an engine and keep the answer. A sampled one without a seed is given one.

    Args:
        model: the folder or GGUF file that the engine has loaded.
        spec: how the engine was asked for, with options; its name if not given.

    Raises:
        UnsupportedError: the engine takes no token ids, gives no logprobs, or lacks what the
            parameters ask for.
        EngineError: it does not report every token by its id.
    """
    if params.temperature and params.seed is None and engine.capabilities.seed:
        params = replace(params, seed=secrets.randbelow(SEEDS))
    params = replace(params, logprobs=ALTERNATIVES)
    ids = _prompt_ids(model, messages)
    return Capsule(
        model=model.resolve().name,
        weights_sha256=weights_sha256(model),
        vocabulary_sha256=vocabulary_sha256(model),
        messages=tuple(messages),
        prompt_ids=tuple(ids),
        params=params,
        recording=_record(engine, spec or engine.name, ids, params),
    )


def _prompt_ids(model: Path, messages: Sequence[Message]) -> list[int]:
    if model.is_file():
        from airust.gpt.gguf import load_gguf_tokenizer

        return load_gguf_tokenizer(model).encode_chat(messages)
    from airust.engines.model_tokenizer import ModelTokenizer

    return ModelTokenizer.load(model).encode_chat(messages)


def _record(engine: Engine, spec: str, ids: Sequence[int], params: SamplingParams) -> Recording:
    answer = engine.generate(Request(token_ids=tuple(ids), params=params))
    tokens = tuple(token for token in answer.tokens if token.token_id is not None)
    ended = answer.finish_reason == "stop"
    # The token that ends a text counts, but need not be reported.
    if not len(tokens) <= answer.usage.completion_tokens <= len(tokens) + ended:
        raise EngineError(f"The engine '{engine.name}' does not report every token by its id.")
    everything = [*ids, *(token.token_id for token in tokens if token.token_id is not None)]
    recording = Recording(
        engine=spec,
        engine_version=_version(spec),
        settings=engine.settings,
        sampler=engine.sampler or engine.name,
        text=answer.text,
        finish_reason=answer.finish_reason,
        tokens=tokens,
        end_top=_top_after(engine, everything) if ended else (),
    )
    _check_numbers(engine, recording)
    return recording


def _top_after(engine: Engine, ids: Sequence[int]) -> tuple[TopLogprob, ...]:
    try:
        (score,) = engine.score(ids, [ids[-1]], ALTERNATIVES)
    except UserError:  # the engine cannot go on from these
        return ()
    return () if score is None else score.top[:ALTERNATIVES]


def _version(spec: str) -> str | None:
    name, _ = parse_spec(spec)
    return next((engine.version for engine in list_engines() if engine.name == name), None)


def _check_numbers(engine: Engine, recording: Recording) -> None:
    """JSON has no infinity, and a comparison no use for it."""
    alternatives = [top.logprob for token in recording.tokens for top in token.top]
    for logprob in [*(token.logprob for token in recording.tokens), *alternatives]:
        if logprob is None or not math.isfinite(logprob):
            raise EngineError(f"The engine '{engine.name}' gives the logprob {logprob}.")


# Replay


def check_model(capsule: Capsule, model: Path, any_weights: bool = False) -> None:
    """Refuse a model that the capsule is not about.

    Raises:
        UserError: its vocabulary, or unless ``any_weights`` its weights, are other ones.
    """
    vocabulary = vocabulary_sha256(model)
    if vocabulary != capsule.vocabulary_sha256:
        raise UserError(
            f"The capsule's token ids mean nothing to '{model}', whose vocabulary has the SHA-256 "
            f"{vocabulary} and not {capsule.vocabulary_sha256}."
        )
    weights = weights_sha256(model)
    if weights != capsule.weights_sha256 and not any_weights:
        raise UserError(
            f"The capsule was made with weights of the SHA-256 {capsule.weights_sha256}, but those "
            f"of '{model}' have {weights}; --any-weights compares them all the same."
        )


def replay(capsule: Capsule, engine: Engine, spec: str | None = None) -> ReplayReport:
    """Ask an engine for the capsule's answer and compare.

    Args:
        engine: has loaded the capsule's model, see ``check_model``.
        spec: how the engine was asked for, with options; its name if not given.

    Raises:
        UnsupportedError: the engine takes no token ids or gives no logprobs.
    """
    spec, because = spec or engine.name, _why_not(capsule, engine)
    if not because:
        try:
            again = _record(engine, spec, capsule.prompt_ids, capsule.params)
        except (UnsupportedError, EngineError) as error:
            because = str(error)
        else:
            return _compare(capsule, again)
    return _teacher_forced(capsule, engine, spec, because)


def _why_not(capsule: Capsule, engine: Engine) -> str:
    """Why the tokens cannot come again from this engine; empty if they can."""
    if capsule.params.temperature == 0:
        return ""
    if capsule.params.seed is None:
        return "The capsule's answer was sampled without a seed."
    if (engine.sampler or engine.name) != capsule.recording.sampler:
        first, _ = parse_spec(capsule.recording.engine)
        return f"'{engine.name}' draws its random numbers in another way than '{first}'."
    return ""


def _compare(capsule: Capsule, again: Recording) -> ReplayReport:
    recorded, greedy = capsule.recording, capsule.params.temperature == 0
    position = first_difference(_ids_and_end(recorded), _ids_and_end(again))
    common = len(recorded.tokens) if position is None else position
    deltas = [
        abs(a.logprob - b.logprob)
        for a, b in zip(recorded.tokens[:common], again.tokens[:common], strict=True)
        if a.logprob is not None and b.logprob is not None
    ]
    return ReplayReport(
        engine=again.engine,
        engine_version=again.engine_version,
        settings=again.settings,
        mode="replayed",
        because="",
        match=position is None,
        tokens=len(recorded.tokens),
        compared=len(deltas),
        max_delta=max(deltas, default=None),
        difference=None if position is None else _part(position, recorded, again, deltas, greedy),
    )


def _ids_and_end(recording: Recording) -> list[int | None]:
    ids = [token.token_id for token in recording.tokens]
    return [*ids, None] if recording.finish_reason == "stop" else ids


def _part(
    position: int, recorded: Recording, again: Recording, deltas: list[float], greedy: bool
) -> Difference:
    # Both have seen the same tokens up to here, so here too their numbers can be compared.
    ours = {top.token_id: top.logprob for top in recorded.top(position)}
    theirs = {top.token_id: top.logprob for top in again.top(position)}
    here = [abs(ours[token] - theirs[token]) for token in ours.keys() & theirs.keys()]
    known = {token: logprob for token, logprob in ours.items() if token is not None}
    gap = gap_between(known, recorded.token(position), again.token(position))
    error = 2 * max([*deltas, *here], default=TOLERANCE)
    return Difference(
        position=position,
        expected=_at(recorded, position),
        got=_at(again, position),
        gap=gap,
        tied=greedy and gap is not None and abs(gap) <= error,
        recorded_top=recorded.top(position),
        replayed_top=again.top(position),
    )


def _at(recording: Recording, position: int) -> int | None:
    return recording.tokens[position].token_id if position < len(recording.tokens) else None


def _teacher_forced(capsule: Capsule, engine: Engine, spec: str, because: str) -> ReplayReport:
    tokens = capsule.recording.tokens
    ids = [token.token_id for token in tokens if token.token_id is not None]
    scores = engine.score(capsule.prompt_ids, ids, TOP_K)
    deltas = [
        None if score is None or token.logprob is None else abs(score.logprob - token.logprob)
        for score, token in zip(scores, tokens, strict=True)
    ]
    near = sum(1 for _ in takewhile(lambda d: d is not None and d <= TOLERANCE, deltas))
    difference = None
    if near < len(tokens):
        score = scores[near]
        top = () if score is None else score.top[:ALTERNATIVES]
        difference = Difference(near, ids[near], None, None, False, tokens[near].top, top)
    return ReplayReport(
        engine=spec,
        engine_version=_version(spec),
        settings=engine.settings,
        mode="teacher-forced",
        because=because,
        match=difference is None,
        tokens=len(tokens),
        compared=sum(delta is not None for delta in deltas),
        max_delta=max((delta for delta in deltas if delta is not None), default=None),
        difference=difference,
    )
