"""The echo engine: no model, same contract. The test double of everything above the engines.

It repeats the last message or the prompt, or plays a script, in word pieces:

>>> from airust.types import Message, Request
>>> engine = DummyEngine(script=["one two", "three"])
>>> question = Request(messages=(Message("user", "hello"),))
>>> list(engine.stream(question)), engine.generate(question).text, engine.generate(question).text
(['one', ' two'], 'three', 'hello')
>>> engine.close()
"""

from __future__ import annotations

import re
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Self

from airust.engines.base import Capabilities, take_options
from airust.engines.text import StopFilter
from airust.engines.worker import Job, Outcome, WorkerEngine
from airust.types import FinishReason, Request, TokenEvent, Usage, UserError

CONCURRENT = 8  # requests answered at the same time
PIECES = re.compile(r"\s*\S+|\s+")


class DummyEngine(WorkerEngine[list[str]]):
    """Echoes, or gives the answers of a script in turn and echoes when they are used up."""

    name: ClassVar[str] = "dummy"
    capabilities: ClassVar[Capabilities] = Capabilities(
        raw_prompt=True, seed=True, batching=True, min_p=True, repetition_penalty=True,
        ignore_eos=True, trim=True,
    )  # fmt: skip

    def __init__(self, script: Iterable[str] = (), delay_s: float = 0.0) -> None:
        super().__init__(CONCURRENT)
        self._script = deque(script)
        self._lock = threading.Lock()
        self._delay_s = delay_s  # before each piece

    @classmethod
    def load(cls, model: str | Path = "", **options: object) -> Self:
        """Any model name will do; options are those of the constructor."""
        known: dict[str, object] = {"script": (), "delay_s": 0.0}
        values = take_options(cls.name, options, known)
        script, delay_s = values["script"], values["delay_s"]
        if isinstance(script, str) or not isinstance(script, Iterable):
            raise UserError("The dummy engine's option 'script' must be a list of answers.")
        if not isinstance(delay_s, int | float) or delay_s < 0:
            raise UserError(f"delay_s is {delay_s!r} but must be a number of seconds.")
        return cls([str(answer) for answer in script], float(delay_s))

    def prepare(self, request: Request) -> list[str]:
        """The pieces of the answer."""
        with self._lock:
            answer = self._script.popleft() if self._script else _question(request)
        return PIECES.findall(answer)

    def answer(self, prepared: list[str], job: Job) -> Outcome:
        """Emit the pieces."""
        params, count = job.request.params, 0
        reason: FinishReason = "stop"
        stop = StopFilter(params.stop)
        for piece in prepared:
            time.sleep(self._delay_s)
            if job.cancelled or count == params.max_tokens:
                reason = "cancelled" if job.cancelled else "length"
                break
            count += 1
            job.emit(TokenEvent(stop.push(piece), token_id=zlib.crc32(piece.encode())))
            if stop.stopped:
                break
        if reason != "cancelled" and (rest := stop.finish()):
            job.emit(TokenEvent(rest))
        return Outcome(reason, Usage(len(PIECES.findall(_question(job.request))), count))


def _question(request: Request) -> str:
    return request.messages[-1].content if request.messages else request.prompt or ""
