"""The engine contract over llama.cpp.

Requests share one context and one thread. Each step of the thread decodes one batch: a token of
every answer that is under way, and as much of the waiting prompts as fits beside them. Tokens are
chosen by ``airust.gpt.sampling``, so that greedy decoding, seeds and logprobs mean the same as in
the torch engine.

A Hugging Face folder is converted once, to ``model-f32.gguf`` beside its weights, and again when
they change.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self, cast

from airust.engines.base import (
    Capabilities,
    Engine,
    EngineStats,
    EventCallback,
    ScoredToken,
    take_options,
)
from airust.engines.constraint import Grammars
from airust.engines.llamacpp.context import LlamaContext, library
from airust.engines.llamacpp.scheduler import Generation, Scheduler, Scoring
from airust.engines.llamacpp.tokenizer import EngineTokenizer, tokenizer_of_file
from airust.engines.model_files import find_model
from airust.engines.model_tokenizer import ModelTokenizer
from airust.engines.text import checked_ids, fit_prompt, prompt_ids
from airust.gpt.gguf import TYPES, GGUFType, folder_fingerprint, gguf_source, save_gguf
from airust.gpt.sampling import Adjustments
from airust.types import ContextOverflowError, EngineError, Request, UserError

OPTIONS: dict[str, object] = {
    "dtype": None,  # of a folder's conversion: f32 if not given, bf16 or q8_0
    "threads": None,  # that compute; None for one a core
    "max_batch": None,  # answers generated at the same time; None for up to 16, as memory allows
    "context": None,  # tokens of prompt and answer; None for what the model was trained with
    "prefix_cache": True,  # keep what an answer computed for a request that begins the same
}
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}  # llama.cpp's names


@dataclass(frozen=True, slots=True)
class Source:
    """A GGUF file to load."""

    path: Path
    folder: Path | None = None  # the Hugging Face folder that it was made from
    scratch: tempfile.TemporaryDirectory[str] | None = None  # holds the file, while it is used


class LlamaCppEngine(Engine):
    """A model in llama.cpp."""

    name: ClassVar[str] = "llamacpp"
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
        self,
        context: LlamaContext,
        tokenizer: EngineTokenizer,
        prefix_cache: bool = True,
        scratch: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        self._context, self._tokenizer = context, tokenizer
        size = context.vocab_size
        self._grammars = Grammars(lambda: tokenizer.vocabulary(size), size)
        self._settings: dict[str, object] = {
            "dtype": DTYPES.get(kind := context.describe().split()[-1], kind.lower()),
            "kv_cache": "float32",
            "threads": context.threads,
            "max_batch": context.sequences,
            "context": context.context,
            "prefix_cache": prefix_cache,
        }
        scheduler = Scheduler(context, prefix_cache)
        self._scheduler = scheduler
        # The thread must end before the interpreter takes the library away under it.
        self._stop = weakref.finalize(self, _end, scheduler, scratch)

    @classmethod
    def load(cls, model: str | Path, **options: object) -> Self:
        """Load a GGUF file, a folder with one, or a Hugging Face folder or hub name; see OPTIONS.

        Raises:
            EngineUnavailableError: llama-cpp-python is not installed.
            UserError: the model cannot be read or converted, or an option is wrong.
        """
        values = take_options(cls.name, options, OPTIONS)
        numbers = {name: _count(name, values[name]) for name in ("threads", "max_batch", "context")}
        library()  # before a long conversion
        source = _find(model, values["dtype"])
        with contextlib.ExitStack() as undo:
            if source.scratch:
                undo.callback(source.scratch.cleanup)
            context = LlamaContext(
                source.path,
                threads=numbers["threads"] or _cores(),
                sequences=numbers["max_batch"],
                context=numbers["context"],
            )
            undo.callback(context.close)
            tokenizer = _tokenizer(source, context)
            engine = cls(context, tokenizer, bool(values["prefix_cache"]), source.scratch)
            undo.pop_all()  # from here on close() does it
        return engine

    @property
    def settings(self) -> dict[str, object]:
        """What was loaded: dtype, kv_cache, threads, max_batch, context, prefix_cache."""
        return dict(self._settings)

    @property
    def context(self) -> int | None:
        """As in the base class."""
        return self._context.context

    def stats(self) -> EngineStats:
        """As in the base class."""
        return self._scheduler.stats()

    def encode(self, text: str) -> list[int]:
        """As in the base class."""
        self._check_open()
        return self._tokenizer.encode(text, add_special=False)

    def prompt_ids(self, request: Request) -> list[int]:
        """As in the base class."""
        self._check_open()
        return prompt_ids(request, self._tokenizer)

    def decode(self, ids: Sequence[int]) -> str:
        """As in the base class."""
        self._check_open()
        ids = checked_ids(ids, self._tokenizer.vocab_size)
        return self._tokenizer.decode(ids, skip_special=False)

    def submit(self, request: Request, on_event: EventCallback) -> Generation:
        """Queue a request and return at once."""
        self._check_open()
        self.check(request)
        tokenizer, params = self._tokenizer, request.params
        prompt = fit_prompt(request, lambda r: prompt_ids(r, tokenizer), self._context.context)
        adjust = Adjustments(params, prompt.ids, self._context.vocab_size)
        constraint = self._grammars.constraint(params)
        task = Generation(prompt, tokenizer, on_event, adjust, constraint)
        self._scheduler.put(task)
        return task

    def score(
        self, prompt_ids: Sequence[int], continuation_ids: Sequence[int], top_k: int = 8
    ) -> list[ScoredToken]:
        """Teacher-forced logprobs from forward passes over the given tokens.

        Raises:
            UserError: a token id is outside the vocabulary, or there is no prompt.
            ContextOverflowError: the tokens do not fit into the context.
        """
        self._check_open()
        ids = [*prompt_ids, *continuation_ids]
        if not prompt_ids:
            raise UserError("Scoring needs at least one token to go on from.")
        checked_ids(ids, self._context.vocab_size)
        if len(ids) - 1 > self._context.context:
            raise ContextOverflowError(
                f"{len(ids)} tokens do not fit into the context of {self._context.context}."
            )
        if not continuation_ids:
            return []
        task = Scoring(ids, len(prompt_ids), top_k, self._tokenizer)
        self._scheduler.put(task)
        return task.result()

    def _check_open(self) -> None:
        if not self._stop.alive:
            raise EngineError(f"The engine '{self.name}' is closed.")

    def close(self) -> None:
        """Cancel what runs, wait for it to end, and free the model."""
        self._stop()


def _end(scheduler: Scheduler, scratch: tempfile.TemporaryDirectory[str] | None) -> None:
    scheduler.stop()
    if scratch:
        scratch.cleanup()


def _tokenizer(source: Source, context: LlamaContext) -> EngineTokenizer:
    if source.folder:
        return ModelTokenizer.load(source.folder)
    return tokenizer_of_file(source.path, context)


def _find(model: str | Path, dtype: object) -> Source:
    path = Path(model)
    files = sorted(path.glob("*.gguf")) if path.is_dir() else []
    if files and not (path / "config.json").is_file():
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise UserError(f"'{path}' holds several GGUF files; name one of: {names}.")
        path = files[0]
    if path.suffix == ".gguf":
        if not path.is_file():
            raise UserError(f"There is no file '{path}'.")
        if dtype is not None:
            raise UserError("dtype is for converting a folder; a GGUF file has its own.")
        return Source(path)
    if dtype is not None and dtype not in TYPES:
        raise UserError(f"dtype is {dtype!r} but must be one of: {', '.join(TYPES)}.")
    return _converted(find_model(model), cast(GGUFType, dtype or "f32"))


def _converted(folder: Path, dtype: GGUFType) -> Source:
    """The folder as GGUF: kept beside the weights, or in a temporary place if that is refused."""
    beside = folder / f"model-{dtype}.gguf"
    if beside.is_file():
        try:
            made_from = gguf_source(beside)
        except UserError:  # an unreadable file is no one's work
            made_from = "damaged"
        if made_from == folder_fingerprint(folder):
            return Source(beside, folder)
        if not made_from:
            return _converted_elsewhere(folder, dtype)
    try:
        save_gguf(folder, beside, dtype)
    except UserError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        return _converted_elsewhere(folder, dtype)
    return Source(beside, folder)


def _converted_elsewhere(folder: Path, dtype: GGUFType) -> Source:
    scratch = tempfile.TemporaryDirectory(prefix="airust-", ignore_cleanup_errors=True)
    try:
        path = Path(scratch.name) / f"model-{dtype}.gguf"
        save_gguf(folder, path, dtype)
    except BaseException:
        scratch.cleanup()
        raise
    return Source(path, folder, scratch)


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _count(name: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{name} is {value!r} but must be a whole number above 0.")
    return value
