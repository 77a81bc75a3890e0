"""What clients ask of a server: sessions of one or more turns, the same for every server.

=======  ===========================================================================
fixed    one question of exactly ``prompt_tokens``; no two share a beginning
prefix   as fixed, behind one of ``PREFIX_GROUPS`` system messages of ``prefix_tokens``
chat     conversations of ``turns`` questions; each repeats what was said before
=======  ===========================================================================

What the assistant said in earlier turns of a chat comes from the corpus and not from the server,
so that all prompts are known beforehand, are the same for every server, and can be recorded.

Without a model folder there is no tokenizer: prompts are then cut by characters, and their lengths
in tokens are what the server says.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from airust.bench.workload import make_prompts, sentences
from airust.corpus.explanations import load_explanations
from airust.types import Message, UserError

if TYPE_CHECKING:
    from airust.gpt.tokenizer import Tokenizer

TrafficKind = Literal["fixed", "prefix", "chat"]
KINDS: tuple[TrafficKind, ...] = get_args(TrafficKind)
PREFIX_GROUPS = 4
CHARACTERS = 4  # a token, where no tokenizer counts


@dataclass(frozen=True, slots=True)
class Turn:
    """One request."""

    messages: tuple[Message, ...]
    max_tokens: int
    token_ids: tuple[int, ...] | None = None  # of the chat form; None without a tokenizer

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Turn:
        """The inverse of ``asdict``, also after a trip through JSON."""
        messages = tuple(Message(m["role"], m["content"]) for m in values["messages"])
        ids = values["token_ids"]
        return cls(messages, values["max_tokens"], None if ids is None else tuple(ids))


Session = tuple[Turn, ...]  # each turn is sent when the one before has been answered


@dataclass(frozen=True, slots=True)
class TrafficSpec:
    """Sizes of the sessions.

    Raises:
        UserError: one is out of range.
    """

    kind: TrafficKind = "fixed"
    prompt_tokens: int = 64  # of a question, chat form included
    new_tokens: int = 32  # of every answer
    prefix_tokens: int = 128  # of a shared system message
    turns: int = 4  # of a chat, as far as the context reaches
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"traffic is '{self.kind}' but must be one of: {', '.join(KINDS)}.")
        for name, least in (
            ("prompt_tokens", 16),
            ("new_tokens", 2),
            ("prefix_tokens", 16),
            ("turns", 1),
        ):
            if getattr(self, name) < least:
                raise UserError(f"{name} is {getattr(self, name)} but must be at least {least}.")


def make_sessions(
    spec: TrafficSpec, count: int, tokenizer: Tokenizer | None, context: int | None
) -> tuple[Session, ...]:
    """So many sessions from the seed.

    Args:
        context: tokens of prompt and answer together; None where it is not known.

    Raises:
        UserError: one request does not fit into the context.
    """
    if spec.kind == "chat":
        return tuple(_chats(spec, count, tokenizer, context))
    system = spec.prefix_tokens if spec.kind == "prefix" else 0
    whole = spec.prompt_tokens + system + spec.new_tokens
    if context is not None and whole > context:
        raise UserError(
            f"Prompt and answer of {whole} tokens do not fit into a context of {context}."
        )
    questions = _texts([spec.prompt_tokens] * count, spec.seed, tokenizer)
    prefixes = _texts([system] * PREFIX_GROUPS, spec.seed + 1, tokenizer) if system else [None]
    return tuple(
        (_turn(_messages(question, prefixes[number % len(prefixes)]), spec.new_tokens, tokenizer),)
        for number, question in enumerate(questions)
    )


def _messages(question: str, system: str | None) -> list[Message]:
    first = [] if system is None else [Message("system", system)]
    return [*first, Message("user", question)]


def _texts(lengths: Sequence[int], seed: int, tokenizer: Tokenizer | None) -> list[str]:
    if tokenizer is not None:
        return [prompt.text for prompt in make_prompts(tokenizer, lengths, seed)]
    rng, known = random.Random(seed), sentences()
    return [
        " ".join(rng.sample(known, 8 + length // 8))[: CHARACTERS * length].strip()
        for length in lengths
    ]


def _turn(messages: Sequence[Message], new_tokens: int, tokenizer: Tokenizer | None) -> Turn:
    ids = None if tokenizer is None else tuple(tokenizer.encode_chat(messages))
    return Turn(tuple(messages), new_tokens, ids)


def _chats(
    spec: TrafficSpec, count: int, tokenizer: Tokenizer | None, context: int | None
) -> Iterator[Session]:
    rng, known = random.Random(spec.seed), load_explanations()
    for _ in range(count):
        said: list[Message] = []
        turns: list[Turn] = []
        for entry in rng.sample(known, spec.turns):
            said.append(Message("user", rng.choice(entry.questions)))
            turn = _turn(said, spec.new_tokens, tokenizer)
            length = len(turn.token_ids or ()) + spec.new_tokens
            if context is not None and length > context:
                break
            turns.append(turn)
            said.append(Message("assistant", entry.answer))
        if not turns:
            raise UserError(f"Not even one turn of a chat fits into a context of {context}.")
        yield tuple(turns)


def to_json(sessions: Sequence[Session]) -> list[list[dict[str, Any]]]:
    """Plain values for JSON."""
    return [[asdict(turn) for turn in session] for session in sessions]


def from_json(values: Sequence[Sequence[dict[str, Any]]]) -> tuple[Session, ...]:
    """The inverse of ``to_json``."""
    return tuple(tuple(map(Turn.from_dict, session)) for session in values)


def sha256(sessions: Sequence[Session]) -> str:
    """A fingerprint of everything that is asked."""
    text = json.dumps(to_json(sessions), ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
