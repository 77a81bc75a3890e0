"""The prompts of a benchmark and what is done with them.

Every prompt is a chat with one user message, so that every engine can take it, and has exactly
the wanted number of tokens in ChatML form. Its text comes from the embedded corpus, shuffled by
a seed and cut. No two prompts of a run share more than the few tokens of the ChatML header: a
prefix cache finds nothing to reuse.

A launch works through *points*; each point is repeated, the first time as warm-up:

=======  =========================================================================
ttft     one request of ``prompt_tokens``, one new token
prefill  one request of ``prefill_tokens``, one new token
decode   one request of ``prompt_tokens`` and a quarter of the new tokens, then a
         fresh one with all of them; or S requests at once with all of them
=======  =========================================================================

Many streams get shorter answers than a few: ``BATCH_TOKENS`` together, so that no batch takes
long, but never under 16 each. The warm-up of a decode point has short answers alone.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from airust.corpus.documents import facts
from airust.corpus.explanations import load_explanations
from airust.corpus.facts import load_kinds
from airust.types import Message, UserError

if TYPE_CHECKING:  # a worker reads prompts and must not pay for what its engine does not need
    from airust.gpt.tokenizer import Tokenizer

PointKind = Literal["ttft", "prefill", "decode"]
ATTEMPTS = 200
BATCH_TOKENS = 2048  # of all answers of a batch, about
HEADER_TOKENS = 16  # a reused prefix of at most this length is the ChatML header, not a cache hit


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """Sizes of a run.

    Raises:
        UserError: a size is below its minimum.
    """

    prompt_tokens: int = 64  # per prompt, ChatML header included
    prefill_tokens: int = 192  # per prompt of the prefill point
    new_tokens: int = 32  # per answer of the decode points; many streams get fewer
    streams: tuple[int, ...] = (1, 4, 16)  # S: requests at once
    repeats: int = 5  # of each point within a launch, after one warm-up
    batch_repeats: int | None = None  # of those with several streams, where that is another number
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("prompt_tokens", "prefill_tokens"):
            size = getattr(self, name)
            if size < HEADER_TOKENS:
                raise UserError(f"{name} is {size} but must be at least {HEADER_TOKENS}.")
        if self.new_tokens < 8:
            raise UserError(f"new_tokens is {self.new_tokens} but must be at least 8.")
        for name in ("repeats", "batch_repeats"):
            if (times := getattr(self, name)) is not None and times < 1:
                raise UserError(f"{name} is {times} but must be at least 1.")
        if not self.streams or min(self.streams) < 1 or len(set(self.streams)) < len(self.streams):
            raise UserError("streams must be different numbers of at least 1.")

    def answer_tokens(self, streams: int) -> tuple[int, int]:
        """New tokens of a short and of a long answer.

        >>> WorkloadSpec(new_tokens=64).answer_tokens(1), WorkloadSpec().answer_tokens(128)
        ((16, 64), (4, 16))
        """
        long = min(self.new_tokens, max(16, BATCH_TOKENS // streams))
        return max(2, long // 4), long

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Prompt:
    """One user message and its ChatML form as token ids."""

    text: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests that are submitted together."""

    prompts: tuple[int, ...]  # numbers of the prompts in the workload
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Step:
    """One repeat of one point: one batch, or two for the slope of decoding one stream."""

    kind: PointKind
    streams: int
    warmup: bool
    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True)
class Workload:
    """The same prompts and steps for every engine and every launch."""

    spec: WorkloadSpec
    prompts: tuple[Prompt, ...]
    steps: tuple[Step, ...]

    def outline(self, most_streams: int) -> Workload:
        """A quick look over the same prompts: prefill, half answers to fewer streams."""
        most = max(most_streams, min(self.spec.streams))
        kept = [step for step in self.steps if step.kind != "ttft" and step.streams <= most]
        spec = replace(self.spec, streams=tuple(s for s in self.spec.streams if s <= most))
        return replace(self, spec=spec, steps=tuple(map(_shortened, kept)))

    def sha256(self) -> str:
        """A fingerprint of the prompts' token ids."""
        ids = json.dumps([p.token_ids for p in self.prompts], separators=(",", ":"))
        return hashlib.sha256(ids.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Workload:
        """The inverse of ``to_dict``, also after a trip through JSON."""
        spec = values["spec"] | {"streams": tuple(values["spec"]["streams"])}
        prompts = (Prompt(p["text"], tuple(p["token_ids"])) for p in values["prompts"])
        return cls(WorkloadSpec(**spec), tuple(prompts), tuple(map(read_step, values["steps"])))


def read_step(values: dict[str, Any]) -> Step:
    """A step from its dict, also after a trip through JSON."""
    batches = (Batch(tuple(b["prompts"]), b["max_tokens"]) for b in values["batches"])
    return Step(values["kind"], values["streams"], values["warmup"], tuple(batches))


def _shortened(step: Step) -> Step:
    batches = (replace(b, max_tokens=max(1, b.max_tokens // 2)) for b in step.batches)
    return replace(step, batches=tuple(batches))


def default_spec(context: int, **given: Any) -> WorkloadSpec:
    """Sizes that fit a model's context; a given value that is not None wins.

    >>> default_spec(256, new_tokens=None, repeats=2).prefill_tokens
    192

    Raises:
        UserError: a given size does not fit into the context.
    """
    defaults = {
        "prompt_tokens": min(64, context // 4),
        "prefill_tokens": min(512, context * 3 // 4),
        "new_tokens": min(32, context // 4),
    }
    values = defaults | {name: value for name, value in given.items() if value is not None}
    values["streams"] = tuple(values.get("streams", (1, 4, 16)))
    spec = WorkloadSpec(**values)
    longest = max(spec.prompt_tokens + spec.new_tokens, spec.prefill_tokens + 1)
    if longest > context:
        raise UserError(
            f"Prompt and answer of {longest} tokens do not fit into a context of {context}."
        )
    return spec


def make_workload(tokenizer: Tokenizer, spec: WorkloadSpec) -> Workload:
    """Prompts and steps from a seed."""
    steps: list[Step] = []
    lengths: list[int] = []

    def batch(count: int, length: int, max_tokens: int) -> Batch:
        numbers = range(len(lengths), len(lengths) + count)
        lengths.extend([length] * count)
        return Batch(tuple(numbers), max_tokens)

    for repeat in range(spec.repeats + 1):
        warmup, size = repeat == 0, spec.prompt_tokens
        steps.append(Step("ttft", 1, warmup, (batch(1, size, 1),)))
        steps.append(Step("prefill", 1, warmup, (batch(1, spec.prefill_tokens, 1),)))
        for streams in spec.streams:
            if streams > 1 and repeat > (spec.batch_repeats or spec.repeats):
                continue
            short, long = spec.answer_tokens(streams)
            answers = (short,) if warmup else (short, long) if streams == 1 else (long,)
            batches = tuple(batch(streams, size, tokens) for tokens in answers)
            steps.append(Step("decode", streams, warmup, batches))
    prompts = make_prompts(tokenizer, lengths, spec.seed)
    return Workload(spec, prompts, tuple(steps))


def make_prompts(tokenizer: Tokenizer, lengths: Sequence[int], seed: int) -> tuple[Prompt, ...]:
    """Prompts of the given lengths in tokens, all different from the first words on.

    Raises:
        UserError: the tokenizer cannot make a prompt of such a length.
    """
    source = _texts(seed)
    prompts: list[Prompt] = []
    openings: set[tuple[int, ...]] = set()
    for length in lengths:
        for _ in range(ATTEMPTS):
            prompt = _cut(tokenizer, next(source), length)
            if prompt and prompt.token_ids[:HEADER_TOKENS] not in openings:
                openings.add(prompt.token_ids[:HEADER_TOKENS])
                prompts.append(prompt)
                break
        else:
            raise UserError(f"This tokenizer makes no chat prompt of exactly {length} tokens.")
    return tuple(prompts)


def _texts(seed: int) -> Iterator[str]:
    """Endless shuffled runs of corpus sentences."""
    known, rng = sentences(), random.Random(seed)
    while True:
        yield " ".join(rng.sample(known, 200))


def _cut(tokenizer: Tokenizer, text: str, length: int) -> Prompt | None:
    """The beginning of a text that is a chat of exactly this many tokens; None if there is none."""
    low, high = 0, min(len(text), 16 * length)  # no sentence here has 16 characters a token
    while low < high:  # the number of tokens grows with the characters, give or take a merge
        middle = (low + high) // 2
        short = _count(tokenizer, text[:middle]) < length
        low, high = (middle + 1, high) if short else (low, middle)
    for end in range(max(1, low - 4), min(len(text), low + 5)):
        part = text[:end]
        if part == part.strip() and _count(tokenizer, part) == length:
            return Prompt(part, tuple(tokenizer.encode_chat([Message("user", part)])))
    return None


def _count(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode_chat([Message("user", text)]))


@cache
def sentences() -> tuple[str, ...]:
    """The statements and explanations of the embedded corpus."""
    statements = [fact.answer for fact in facts(load_kinds())]
    return (*statements, *(explanation.answer for explanation in load_explanations()))
