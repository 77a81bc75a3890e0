"""Do the engines compute the same function? Measured before anything is timed.

The reference is our own model in PyTorch, float32, without a KV cache, so that it shares no code
with any engine. It continues every prompt greedily. Each engine is then asked two things:

* teacher-forced: the logprob that it gives each token t of the reference's continuation, and its
  likeliest alternatives. |delta| = |log p(t) - log q(t)|, and the Kullback-Leibler divergence
  sum p log(p/q) in nats over the reference's top k tokens, everything else counted as one more
  token (merging outcomes can only make it smaller);
* free-running: its own greedy continuation, token by token, through its KV cache.

Two tokens whose logprobs differ by less than twice the measured |delta| may change places, so a
first divergence at such a place is called a tie and is no failure. After it the texts differ
rightly, and nothing more is compared in that prompt.

Engines that compute in fewer bits than the reference (bfloat16, Q8_0) are another function by
design. Their distance is reported in the same figures, and no verdict is passed on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from airust.engines.base import Engine, ScoredToken
from airust.engines.model_tokenizer import ModelTokenizer
from airust.engines.parity_prompts import built_in_requests, fitted_ids
from airust.engines.registry import list_engines, load_engine, parse_spec
from airust.engines.worker import first_line
from airust.gpt.batch_greedy import batch_greedy
from airust.gpt.checkpoint import load_model
from airust.gpt.fingerprint import weights_sha256
from airust.gpt.model import GPT
from airust.types import AirustError, EngineError, Request, UserError

TOP_K = 20  # alternatives compared at each position
NO_STOP = -1  # a token id that never comes
FLOAT32 = "float32"
Status = Literal["passed", "failed", "measured", "unavailable", "error"]
Progress = Callable[[str, int, int], None]  # what, done, of how many


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first token at which an engine's greedy answer leaves the reference's."""

    prompt: int  # number of the prompt, from 0
    position: int  # number of the generated token, from 0
    expected: int  # token id of the reference
    got: int | None  # token id of the engine; None where it ended early
    margin: float  # nats between the reference's two likeliest tokens there
    gap: float | None  # nats between expected and got; None where got is not in the top k
    tied: bool  # the gap is within twice the measured error


@dataclass(frozen=True, slots=True)
class EngineParity:
    """How far one engine is from the reference. Logprobs are natural logarithms."""

    engine: str  # NAME or NAME:OPTION=VALUE,...
    status: Status  # measured: in fewer bits than float32, so its distance is told, not judged
    reason: str  # one sentence
    version: str | None = None  # of the engine's library
    dtype: str | None = None
    settings: dict[str, object] | None = None  # what the engine says about itself
    positions: int = 0  # teacher-forced positions that were compared
    unscored: int = 0  # positions for which the engine could give no logprob
    max_delta: float | None = None  # None where the engine gives no logprobs
    mean_delta: float | None = None
    max_kl: float | None = None
    mean_kl: float | None = None
    kl_tokens: int = TOP_K  # of the reference's likeliest tokens; the rest counts as one
    prompts: int = 0
    equal: int = 0  # greedy answers that are the same token for token
    tied: int = 0  # that leave the reference at a tie
    divergence: Divergence | None = None  # the first one that is no tie, or else the first

    @property
    def passed(self) -> bool:
        """The engine agrees with the reference."""
        return self.status == "passed"


@dataclass(frozen=True, slots=True)
class ParityReport:
    """The check of one model in several engines."""

    model: str
    weights_sha256: str
    reference: str
    prompts: int
    new_tokens: int  # each prompt is continued by
    tolerance: float  # the largest |delta logprob| that passes
    engines: tuple[EngineParity, ...]

    @property
    def passed(self) -> bool:
        """Every float32 engine that could be loaded agrees, and any engine could be."""
        found = {engine.status for engine in self.engines} - {"unavailable"}
        return bool(found) and found <= {"passed", "measured"}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        engines = [asdict(engine) | {"passed": engine.passed} for engine in self.engines]
        return asdict(self) | {"passed": self.passed, "engines": engines}


@dataclass(frozen=True, slots=True)
class Answer:
    """The reference's greedy continuation of one prompt."""

    prompt: list[int]
    tokens: list[int]
    top: list[dict[int, float]]  # logprobs of the k likeliest tokens at each position

    def margin(self, position: int) -> float:
        """Nats between the two likeliest tokens."""
        first, second = sorted(self.top[position].values(), reverse=True)[:2]
        return first - second


def run_parity(
    model: str | Path,
    engines: Sequence[str] | None = None,
    prompts: Sequence[Request] | None = None,
    new_tokens: int = 64,
    tolerance: float = 1e-3,
    on_progress: Progress | None = None,
) -> ParityReport:
    """Compare engines with the reference, one after another.

    Args:
        model: a folder of a family that airust covers.
        engines: names, or names with options such as "torch:dtype=bfloat16"; None for all that
            are installed.
        prompts: 25 built-in ones if None. They are shortened to leave room for the answer.
        new_tokens: of each answer, at most half of the model's context.
        tolerance: the largest |delta logprob| that passes in float32.

    Raises:
        UserError: the model cannot be read, or an engine is unknown. An engine that is not
            installed, cannot load the model, or fails is part of the report instead.
    """
    folder = Path(model)
    versions = {info.name: info.version for info in list_engines()}
    specs = _installed() if engines is None else list(engines)
    for spec in specs:
        if (name := parse_spec(spec)[0]) not in versions:
            known = ", ".join(versions)
            raise UserError(f"There is no engine '{name}'; the engines are: {known}.")
    gpt, tokenizer = load_model(folder), ModelTokenizer.load(folder)
    new_tokens = min(new_tokens, gpt.config.context // 2)
    room = gpt.config.context - new_tokens
    requests = built_in_requests() if prompts is None else prompts
    answers = reference_answers(
        gpt, [fitted_ids(r, tokenizer, room) for r in requests], new_tokens, on_progress
    )
    results = []
    for spec in specs:
        result = _check_engine(spec, folder, answers, tolerance, on_progress)
        results.append(replace(result, version=versions[parse_spec(spec)[0]]))
    return ParityReport(
        model=str(model),
        weights_sha256=weights_sha256(folder),
        reference=f"airust.gpt, PyTorch {torch.__version__}, float32, no KV cache",
        prompts=len(answers),
        new_tokens=new_tokens,
        tolerance=tolerance,
        engines=tuple(results),
    )


def _installed() -> list[str]:
    # A server is compared only when asked for: nobody said which one, and it may cost money.
    found = [e for e in list_engines() if e.available and not e.remote]
    return [e.name for e in found if e.name != "dummy"]


# The reference


@torch.inference_mode()
def reference_answers(
    model: GPT,
    prompts: Sequence[list[int]],
    new_tokens: int,
    on_progress: Progress | None = None,
) -> list[Answer]:
    """What the uncached model answers greedily, end-of-text tokens included."""
    drafts = batch_greedy(model, prompts, new_tokens, NO_STOP)
    answers = []
    for number, (prompt, draft) in enumerate(zip(prompts, drafts, strict=True)):
        if on_progress:
            on_progress("reference", number, len(prompts))
        guess = [*draft, *[0] * (new_tokens - len(draft))]
        answers.append(_reference_answer(model, prompt, guess))
    return answers


def _reference_answer(model: GPT, prompt: list[int], guess: list[int]) -> Answer:
    """Correct a guess until the uncached model confirms every token.

    One pass checks all positions at once. The first wrong token is replaced; what follows it is
    only a guess again, and the next pass checks it. So the guess costs time, never truth.
    """
    tokens = list(guess)
    while True:
        logprobs = _logprobs(model, [*prompt, *tokens])[len(prompt) - 1 : -1]  # (n, V)
        best: list[int] = logprobs.argmax(-1).tolist()
        wrong = next((i for i, (a, b) in enumerate(zip(best, tokens, strict=True)) if a != b), None)
        if wrong is None:
            break
        tokens[wrong] = best[wrong]
    values, ids = logprobs.topk(min(TOP_K, logprobs.shape[-1]))
    top = [dict(zip(i, v, strict=True)) for i, v in zip(ids.tolist(), values.tolist(), strict=True)]
    return Answer(prompt, tokens, top)


def _logprobs(model: GPT, ids: list[int]) -> Tensor:
    """(T) -> (T, V)."""
    logits: Tensor = model(torch.tensor([ids]))
    return logits[0].float().log_softmax(-1)


# One engine


def _check_engine(
    spec: str,
    folder: Path,
    answers: Sequence[Answer],
    tolerance: float,
    on_progress: Progress | None,
) -> EngineParity:
    name, options = parse_spec(spec)
    try:
        engine = load_engine(name, folder, **options)
    except AirustError as error:
        return EngineParity(spec, "unavailable", str(error))
    try:
        with engine:
            return _compare(spec, engine, answers, tolerance, on_progress)
    except Exception as error:  # a crash of one engine must not hide the others
        return EngineParity(spec, "error", f"{type(error).__name__}: {first_line(error)}.")


def _compare(
    spec: str,
    engine: Engine,
    answers: Sequence[Answer],
    tolerance: float,
    on_progress: Progress | None,
) -> EngineParity:
    scored: list[_Distance | None] = []
    greedy: list[list[int | None]] = []
    for number, answer in enumerate(answers):
        if on_progress:
            on_progress(spec, number, len(answers))
        if engine.capabilities.logprobs:
            scored += _distances(engine, answer)
        greedy.append([t.token_id for t in engine.greedy(answer.prompt, len(answer.tokens))])
    found = [distance for distance in scored if distance is not None]
    max_delta = max((d.delta for d in found), default=None)
    error = tolerance if max_delta is None else 2 * max_delta
    pairs = enumerate(zip(answers, greedy, strict=True))
    left = [d for i, (answer, got) in pairs if (d := find_divergence(answer, got, error, i))]
    real = [d for d in left if not d.tied]
    settings = engine.settings
    if (numbers := fewer_bits(settings)) is not None:
        status, reason = _distance_in_words(numbers, max_delta, len(left), len(answers))
    else:
        status, reason = _verdict(max_delta, real, len(answers), tolerance)
    return EngineParity(
        engine=spec,
        status=status,
        reason=reason,
        dtype=str(settings["dtype"]) if "dtype" in settings else None,
        settings=settings,
        positions=len(found),
        unscored=len(scored) - len(found),
        max_delta=max_delta,
        mean_delta=_mean([d.delta for d in found]),
        max_kl=max((d.kl for d in found), default=None),
        mean_kl=_mean([d.kl for d in found]),
        prompts=len(answers),
        equal=len(answers) - len(left),
        tied=len(left) - len(real),
        divergence=next(iter([*real, *left]), None),
    )


class _Distance(NamedTuple):
    """How far an engine is off at one position."""

    delta: float  # |delta logprob| of the given token
    kl: float


def _distances(engine: Engine, answer: Answer) -> list[_Distance | None]:
    found: list[_Distance | None] = []
    scores = engine.score(answer.prompt, answer.tokens, TOP_K)
    for score, token, top in zip(scores, answer.tokens, answer.top, strict=True):
        if score is None:
            found.append(None)
            continue
        if not math.isfinite(score.logprob):
            raise EngineError(f"The engine '{engine.name}' gives the logprob {score.logprob}.")
        found.append(_Distance(abs(score.logprob - top[token]), kl_divergence(top, score)))
    return found


def kl_divergence(reference: dict[int, float], score: ScoredToken) -> float:
    """KL in nats over the tokens that both sides list, everything else as one more token.

    >>> from airust.types import TopLogprob
    >>> top = (TopLogprob(0, "a", math.log(0.5)), TopLogprob(1, "b", math.log(0.25)))
    >>> round(kl_divergence({0: math.log(0.25), 1: math.log(0.5)}, ScoredToken(0.0, top)), 4)
    0.1733
    """
    other = {t.token_id: t.logprob for t in score.top}
    common = [(p, other[token]) for token, p in reference.items() if token in other]
    total = sum(math.exp(p) * (p - q) for p, q in common)
    rest_p = 1 - sum(math.exp(p) for p, _ in common)
    rest_q = 1 - sum(math.exp(q) for _, q in common)
    if rest_p > 1e-6 and rest_q > 1e-6:  # below, rounding decides
        total += rest_p * math.log(rest_p / rest_q)
    return max(total, 0.0)


def find_divergence(
    answer: Answer, got: Sequence[int | None], error: float, prompt: int = 0
) -> Divergence | None:
    """Where an engine's tokens first leave an answer; None where they do not.

    Args:
        got: the engine's tokens; what it has beyond the answer's end does not count.
        error: nats that two logprobs may be apart and still change places.
        prompt: number of the prompt, for the result.
    """
    pairs = zip_longest(answer.tokens, got[: len(answer.tokens)])
    position = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
    if position is None:
        return None
    expected, top = answer.tokens[position], answer.top[position]
    token = got[position] if position < len(got) else None
    gap = top[expected] - top[token] if token in top else None
    tied = gap is not None and gap <= error
    return Divergence(prompt, position, expected, token, answer.margin(position), gap, tied)


def fewer_bits(settings: dict[str, object]) -> str | None:
    """The number format of weights, or else of the KV cache, where it is not float32.

    >>> fewer_bits({"dtype": "float32", "kv_cache": "float16"})
    'float16'
    """
    found = (settings.get(name, FLOAT32) for name in ("dtype", "kv_cache"))
    return next((str(dtype) for dtype in found if dtype != FLOAT32), None)


def _distance_in_words(
    numbers: str, max_delta: float | None, different: int, prompts: int
) -> tuple[Status, str]:
    off = "" if max_delta is None else f"a logprob is off by up to {max_delta:.2g}, and "
    return "measured", f"In {numbers} {off}{different} of {prompts} greedy answers differ."


def _verdict(
    max_delta: float | None, real: list[Divergence], prompts: int, tolerance: float
) -> tuple[Status, str]:
    if max_delta is not None and max_delta > tolerance:
        return "failed", f"A logprob differs by {max_delta:.2g}, more than {tolerance:.2g}."
    if real:
        where = f"prompt {real[0].prompt}, token {real[0].position}"
        return "failed", f"{len(real)} of {prompts} greedy answers differ, first at {where}."
    judged = "greedy tokens" if max_delta is None else "logprobs and greedy tokens"
    return "passed", f"The {judged} agree with the reference."


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
