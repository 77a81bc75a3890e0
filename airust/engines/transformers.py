"""Hugging Face transformers: any causal language model that AutoModelForCausalLM loads.

The model and its KV cache are the library's; the loop around them is ours, so that cancelling,
seeds and logprobs work as in our own engine. Requests run one after another.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from airust.engines.base import Capabilities, ScoredToken, take_options
from airust.engines.model_files import find_model
from airust.engines.text import TextStream, checked_ids, new_token_limit
from airust.engines.worker import Job, Outcome, WorkerEngine, first_line
from airust.gpt.sampling import Dice, choose, top_logprobs
from airust.types import (
    FinishReason,
    Request,
    SamplingParams,
    TokenEvent,
    TopLogprob,
    UnsupportedError,
    Usage,
    UserError,
)

OPTIONS: dict[str, object] = {
    "dtype": "float32",  # float32, bfloat16 or float16
    "threads": None,  # CPU threads; None leaves it to PyTorch
}
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request as token ids."""

    ids: list[int]
    max_tokens: int


class TransformersEngine(WorkerEngine[Prompt]):
    """A model in transformers, on the CPU or, where there is one, a GPU."""

    name: ClassVar[str] = "transformers"
    capabilities: ClassVar[Capabilities] = Capabilities(
        raw_prompt=True,
        token_ids=True,
        logprobs=True,
        seed=True,
        min_p=True,
        repetition_penalty=True,
        ignore_eos=True,
    )

    def __init__(self, model: Any, tokenizer: Any, threads: int | None = None) -> None:
        super().__init__(workers=1)
        self._model, self._tokenizer, self._threads = model, tokenizer, threads
        self._tokenizing = threading.Lock()  # the Rust tokenizer refuses two users at a time
        config = model.config.get_text_config()
        limit = int(getattr(config, "max_position_embeddings", None) or 0)
        self._context = limit if limit > 0 else sys.maxsize  # some models have no limit
        self._vocab_size = int(config.vocab_size)
        self._settings: dict[str, object] = {
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(model.device),
            "threads": threads or torch.get_num_threads(),
        }
        self._eos = _as_ids(model.generation_config.eos_token_id) or _as_ids(config.eos_token_id)

    @classmethod
    def load(cls, model: str | Path, **options: object) -> Self:
        """Load a folder or a hub name; see OPTIONS."""
        values = take_options(cls.name, options, OPTIONS)
        dtype, threads = values["dtype"], values["threads"]
        if dtype not in DTYPES:
            raise UserError(f"dtype is {dtype!r} but must be one of: {', '.join(DTYPES)}.")
        if threads is not None and (not isinstance(threads, int) or threads < 1):
            raise UserError(f"threads is {threads!r} but must be a whole number above 0.")
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
        return cls(loaded.to(device).eval(), tokenizer, threads)

    @property
    def settings(self) -> dict[str, object]:
        """What was loaded: dtype, device, threads."""
        return dict(self._settings)

    @property
    def context(self) -> int | None:
        """As in the base class; None also where the model has no limit."""
        return None if self._context == sys.maxsize else self._context

    def prepare(self, request: Request) -> Prompt:
        """The prompt's token ids, by the model's own chat template."""
        ids = self.prompt_ids(request)
        return Prompt(ids, new_token_limit(len(ids), request.params, self._context))

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
    def answer(self, prepared: Prompt, job: Job) -> Outcome:
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
                job.emit(self._event(token, logits, stream.push(token), params.logprobs))
                if stream.stopped:
                    reason = "stop"
                    break
            else:
                reason = "cancelled" if job.cancelled else "length"
        if reason != "cancelled" and (rest := stream.finish()):
            job.emit(TokenEvent(rest))
        return Outcome(reason, Usage(len(prepared.ids), count))

    def _tokens(self, prompt: Prompt, job: Job) -> Iterator[tuple[int, Tensor]]:
        """Each chosen token with the logits (V) that it was chosen from."""
        params, dice = job.request.params, Dice(job.request.params.seed)
        seen = torch.zeros(self._vocab_size, dtype=torch.bool, device=self._model.device)
        seen[prompt.ids] = True
        fresh, cache = prompt.ids, None
        for _ in range(prompt.max_tokens):
            if job.cancelled:
                return
            out = self._forward(fresh, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache, logits = out.past_key_values, out.logits[0, -1].float()  # (V)
            token = choose(logits, params, dice, seen)
            yield token, logits
            seen[token] = True
            fresh = [token]

    def _forward(self, ids: Sequence[int], **arguments: Any) -> Any:
        return self._model(torch.tensor([list(ids)], device=self._model.device), **arguments)

    def _event(self, token: int, logits: Tensor, text: str, logprobs: int | None) -> TokenEvent:
        if logprobs is None:
            return TokenEvent(text, token)
        return TokenEvent(
            text, token, float(logits.log_softmax(-1)[token]), self._top(logits, logprobs)
        )

    def _top(self, logits: Tensor, k: int) -> tuple[TopLogprob, ...]:
        return tuple(TopLogprob(i, self._decode([i], False), p) for i, p in top_logprobs(logits, k))

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
            ScoredToken(float(row.log_softmax(-1)[token]), self._top(row, top_k))
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
        self._model = None


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


def _as_ids(value: int | Sequence[int] | None) -> frozenset[int]:
    if value is None:
        return frozenset()
    return frozenset([value] if isinstance(value, int) else value)
