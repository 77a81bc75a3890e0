"""The engine contract over the scheduler."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

import torch

from airust.engines.base import (
    Capabilities,
    Engine,
    EngineStats,
    EventCallback,
    ScoredToken,
    take_options,
)
from airust.engines.constraint import Grammars
from airust.engines.model_files import find_model
from airust.engines.model_tokenizer import ModelTokenizer
from airust.engines.text import checked_ids, fit_prompt, new_token_limit, prompt_ids
from airust.engines.torch.compiled import FEW
from airust.engines.torch.device import DEVICES, DTYPES, choose_device, choose_dtype
from airust.engines.torch.forward import FastGPT
from airust.engines.torch.job import Job
from airust.engines.torch.scheduler import CLOSED, Scheduler
from airust.engines.torch.score import score_tokens
from airust.engines.torch.slots import FIRST_SLOTS, SlotCache, Slots
from airust.engines.torch.steps import Work, plan
from airust.gpt.checkpoint import load_model
from airust.gpt.model import GPT
from airust.gpt.tokenizer import Tokenizer
from airust.types import EngineError, Request, SamplingParams, UserError


@dataclass(frozen=True, slots=True)
class TorchOptions:
    """What ``TorchEngine.load`` takes as options.

    PyTorch has one number of threads for the whole process. While requests run it is the
    engine's, which other work in the process may feel; then it is put back.

    Raises:
        UserError: a value is out of range.
    """

    dtype: str | None = None  # of the weights; "auto" measures; None: float32, bfloat16 on a GPU
    device: str = "auto"  # "cpu", "cuda", or "auto": a GPU if there is one
    threads: int | None = None  # at most; None: PyTorch's. One against all is timed, and adapts
    max_batch: int = 64  # requests that advance in the same step
    max_queue: int = 1024  # further requests that may wait; more are refused
    prefill_chunk: int = 128  # prompt tokens a step; more is faster, but holds others up longer
    cache_mib: int = 4096  # KV cache at most
    prefix_cache: bool = True  # go on from what an ended request left in the KV cache

    def __post_init__(self) -> None:
        known = ("auto", *DTYPES)
        if self.dtype is not None and self.dtype not in known:
            raise UserError(f"dtype is {self.dtype!r} but must be one of: {', '.join(known)}.")
        if self.device not in DEVICES:
            raise UserError(f"device is {self.device!r} but must be one of: {', '.join(DEVICES)}.")
        for name in ("threads", "max_batch", "max_queue", "prefill_chunk", "cache_mib"):
            value = getattr(self, name)
            if name == "threads" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(f"{name} is {value!r} but must be a whole number above 0.")
        if not isinstance(self.prefix_cache, bool):
            raise UserError(f"prefix_cache is {self.prefix_cache!r} but must be true or false.")


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What closing frees."""

    model: FastGPT
    slots: Slots
    scheduler: Scheduler


class TorchEngine(Engine):
    """Our GPT in PyTorch, on the CPU or a GPU, with continuous batching.

    It loads our own folders and those of the Llama, Qwen2, Qwen3 and Phi-3 families, with their own
    chat templates and end tokens.

    The same request with the same seed gives the same tokens whatever else runs, with float32
    weights. What else runs decides which way a step takes (few rows or many, a prompt in which
    chunks, a beginning from the cache), and each way adds in its own order: logits differ in their
    last bits, which moves a token only if it is tied that closely. With bfloat16 or int8 weights
    every layer rounds, a last bit becomes a thousandth, and sampled answers do depend on their
    company; so may greedy ones, at near ties.
    """

    name: ClassVar[str] = "torch"
    sampler: ClassVar[str] = "airust.gpt.sampling"
    capabilities: ClassVar[Capabilities] = Capabilities(
        chat=True,
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
        self, model: GPT, tokenizer: Tokenizer, options: TorchOptions | None = None
    ) -> None:
        self._options = options or TorchOptions()
        self._context, self._vocab_size = model.config.context, model.config.vocab_size
        if not isinstance(tokenizer, ModelTokenizer):
            tokenizer = ModelTokenizer(tokenizer.backend)
        self._tokenizer = tokenizer
        if tokenizer.vocab_size > self._vocab_size:
            raise UserError(
                f"The tokenizer has {tokenizer.vocab_size} tokens but the model only "
                f"{self._vocab_size}; they do not belong together."
            )
        self._grammars = Grammars(partial(tokenizer.vocabulary, self._vocab_size), self._vocab_size)
        self._device = choose_device(self._options.device)
        self._dtype = choose_dtype(self._options.dtype, self._device)
        self._loaded: _Loaded | None = _load(model, self._options, self._dtype, self._device)
        # Threads must end before the interpreter takes the library away under them.
        self._stop = weakref.finalize(self, self._loaded.scheduler.stop)

    @classmethod
    def load(cls, model: str | Path, **options: object) -> Self:
        """Load a Hugging Face folder or hub name; the options are those of ``TorchOptions``."""
        known: dict[str, object] = {f.name: f.default for f in fields(TorchOptions)}
        chosen = TorchOptions(**take_options(cls.name, options, known))  # type: ignore[arg-type]
        folder = find_model(model)
        # As stored: the weights are brought into the wanted type one by one, not twice.
        return cls(load_model(folder, dtype=None), ModelTokenizer.load(folder), chosen)

    @property
    def settings(self) -> dict[str, object]:
        """The options; threads tells which counts are tried."""
        chosen = {f.name: getattr(self._options, f.name) for f in fields(self._options)}
        most = self._options.threads or torch.get_num_threads()
        chosen |= {"device": self._device, "dtype": str(self._dtype).removeprefix("torch.")}
        return chosen | {"threads": 1 if most == 1 else f"1 or {most}"}

    @property
    def context(self) -> int | None:
        """As in the base class."""
        return self._context

    def stats(self) -> EngineStats:
        """As in the base class."""
        return self._loaded.scheduler.stats() if self._loaded else EngineStats()

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

    def _open(self) -> _Loaded:
        if self._loaded is None:
            raise EngineError(CLOSED)
        return self._loaded

    def submit(self, request: Request, on_event: EventCallback) -> Job:
        """Queue a request and return at once.

        Raises:
            UserError: the request is refused.
            EngineError: the engine is closed.
            OverloadedError: too many requests wait.
        """
        loaded = self._open()
        self.check(request)
        prompt = fit_prompt(request, lambda r: prompt_ids(r, self._tokenizer), self._context)
        loaded.slots.check(len(prompt.ids) + prompt.limit)
        constraint = self._grammars.constraint(request.params)
        job = Job(prompt, self._vocab_size, self._tokenizer, on_event, constraint)
        loaded.scheduler.submit(job)
        return job

    def score(
        self, prompt_ids: Sequence[int], continuation_ids: Sequence[int], top_k: int = 8
    ) -> list[ScoredToken]:
        """As in the base class, by one forward pass."""
        loaded, ids = self._open(), [*prompt_ids, *continuation_ids]
        if not continuation_ids:
            return []
        checked_ids(ids, self._vocab_size)
        if not prompt_ids:
            raise UserError("A score needs at least one token to go on from.")
        new_token_limit(len(ids) - 1, SamplingParams(), self._context)
        return score_tokens(loaded.model, self._tokenizer, ids, len(prompt_ids), top_k)

    def close(self) -> None:
        """Cancel what runs, wait for its last step, and free the model."""
        self._stop()
        self._loaded = None


@torch.inference_mode()
def _load(model: GPT, options: TorchOptions, dtype: torch.dtype, device: str) -> _Loaded:
    fast = FastGPT(model, dtype, device)
    cache = SlotCache(model.config, min(FIRST_SLOTS, options.max_batch), device=device)
    # Kernels are compiled, or read from disk, at their first call: now, not in the first request.
    one, prompt = (
        plan([Work(slot=0, start=0, tokens=[0] * count, wanted=True)], cache)[0]
        for count in (1, min(FEW + 1, model.config.context))  # by either way
    )
    for step in (one, prompt):
        fast.forward(step, cache)
    cache.erase(0)
    slots = Slots(cache, options.max_batch, options.cache_mib << 20, options.prefix_cache)
    scheduler = Scheduler(fast, slots, options.max_queue, options.prefill_chunk, options.threads)
    return _Loaded(fast, slots, scheduler)
