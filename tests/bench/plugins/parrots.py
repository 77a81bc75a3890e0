"""Engines for the tests of the benchmark: they know what the reciting model says.

``Parrot`` is right and light, so that a whole run takes seconds. The others are right when their
parity is checked, which asks with token ids, and fail when they are timed, which asks with
messages.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from airust.engines.base import Capabilities, Engine, EventCallback, take_options
from airust.gpt.tokenizer import Tokenizer
from airust.types import DoneEvent, Request, Timings, TokenEvent, Usage

RECITED = "水🦀abc"
TOKEN_S = 0.001  # so that more tokens take longer


class Parrot(Engine):
    """Goes on from the last token of the prompt, as ``reciter_dir`` of the tests does."""

    name: ClassVar[str] = "parrot"
    capabilities: ClassVar[Capabilities] = Capabilities(
        token_ids=True, batching=True, ignore_eos=True
    )

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        cycle = tokenizer.encode(RECITED)
        self.first = cycle[0]
        self.successor = dict(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
        self.successor[tokenizer.encode("x")[0]] = tokenizer.encode(" ")[0]
        self.successor[tokenizer.encode("z")[0]] = tokenizer.turn_end

    @classmethod
    def load(cls, model: str | Path, **options: object) -> Self:
        take_options(cls.name, options, {})
        return cls(Tokenizer.load(Path(model)))

    @property
    def settings(self) -> dict[str, object]:
        return {"dtype": "float32"}

    def submit(self, request: Request, on_event: EventCallback) -> Self:
        timed = request.messages is not None
        ids = self.tokenizer.encode_chat(request.messages or ()) if timed else request.token_ids
        tokens = self.continued(ids or (), request.params.max_tokens)
        if timed:
            self.answer(tokens, len(ids or ()), on_event)
        else:
            Parrot.answer(self, tokens, len(ids or ()), on_event)
        return self

    def continued(self, ids: Sequence[int], count: int) -> list[int]:
        found = [ids[-1]]
        for _ in range(count):
            found.append(self.successor.get(found[-1], self.first))
        return found[1:]

    def answer(self, tokens: list[int], prompt: int, on_event: EventCallback) -> None:
        for token in tokens:
            time.sleep(TOKEN_S)
            on_event(TokenEvent("", token_id=token))
        on_event(DoneEvent("length", Usage(prompt, len(tokens)), Timings(0.0, 0.0, 0.0)))

    def cancel(self) -> None:
        pass

    def close(self) -> None:
        pass


class Wrong(Parrot):
    """One token of each answer is another one."""

    def answer(self, tokens: list[int], prompt: int, on_event: EventCallback) -> None:
        super().answer([*tokens[:-1], tokens[-1] + 1], prompt, on_event)


class Padded(Parrot):
    """Stops early and counts tokens that it never gave."""

    def answer(self, tokens: list[int], prompt: int, on_event: EventCallback) -> None:
        for token in tokens[:2]:
            on_event(TokenEvent("", token_id=token))
        on_event(DoneEvent("length", Usage(prompt, len(tokens)), Timings(0.0, 0.0, 0.0)))


class Miscounting(Parrot):
    """Claims twice the tokens."""

    def answer(self, tokens: list[int], prompt: int, on_event: EventCallback) -> None:
        for token in tokens:
            on_event(TokenEvent("", token_id=token))
        on_event(DoneEvent("length", Usage(prompt, 2 * len(tokens)), Timings(0.0, 0.0, 0.0)))


class Stalling(Parrot):
    """Never ends an answer."""

    def answer(self, tokens: list[int], prompt: int, on_event: EventCallback) -> None:
        on_event(TokenEvent("", token_id=tokens[0]))


class Dying(Parrot):
    """Takes the process down."""

    def answer(self, tokens: list[int], prompt: int, on_event: EventCallback) -> None:
        os.write(2, b"illegal instruction\n")
        os._exit(3)


class Different(Parrot):
    """Computes something else from the start: parity refuses it."""

    def continued(self, ids: Sequence[int], count: int) -> list[int]:
        return [self.first] * count


class Slowing(Parrot):
    """Gives the second half of an answer at a fifth of the speed."""

    def answer(self, tokens: list[int], prompt: int, on_event: EventCallback) -> None:
        for number, token in enumerate(tokens):
            time.sleep(TOKEN_S * (25 if number > len(tokens) // 2 else 5))
            on_event(TokenEvent("", token_id=token))
        on_event(DoneEvent("length", Usage(prompt, len(tokens)), Timings(0.0, 0.0, 0.0)))


class Steady(Parrot):
    """20 ms a token, in a thread of its own for each request."""

    def submit(self, request: Request, on_event: EventCallback) -> Self:
        threading.Thread(target=super().submit, args=(request, on_event), daemon=True).start()
        return self

    def answer(self, tokens: list[int], prompt: int, on_event: EventCallback) -> None:
        due = time.perf_counter()
        for token in tokens:
            due += 0.02
            time.sleep(max(0.0, due - time.perf_counter()))
            on_event(TokenEvent(self.tokenizer.decode([token]), token_id=token))
        on_event(DoneEvent("length", Usage(prompt, len(tokens)), Timings(0.0, 0.0, 0.0)))


class Serial(Parrot):
    """Answers one request after another."""

    capabilities: ClassVar[Capabilities] = Capabilities(token_ids=True, ignore_eos=True)
