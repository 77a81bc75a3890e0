"""candle: a GPT in Rust on Hugging Face's candle framework, in the crate ``crates/airust-candle``.

The crate computes logits, without Python's global lock; what is made of them happens here, by the
same sampling, text and grammar code as in the torch engine, so the same seed gives the same
tokens. Greedy decoding without logprobs leaves the choice to Rust as well and fetches only the
token. Each running request has a thread; whoever wants a step while another one is computed waits,
and all who wait are computed together in the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from airust import __version__
from airust.engines.base import Capabilities, ScoredToken, take_options
from airust.engines.constraint import Constraint, Grammars
from airust.engines.model_files import find_model
from airust.engines.model_tokenizer import ModelTokenizer
from airust.engines.text import (
    Prompt,
    TextStream,
    checked_ids,
    fit_prompt,
    new_token_limit,
    prompt_ids,
)
from airust.engines.worker import Job, Outcome, WorkerEngine, first_line
from airust.gpt.sampling import Adjustments, Dice, choose, top_logprobs
from airust.gpt.text import token_text
from airust.types import (
    EngineError,
    EngineUnavailableError,
    FinishReason,
    Request,
    SamplingParams,
    TokenEvent,
    TopLogprob,
    UserError,
)

OPTIONS: dict[str, object] = {
    "dtype": "float32",  # of the weights: float32, bfloat16 or float16; sums are float32
    "threads": None,  # that compute; None is one for each core
    "workers": 16,  # requests that are answered at the same time
}
DTYPES = ("float32", "bfloat16", "float16")
CHUNK = 128  # prompt tokens a step: a long prompt holds others up no longer


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request as token ids, and what shapes its answer."""

    prompt: Prompt
    adjust: Adjustments
    constraint: Constraint | None


class CandleEngine(WorkerEngine[Prepared]):
    """A model in candle, on the CPU."""

    name: ClassVar[str] = "candle"
    sampler: ClassVar[str] = "airust.gpt.sampling"
    capabilities: ClassVar[Capabilities] = Capabilities(
        raw_prompt=True,
        token_ids=True,
        logprobs=True,
        seed=True,
        json_schema=True,
        regex=True,
        batching=True,
        min_p=True,
        repetition_penalty=True,
        penalties=True,
        logit_bias=True,
        ignore_eos=True,
        trim=True,
    )

    def __init__(
        self, model: Any, tokenizer: ModelTokenizer, settings: dict[str, object], workers: int
    ) -> None:
        super().__init__(workers)
        self._model, self._tokenizer, self._settings = model, tokenizer, settings
        self._context, self._vocab_size = int(model.context), int(model.vocab_size)
        self._eos = frozenset(tokenizer.eos_ids)
        self._grammars = Grammars(lambda: tokenizer.vocabulary(self._vocab_size), self._vocab_size)

    @classmethod
    def load(cls, model: str | Path, **options: object) -> Self:
        """Load a folder or a hub name; see OPTIONS."""
        values = take_options(cls.name, options, OPTIONS)
        dtype, workers = values["dtype"], _positive("workers", values["workers"])
        threads = None if values["threads"] is None else _positive("threads", values["threads"])
        if dtype not in DTYPES:
            raise UserError(f"dtype is {dtype!r} but must be one of: {', '.join(DTYPES)}.")
        path = find_model(model)
        tokenizer = ModelTokenizer.load(path)
        import airust_candle

        if airust_candle.__version__ != __version__:
            raise EngineUnavailableError(
                f"The candle engine was built for airust {airust_candle.__version__} but this is "
                f"airust {__version__}; build it again with: make candle"
            )
        try:
            loaded = airust_candle.Model.load(path, dtype, threads)
        except ValueError as error:
            raise UserError(f"candle cannot load '{path}': {first_line(error)}.") from error
        if tokenizer.vocab_size > loaded.vocab_size:
            raise UserError(
                f"The tokenizer in '{path}' has {tokenizer.vocab_size} tokens but the model only "
                f"{loaded.vocab_size}; they do not belong together."
            )
        settings: dict[str, object] = {
            "dtype": dtype,
            "kv_cache": "float32" if loaded.own else dtype,
            "threads": loaded.threads,
            "workers": workers,
            "model": "our own" if loaded.own else "candle-transformers",
        }
        return cls(loaded, tokenizer, settings, workers)

    @property
    def settings(self) -> dict[str, object]:
        """What was loaded: dtype, kv_cache, threads, workers, and whose model it is."""
        return dict(self._settings)

    @property
    def context(self) -> int | None:
        """As in the base class."""
        return self._context

    def encode(self, text: str) -> list[int]:
        """As in the base class."""
        return self._tokenizer.encode(text, add_special=False)

    def prompt_ids(self, request: Request) -> list[int]:
        """As in the base class."""
        return prompt_ids(request, self._tokenizer)

    def decode(self, ids: Sequence[int]) -> str:
        """As in the base class."""
        ids = checked_ids(ids, self._tokenizer.vocab_size)
        return self._tokenizer.decode(ids, skip_special=False)

    def prepare(self, request: Request) -> Prepared:
        """Token ids that fit into the context, and a grammar if the request has one."""
        params = request.params
        prompt = fit_prompt(request, self.prompt_ids, self._context)
        adjust = Adjustments(params, prompt.ids, self._vocab_size)
        return Prepared(prompt, adjust, self._grammars.constraint(params))

    @torch.inference_mode()
    def answer(self, prepared: Prepared, job: Job) -> Outcome:
        """Prefill, then one token a step."""
        params, decode = job.request.params, self._tokenizer.decode
        stream, count = TextStream(decode, params.stop, self._tokenizer.whole), 0
        reason: FinishReason = "length"
        for token, logits in self._tokens(prepared, job):
            count += 1
            if token in self._eos and not params.ignore_eos:
                reason = "stop"
                break
            job.emit(self._event(token, logits, stream.push(token), params.logprobs))
            if stream.stopped or (prepared.constraint and prepared.constraint.complete):
                reason = "stop"
                break
        else:
            reason = "cancelled" if job.cancelled else "length"
        if reason != "cancelled" and (rest := stream.finish()):
            job.emit(TokenEvent(rest))
        return Outcome(reason, prepared.prompt.usage(count))

    def _tokens(self, prepared: Prepared, job: Job) -> Iterator[tuple[int, Tensor | None]]:
        """Each chosen token, with the logits (V) that it was chosen from where they are needed."""
        prompt, chooser = prepared.prompt, _Chooser(prepared, job.request.params)
        text = _Text(self._model, prompt.ids, prompt.limit)
        for _ in range(prompt.limit):
            while not job.cancelled and text.prefill():
                pass
            if job.cancelled:
                return
            token, logits = chooser.next(text)
            yield token, logits
            text.ids.append(token)

    def _event(self, token: int, logits: Tensor | None, text: str, k: int | None) -> TokenEvent:
        if logits is None or k is None:
            return TokenEvent(text, token)
        return TokenEvent(text, token, float(logits.log_softmax(-1)[token]), self._top(logits, k))

    def _top(self, logits: Tensor, k: int) -> tuple[TopLogprob, ...]:
        decode = partial(self._tokenizer.decode, skip_special=False)
        return tuple(TopLogprob(i, token_text(decode, i), p) for i, p in top_logprobs(logits, k))

    @torch.inference_mode()
    def score(
        self, prompt_ids: Sequence[int], continuation_ids: Sequence[int], top_k: int = 8
    ) -> list[ScoredToken]:
        """As in the base class, by one forward pass."""
        self.check_open()
        ids = checked_ids([*prompt_ids, *continuation_ids], self._vocab_size)
        if not prompt_ids:
            raise UserError("A score needs at least one token to go on from.")
        if not continuation_ids:
            return []
        new_token_limit(len(ids) - 1, SamplingParams(), self._context)
        text, scores = _Text(self._model, ids[:-1]), []
        while text.done < len(ids) - 1:
            first = text.done + 1  # the token that the first row is about
            for at, row in enumerate(text.all_logits(), first):
                if at >= len(prompt_ids):
                    logprob = float(row.log_softmax(-1)[ids[at]])
                    scores.append(ScoredToken(logprob, self._top(row, top_k)))
        return scores

    def close(self) -> None:
        """Cancel what runs and free the model."""
        super().close()
        self._model = None


class _Text:
    """Token ids, and how many of them the model has taken in.

    Args:
        ids: where it begins.
        room: how many more there may be.
    """

    def __init__(self, model: Any, ids: Sequence[int], room: int = 0) -> None:
        self.ids, self.done = list(ids), 0
        self._model, self._capacity = model, len(ids) + room
        # The models of candle-transformers take a prompt in one piece.
        self._chunk = CHUNK if model.own else self._capacity
        # LongRoPE turns all keys otherwise once a text is longer than the original context.
        original: int | None = model.original_context
        self._turn = original if original and len(ids) <= original < self._capacity else None
        self._sequence = model.sequence(self._turn or self._capacity)

    def prefill(self) -> bool:
        """Take a chunk in, but not the last; false if that is all there is."""
        if self._turn and len(self.ids) > self._turn:
            self._turn, self.done = None, 0
            self._sequence = self._model.sequence(self._capacity)
        if len(self.ids) - self.done <= self._chunk:
            return False
        self._step(self._sequence.greedy)
        return True

    def greedy(self) -> int | None:
        """Take the last chunk in; the likeliest next token, None if there are no numbers."""
        token: int | None = self._step(self._sequence.greedy)
        return token

    def logits(self) -> Tensor:
        """Take the last chunk in; logits (V) of the next token."""
        return torch.frombuffer(self._step(self._sequence.logits), dtype=torch.float32)

    def all_logits(self) -> Tensor:
        """Take a chunk in; logits (T, V) after each of its tokens."""
        before = self.done
        numbers = self._step(self._sequence.logits, all=True)
        return torch.frombuffer(numbers, dtype=torch.float32).view(self.done - before, -1)

    def _step(self, call: Any, **arguments: Any) -> Any:
        end = min(self.done + self._chunk, len(self.ids))
        try:
            found = call(self.ids[self.done : end], **arguments)
        except RuntimeError as error:
            raise EngineError(f"candle failed: {first_line(error)}.") from error
        self.done = end
        return found


class _Chooser:
    """Chooses tokens by the parameters of one request."""

    def __init__(self, prepared: Prepared, params: SamplingParams) -> None:
        self._params, self._dice = params, Dice(params.seed)
        self._adjust, self._constraint = prepared.adjust, prepared.constraint
        shaped = params.temperature > 0 or params.logprobs is not None or self._adjust.needed
        self._plain = not shaped and self._constraint is None

    def next(self, text: _Text) -> tuple[int, Tensor | None]:
        """The token after a text; with its logits (V) if Python has seen them.

        Raises:
            EngineError: the model's output is not a number.
        """
        if self._plain:
            likeliest = text.greedy()
            if likeliest is None:
                raise _poisoned()
            return likeliest, None
        logits = text.logits()
        if not logits.max().isfinite():
            raise _poisoned()
        allowed = self._constraint.allowed() if self._constraint else None
        token = choose(logits, self._params, self._dice, self._adjust, allowed)
        self._adjust.note(token)
        if self._constraint:
            self._constraint.note(token)
        return token, logits


def _poisoned() -> EngineError:
    return EngineError("The model's output is not a number; are its weights damaged?")


def _positive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{name} is {value!r} but must be a whole number above 0.")
    return value
