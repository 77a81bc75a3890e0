"""Hugging Face transformers: any causal language model that AutoModelForCausalLM loads.

The model and its KV cache are the library's; the loop around them is ours, so that cancelling,
seeds and logprobs work as in our own engine. Requests run one after another. The library's
tokenizer takes the spelling of a control token inside a text for that control token.
"""

from __future__ import annotations

import contextlib
import copy
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from airust.engines.base import Capabilities, ScoredToken, take_options
from airust.engines.constraint import Constraint, Grammars, Vocabulary, read_vocabulary
from airust.engines.logits import score_token, token_event
from airust.engines.model_files import find_model
from airust.engines.text import Prompt, TextStream, checked_ids, fit_prompt, new_token_limit
from airust.engines.worker import Job, Outcome, WorkerEngine, first_line
from airust.gpt.sampling import Adjustments, Dice, choose
from airust.types import (
    FinishReason,
    Request,
    SamplingParams,
    TokenEvent,
    UnsupportedError,
    UserError,
)

OPTIONS: dict[str, object] = {
    "dtype": "float32",  # float32, bfloat16 or float16
    "threads": None,  # CPU threads; None leaves it to PyTorch
    "static_cache": False,  # a KV cache of fixed size that requests share, instead of growing ones
    "compile": False,  # torch.compile the step of one token; needs static_cache, C++ compiler, time
}
CACHE_STEP = 256  # the static cache's size is a multiple of this, for few compiled sizes
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request as token ids, and what shapes its answer."""

    prompt: Prompt
    adjust: Adjustments
    constraint: Constraint | None


class TransformersEngine(WorkerEngine[Prepared]):
    """A model in transformers, on the CPU or, where there is one, a GPU."""

    name: ClassVar[str] = "transformers"
    sampler: ClassVar[str] = "airust.gpt.sampling"
    capabilities: ClassVar[Capabilities] = Capabilities(
        raw_prompt=True,
        token_ids=True,
        logprobs=True,
        seed=True,
        json_schema=True,
        regex=True,
        min_p=True,
        repetition_penalty=True,
        penalties=True,
        logit_bias=True,
        ignore_eos=True,
        trim=True,
    )

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        threads: int | None = None,
        static_cache: bool = False,
        compile_step: bool = False,
    ) -> None:
        super().__init__(workers=1)
        self._model, self._tokenizer, self._threads = model, tokenizer, threads
        self._static_cache = static_cache
        self._cache: Any = None
        self._cache_size = 0  # tokens
        self._step = torch.compile(model) if compile_step else model
        self._tokenizing = threading.Lock()  # the Rust tokenizer refuses two users at a time
        config = model.config.get_text_config()
        limit = int(getattr(config, "max_position_embeddings", None) or 0)
        self._context = limit if limit > 0 else sys.maxsize  # some models have no limit
        self._vocab_size = int(config.vocab_size)
        self._settings: dict[str, object] = {
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(model.device),
            "threads": threads or torch.get_num_threads(),
            "static_cache": static_cache,
            "compile": compile_step,
        }
        self._eos = _as_ids(model.generation_config.eos_token_id) or _as_ids(config.eos_token_id)
        size, eos, lock = self._vocab_size, self._eos, self._tokenizing
        # Not a method: nothing here may hold the engine, so that a forgotten one is freed.
        self._grammars = Grammars(lambda: _vocabulary(tokenizer, lock, size, eos), size)

    @classmethod
    def load(cls, model: str | Path, **options: object) -> Self:
        """Load a folder or a hub name; see OPTIONS."""
        values = take_options(cls.name, options, OPTIONS)
        dtype, threads = values["dtype"], values["threads"]
        if dtype not in DTYPES:
            raise UserError(f"dtype is {dtype!r} but must be one of: {', '.join(DTYPES)}.")
        if threads is not None and (not isinstance(threads, int) or threads < 1):
            raise UserError(f"threads is {threads!r} but must be a whole number above 0.")
        static, compiled = (_flag(name, values[name]) for name in ("static_cache", "compile"))
        if compiled and not static:
            raise UserError("compile needs a cache of fixed size; add static_cache=true.")
        path = find_model(model)
        import transformers

        loaded: Any
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            with _quiet(transformers.utils.logging):
                tokenizer = transformers.AutoTokenizer.from_pretrained(path, local_files_only=True)
                loaded = transformers.AutoModelForCausalLM.from_pretrained(
                    path, dtype=getattr(torch, str(dtype)), local_files_only=True
                )
        except Exception as error:  # whatever any of its hundreds of models raises
            raise UserError(f"transformers cannot load '{path}': {first_line(error)}.") from error
        if getattr(loaded, "_is_stateful", False):
            raise UserError(f"'{path}' is a recurrent model, which this engine does not run.")
        engine = cls(loaded.to(device).eval(), tokenizer, threads, static, compiled)
        if compiled:
            engine._compile()
        return engine

    @property
    def settings(self) -> dict[str, object]:
        """What was loaded: dtype, device, threads, static_cache, compile."""
        return dict(self._settings)

    @property
    def context(self) -> int | None:
        """As in the base class; None also where the model has no limit."""
        return None if self._context == sys.maxsize else self._context

    def prepare(self, request: Request) -> Prepared:
        """The prompt's token ids, by the model's own chat template."""
        prompt, params = fit_prompt(request, self.prompt_ids, self._context), request.params
        return Prepared(
            prompt,
            Adjustments(params, prompt.ids, self._vocab_size, self._model.device),
            self._grammars.constraint(params),
        )

    def prompt_ids(self, request: Request) -> list[int]:
        """As in the base class, by the model's own chat template."""
        if request.token_ids is not None:
            return checked_ids(request.token_ids, self._vocab_size)
        with self._tokenizing:
            if request.prompt is not None:
                return list(self._tokenizer(request.prompt)["input_ids"])
            if not self._tokenizer.chat_template:
                raise UnsupportedError("The model has no chat template; give it a raw prompt.")
            turns = [{"role": m.role, "content": m.content} for m in request.messages or ()]
            try:
                return list(
                    self._tokenizer.apply_chat_template(
                        turns, add_generation_prompt=True, return_dict=False
                    )
                )
            except Exception as error:  # the template refuses, in the words of its author
                raise UserError(
                    f"The model's chat template refuses these messages: {first_line(error)}."
                ) from error

    def encode(self, text: str) -> list[int]:
        """As in the base class."""
        with self._tokenizing:
            return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """As in the base class."""
        return self._decode(checked_ids(ids, self._vocab_size), skip_special=False)

    def _decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        with self._tokenizing:
            text: str = self._tokenizer.decode(
                list(ids), skip_special_tokens=skip_special, clean_up_tokenization_spaces=False
            )
        return text

    @torch.inference_mode()
    def answer(self, prepared: Prepared, job: Job) -> Outcome:
        """Prefill, then one token a step."""
        params = job.request.params
        stream, count = TextStream(self._decode, params.stop), 0
        reason: FinishReason = "length"
        with self._with_threads():
            for token, logits in self._tokens(prepared, job):
                count += 1
                if token in self._eos and not params.ignore_eos:
                    reason = "stop"
                    break
                text = stream.push(token)
                job.emit(token_event(text, token, logits, params.logprobs, self.decode))
                if stream.stopped or (prepared.constraint and prepared.constraint.complete):
                    reason = "stop"
                    break
            else:
                reason = "cancelled" if job.cancelled else "length"
        if reason != "cancelled" and (rest := stream.finish()):
            job.emit(TokenEvent(rest))
        return Outcome(reason, prepared.prompt.usage(count))

    def _tokens(self, prepared: Prepared, job: Job) -> Iterator[tuple[int, Tensor]]:
        """Each chosen token with the logits (V) that it was chosen from."""
        params, dice = job.request.params, Dice(job.request.params.seed)
        prompt, adjust, constraint = prepared.prompt, prepared.adjust, prepared.constraint
        fresh, cache = prompt.ids, self._empty_cache(len(prompt.ids) + prompt.limit)
        for _ in range(prompt.limit):
            if job.cancelled:
                return
            out = self._forward(fresh, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache, logits = out.past_key_values, out.logits[0, -1].float()  # (V)
            allowed = constraint.allowed().to(logits.device) if constraint else None
            token = choose(logits, params, dice, adjust, allowed)
            adjust.note(token)
            if constraint:
                constraint.note(token)
            yield token, logits
            fresh = [token]

    def _forward(self, ids: Sequence[int], **arguments: Any) -> Any:
        forward = self._step if len(ids) == 1 and arguments["use_cache"] else self._model
        return forward(torch.tensor([list(ids)], device=self._model.device), **arguments)

    def _empty_cache(self, tokens: int) -> Any:
        """A cache with room for so many tokens; None for one that grows."""
        if not self._static_cache:
            return None
        if self._cache_size < tokens:
            from transformers import StaticCache

            self._cache_size = min(-(-tokens // CACHE_STEP) * CACHE_STEP, self._context)
            self._cache = StaticCache(self._model.config, max_cache_len=self._cache_size)
        self._cache.reset()
        return self._cache

    @torch.inference_mode()
    def _compile(self) -> None:
        """Compile now: here a failure is clear, and the first request is as quick as the others.

        Raises:
            UserError: it does not work here.
        """
        cache = self._empty_cache(min(CACHE_STEP, self._context))
        try:
            with self._with_threads():
                for _ in range(2):  # the second call is compiled anew, for a cache that is there
                    self._forward([0], past_key_values=cache, use_cache=True, logits_to_keep=1)
        except Exception as error:
            raise UserError(f"torch.compile fails here: {first_line(error)}.") from error

    @torch.inference_mode()
    def score(
        self, prompt_ids: Sequence[int], continuation_ids: Sequence[int], top_k: int = 8
    ) -> list[ScoredToken]:
        """As in the base class, by one forward pass."""
        self.check_open()
        ids = checked_ids([*prompt_ids, *continuation_ids], self._vocab_size)
        new_token_limit(len(ids) - 1, SamplingParams(), self._context)
        with self._with_threads():
            out = self._forward(ids, use_cache=False)
        logits = out.logits[0, len(prompt_ids) - 1 : -1].float()  # (n, V)
        return [
            score_token(token, row, top_k, self.decode)
            for token, row in zip(continuation_ids, logits, strict=True)
        ]

    @contextlib.contextmanager
    def _with_threads(self) -> Iterator[None]:
        # PyTorch keeps this number for each calling thread.
        if self._threads is None:
            yield
            return
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def close(self) -> None:
        """Cancel what runs and free the model."""
        super().close()
        self._model = self._step = self._cache = None


def _vocabulary(
    tokenizer: Any, tokenizing: threading.Lock, size: int, eos: Iterable[int]
) -> Vocabulary:
    if not tokenizer.is_fast:
        raise ValueError("it has no tokenizer.json")
    with tokenizing:
        backend = copy.copy(tokenizer.backend_tokenizer)
    backend.no_padding()
    backend.no_truncation()
    return read_vocabulary(backend.to_str(), size, eos)


@contextlib.contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """No progress bar and no warnings while a model is loaded."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"{name} is {value!r} but must be true or false.")
    return value


def _as_ids(value: int | Sequence[int] | None) -> frozenset[int]:
    if value is None:
        return frozenset()
    return frozenset([value] if isinstance(value, int) else value)
