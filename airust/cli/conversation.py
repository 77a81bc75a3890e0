"""The state of a chat: its turns, what fits into the context, and what it cost.

Nothing here reads or prints; ``airust chat`` does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from airust.types import DoneEvent, Message, Request, SamplingParams, UserError


@dataclass(frozen=True, slots=True)
class Window:
    """How many tokens a model holds, and how to count those of a conversation."""

    context: int
    count: Callable[[Sequence[Message]], int]

    @classmethod
    def of(cls, model: Path | None) -> Window | None:
        """The window of a model folder; None where only the engine could tell."""
        from airust.engines.model_tokenizer import ModelTokenizer

        if model is None:
            return None
        try:
            config = json.loads((model / "config.json").read_text("utf-8"))
            context, tokenizer = int(config["max_position_embeddings"]), ModelTokenizer.load(model)
        except (OSError, ValueError, KeyError, TypeError, UserError):
            return None
        return cls(context, lambda turns: len(tokenizer.encode_chat(turns)))


@dataclass(slots=True)
class Totals:
    """Sums over the answers of a session."""

    answers: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    new_tokens: int = 0


@dataclass(slots=True)
class Conversation:
    """The turns so far and the last answer's figures.

    >>> talk = Conversation(SamplingParams())
    >>> talk.ask("hello")
    >>> talk.messages
    (Message(role='user', content='hello'),)
    """

    params: SamplingParams
    system: str | None = None
    window: Window | None = None
    turns: list[Message] = field(default_factory=list)
    last: DoneEvent | None = None
    totals: Totals = field(default_factory=Totals)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The system message, if any, and the turns."""
        first = [] if self.system is None else [Message("system", self.system)]
        return (*first, *self.turns)

    def request(self) -> Request:
        """What to ask the engine."""
        return Request(messages=self.messages, params=self.params)

    def ask(self, text: str) -> None:
        """Add the user's turn."""
        self.turns.append(Message("user", text))

    def answered(self, text: str, done: DoneEvent) -> None:
        """Add the answer; a question stopped before its first token is taken back."""
        if text:
            self.turns.append(Message("assistant", text))
        else:
            self.turns.pop()
        usage, self.last = done.usage, done
        self.totals.answers += 1
        self.totals.prompt_tokens += usage.prompt_tokens
        self.totals.cached_tokens += usage.cached_tokens
        self.totals.new_tokens += usage.completion_tokens

    def forget_question(self) -> None:
        """Take back the user's turn after it was refused."""
        self.turns.pop()

    def drop_oldest(self) -> bool:
        """Forget the oldest question and its answer; False when only the newest is left."""
        if len(self.turns) < 3:
            return False
        del self.turns[:2]
        return True

    def make_room(self) -> int:
        """Drop old turns until an answer has room beside the rest; how many pairs went."""
        dropped = 0
        while self._too_long() and self.drop_oldest():
            dropped += 1
        return dropped

    def _too_long(self) -> bool:
        if self.window is None:
            return False
        # A third of the context is enough for an answer and leaves two thirds to remember.
        room = min(self.params.max_tokens, self.window.context // 3)
        return self.window.count(self.messages) + room > self.window.context

    def reset(self) -> None:
        """Forget the turns; the totals stay."""
        self.turns.clear()
        self.last = None


def describe(done: DoneEvent) -> str:
    """An answer's figures in one line.

    >>> from airust.types import Timings, Usage
    >>> describe(DoneEvent("stop", Usage(12, 11, 8), Timings(0.0, 0.02, 0.12)))
    '12 prompt tokens (8 cached), 11 new; first token after 20 ms, then 100 tokens/s'
    """
    usage, timings = done.usage, done.timings
    decode_s = timings.total_s - timings.ttft_s
    text = f"{usage.prompt_tokens} prompt tokens ({usage.cached_tokens} cached), "
    text += f"{usage.completion_tokens} new; first token after {timings.ttft_s * 1000:.0f} ms"
    if usage.completion_tokens > 1 and decode_s > 0:
        text += f", then {(usage.completion_tokens - 1) / decode_s:,.0f} tokens/s"
    return text if done.finish_reason == "stop" else f"{text} ({done.finish_reason})"
