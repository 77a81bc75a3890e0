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
        # The models of candle-transformers take a prompt in one piece.
        self._chunk = CHUNK if model.own else self._context
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
        return self._tokenizer.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """As in the base class."""
        ids = checked_ids(ids, self._tokenizer.vocab_size)
        return self._tokenizer.decode(ids, skip_special=False)

    def prepare(self, request: Request) -> Prepared:
        """Token ids that fit into the context, and a grammar if the request has one."""
        params = request.params
        prompt = fit_prompt(request, lambda r: prompt_ids(r, self._tokenizer), self._context)
        adjust = Adjustments(params, prompt.ids, self._vocab_size)
        return Prepared(prompt, adjust, self._grammars.constraint(params))

    @torch.inference_mode()
    def answer(self, prepared: Prepared, job: Job) -> Outcome:
        """Prefill, then one token a step."""
        params = job.request.params
        stream, count = TextStream(self._tokenizer.decode, params.stop), 0
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
        prompt, params = prepared.prompt, job.request.params
        sequence = self._model.sequence(len(prompt.ids) + prompt.limit)
        last = (len(prompt.ids) - 1) // self._chunk * self._chunk
        for start in range(0, last, self._chunk):
            if job.cancelled:
                return
            _step(sequence.greedy, prompt.ids[start : start + self._chunk])
        chooser = _Chooser(sequence, prepared, params)
        fresh = prompt.ids[last:]
        for _ in range(prompt.limit):
            if job.cancelled:
                return
            token, logits = chooser.next(fresh)
            yield token, logits
            fresh = [token]

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
        sequence, scores = self._model.sequence(len(ids) - 1), []
        for start in range(0, len(ids) - 1, CHUNK):
            chunk = ids[start : min(start + CHUNK, len(ids) - 1)]
            rows = _numbers(_step(sequence.logits, chunk, all=True)).view(len(chunk), -1)
            for at, row in enumerate(rows, start + 1):  # the row is about the token at this place
                if at >= len(prompt_ids):
                    logprob = float(row.log_softmax(-1)[ids[at]])
                    scores.append(ScoredToken(logprob, self._top(row, top_k)))
        return scores

    def close(self) -> None:
        """Cancel what runs and free the model."""
        super().close()
        self._model = None


class _Chooser:
    """Takes a sequence one token further, by the parameters of its request."""

    def __init__(self, sequence: Any, prepared: Prepared, params: SamplingParams) -> None:
        self._sequence, self._params = sequence, params
        self._adjust, self._constraint = prepared.adjust, prepared.constraint
        self._dice = Dice(params.seed)
        shaped = params.temperature > 0 or params.logprobs is not None or self._adjust.needed
        self._plain = not shaped and self._constraint is None

    def next(self, ids: list[int]) -> tuple[int, Tensor | None]:
        """The token after these, which are new; with its logits (V) if Python has seen them.

        Raises:
            EngineError: the model's output is not a number.
        """
        if self._plain:
            token = _step(self._sequence.greedy, ids)
            if token is None:
                raise _poisoned()
            return token, None
        logits = _numbers(_step(self._sequence.logits, ids))
        if not logits.max().isfinite():
            raise _poisoned()
        allowed = self._constraint.allowed() if self._constraint else None
        token = choose(logits, self._params, self._dice, self._adjust, allowed)
        self._adjust.note(token)
        if self._constraint:
            self._constraint.note(token)
        return token, logits


def _step(call: Any, ids: list[int], **arguments: Any) -> Any:
    try:
        return call(ids, **arguments)
    except RuntimeError as error:
        raise EngineError(f"candle failed: {first_line(error)}.") from error


def _numbers(logits: bytearray) -> Tensor:
    return torch.frombuffer(logits, dtype=torch.float32)


def _poisoned() -> EngineError:
    return EngineError("The model's output is not a number; are its weights damaged?")


def _positive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{name} is {value!r} but must be a whole number above 0.")
    return value
