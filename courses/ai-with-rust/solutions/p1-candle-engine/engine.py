"""Your program as an engine of airust."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import torch

from airust.engines.base import Capabilities, take_options
from airust.engines.logits import token_event
from airust.engines.model_tokenizer import ModelTokenizer
from airust.engines.text import TextStream, checked_ids, new_token_limit, prompt_ids
from airust.engines.worker import Job, Outcome, WorkerEngine
from airust.gpt.checkpoint import read_config
from airust.gpt.sampling import Dice, choose
from airust.types import EngineError, FinishReason, Request, TokenEvent, Usage, UserError


class Program:
    """The Rust program at the other end of two pipes (src/main.rs says what goes through)."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._child = subprocess.Popen(
            [program, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, word: str, ids: Sequence[int]) -> torch.Tensor:
        """Logits behind the last of these tokens: `new` begins a text, `more` goes on.

        Raises:
            EngineError: the program says that it cannot.
        """
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(f"{word} {' '.join(map(str, ids))}\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        if not line or line.startswith("error"):
            raise EngineError(f"The program failed: {line.strip() or 'it has ended'}")
        return torch.tensor([float(number) for number in line.split()])

    def close(self) -> None:
        """End it. Safe to repeat."""
        self._child.kill()
        self._child.communicate()


class PipeEngine(WorkerEngine[list[int]]):
    """Docs: docs/write-an-engine.md, whose example has the same shape."""

    name: ClassVar[str] = "pipe"
    capabilities: ClassVar[Capabilities] = Capabilities(
        raw_prompt=True, token_ids=True, logprobs=True, seed=True, min_p=True, ignore_eos=True
    )
    sampler: ClassVar[str] = "airust.gpt.sampling"

    def __init__(self, folder: Path, program: Path) -> None:
        super().__init__(workers=1)
        self._tokenizer = ModelTokenizer.load(folder)
        self._context = read_config(folder).context
        self._program = Program(program, folder)

    @classmethod
    def load(cls, model: str | Path, **options: object) -> Self:
        """`program` is the option that says where the program is; others are refused."""
        program = Path(str(take_options(cls.name, options, known={"program": ""})["program"]))
        if not program.is_file():
            raise UserError(f"There is no program at '{program}'; build it with cargo.")
        return cls(Path(model), program)

    @property
    def context(self) -> int:
        """Tokens that prompt and answer may have together."""
        return self._context

    def prepare(self, request: Request) -> list[int]:
        """The tokens of the prompt; what does not fit into the context is refused here."""
        ids = prompt_ids(request, self._tokenizer)
        new_token_limit(len(ids), request.params, self.context)
        return ids

    def answer(self, prepared: list[int], job: Job) -> Outcome:
        """Ask the program for logits, choose a token, emit it, and so on."""
        params, count = job.request.params, 0
        limit = new_token_limit(len(prepared), params, self.context)
        dice, text = Dice(params.seed), TextStream(self._tokenizer.decode, params.stop)
        why: FinishReason = "length"
        word, ids = "new", prepared
        while count < limit and why == "length":
            if job.cancelled:
                return Outcome("cancelled", Usage(len(prepared), count))
            logits = self._program.ask(word, ids)
            token, count = choose(logits, params, dice), count + 1
            word, ids = "more", [token]
            if token in self._tokenizer.eos_ids and not params.ignore_eos:
                why = "stop"
            else:
                piece = text.push(token)
                job.emit(token_event(piece, token, logits, params.logprobs, self.decode))
                why = "stop" if text.stopped else "length"
        job.emit(TokenEvent(text.finish()))  # what was held back
        return Outcome(why, Usage(len(prepared), count))

    def encode(self, text: str) -> list[int]:
        """The token ids of plain text."""
        return self._tokenizer.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, control tokens spelled out."""
        known = checked_ids(ids, self._tokenizer.vocab_size)
        return self._tokenizer.decode(known, skip_special=False)

    def close(self) -> None:
        """End the threads, then the program."""
        super().close()
        self._program.close()
