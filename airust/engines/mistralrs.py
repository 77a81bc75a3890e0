"""mistral.rs: an inference engine in Rust, with continuous batching.

The library has traps, all of which were met while writing this file:

* one send at a time (a second thread gets "Already borrowed"), though answers may be read in
  parallel, hence the lock around sending only;
* it reads environment variables once, and without ``RUST_LOG=off`` it logs to stdout;
* a seed fails on the CPU and breaks every later model of the process, so none is ever passed;
* a missing sampling setting is taken from the model's ``generation_config.json``, where
  ``do_sample: false`` silently makes everything greedy, so all of them are passed;
* a request ends early only when its iterator is dropped;
* whitespace at the very beginning of an answer is dropped; only a request for logprobs, which
  slows every token down, tells what it was, and then it is put back;
* logprobs are those of the distribution after temperature, penalties, bias and grammar;
* a bias for a token that does not exist is dropped without a word;
* prompts are text: token ids pass only if tokenising their text gives them back, and the spelling
  of a control token inside a message becomes that control token.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from airust.engines.base import Capabilities, take_options
from airust.engines.chat_template import ChatTemplate
from airust.engines.constraint import checked_regex, compact_schema
from airust.engines.model_files import find_model
from airust.engines.text import Prompt, fit_prompt
from airust.engines.worker import Job, Outcome, WorkerEngine, first_line
from airust.gpt.text import REPLACEMENT
from airust.types import (
    EngineError,
    Request,
    SamplingParams,
    TokenEvent,
    TopLogprob,
    UnsupportedError,
    UserError,
)

OPTIONS: dict[str, object] = {
    "dtype": "float32",  # float32, bfloat16, float16, or auto: as stored
    "quantize": None,  # while loading, for instance to "Q8_0" or "Q4K"
    "threads": None,  # CPU threads; None leaves it to the library
    "max_seqs": 32,  # requests generated at the same time
    "prefix_cache": True,  # keep what an answer computed for a request that begins the same
}
DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16", "auto": "Auto"}
CACHED_ANSWERS = 16  # the library's own default
MOST_SKIPPED = 8  # tokens at the cut of a prompt that was too long
ALL_TOKENS = 2**31 - 1  # a top_k that keeps every token


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request as mistral.rs takes it."""

    text: str
    prompt: Prompt


class MistralRsEngine(WorkerEngine[Prepared]):
    """A model in mistral.rs. Each running answer keeps one thread waiting, ``max_seqs`` at most."""

    name: ClassVar[str] = "mistralrs"
    capabilities: ClassVar[Capabilities] = Capabilities(
        raw_prompt=True,
        token_ids=True,
        logprobs=True,
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
        library: Any,
        runner: Any,
        template: ChatTemplate | None,
        max_seqs: int,
        settings: dict[str, object],
    ) -> None:
        super().__init__(max_seqs)
        self._library, self._runner, self._template = library, runner, template
        self._settings = settings
        self._sending = threading.Lock()
        self._context = int(runner.max_sequence_length() or sys.maxsize)

    @classmethod
    def load(cls, model: str | Path, **options: object) -> Self:
        """Load a folder, a GGUF file or a hub name; see OPTIONS."""
        values = take_options(cls.name, options, OPTIONS)
        dtype, quant = values["dtype"], values["quantize"]
        max_seqs = _positive("max_seqs", values["max_seqs"])
        threads = None if values["threads"] is None else _positive("threads", values["threads"])
        if dtype not in DTYPES:
            raise UserError(f"dtype is {dtype!r} but must be one of: {', '.join(DTYPES)}.")
        if quant is not None and not isinstance(quant, str):
            raise UserError(f"quantize is {quant!r} but must be a name such as 'Q8_0'.")
        if not isinstance(values["prefix_cache"], bool):
            raise UserError(
                f"prefix_cache is {values['prefix_cache']!r} but must be true or false."
            )
        path = find_model(model, gguf=True)
        template = ChatTemplate.of_model(path)
        library = _library(threads)
        runner = _runner(
            library,
            path,
            DTYPES[str(dtype)],
            in_situ_quant=quant,
            max_seqs=max_seqs,
            prefix_cache_n=CACHED_ANSWERS if values["prefix_cache"] else 0,
        )
        settings: dict[str, object] = {
            "dtype": quant or _weights(path) or ("as stored" if dtype == "auto" else dtype),
            "kv_cache": "float32" if os.environ["MISTRALRS_CPU_KV_F32"] == "1" else "float16",
            "threads": int(os.environ.get("RAYON_NUM_THREADS") or 0) or "automatic",
            "max_seqs": max_seqs,
            "prefix_cache": values["prefix_cache"],
        }
        return cls(library, runner, template, max_seqs, settings)

    @property
    def settings(self) -> dict[str, object]:
        """What was loaded: dtype, kv_cache, threads, max_seqs, prefix_cache."""
        return dict(self._settings)

    @property
    def context(self) -> int | None:
        """As in the base class."""
        return None if self._context == sys.maxsize else self._context

    def encode(self, text: str) -> list[int]:
        """As in the base class."""
        return self._tokenize(text, add_special=False)

    def decode(self, ids: Sequence[int]) -> str:
        """As in the base class."""
        for token_id in set(ids):
            # The library leaves out what it does not know. Twice: a first space is stripped.
            if token_id < 0 or not self._detokenize([token_id, token_id]):
                raise UserError(f"Token id {token_id} is outside the vocabulary.")
        return self._detokenize(ids)

    def _detokenize(self, ids: Sequence[int]) -> str:
        self.check_open()
        try:
            with self._sending:
                return str(self._runner.detokenize_text(list(ids), False))
        except (ValueError, OverflowError) as error:
            raise UserError(f"These are not token ids: {first_line(error)}.") from error

    def prepare(self, request: Request) -> Prepared:
        """Render, tokenise, and refuse what mistral.rs would answer wrongly."""
        params = request.params
        if params.logprobs is not None and _alters_logprobs(params):
            raise UnsupportedError(
                "mistral.rs gives the model's own logprobs only with temperature 0 or 1 and "
                "without penalties, logit_bias, JSON schema or regular expression."
            )
        self.decode([token_id for token_id, _ in params.logit_bias])  # refuses unknown tokens
        _grammar(params)
        prompt = fit_prompt(request, self.prompt_ids, self._context)
        if prompt.request.token_ids == request.token_ids:
            return Prepared(self._prompt_text(prompt.request), prompt)
        return self._cut(prompt)

    def _cut(self, prompt: Prompt) -> Prepared:
        """A prompt whose beginning was left out, perhaps in the middle of a character.

        The first tokens of the rest go too, until its text is tokenised as it was.
        """
        for skip in range(min(MOST_SKIPPED, len(prompt.ids))):
            ids, trimmed = prompt.ids[skip:], prompt.trimmed_tokens + skip
            with contextlib.suppress(UnsupportedError):
                return Prepared(
                    self._text_of(ids), replace(prompt, ids=ids, trimmed_tokens=trimmed)
                )
        return Prepared(self._text_of(prompt.ids), prompt)

    def prompt_ids(self, request: Request) -> list[int]:
        return list(request.token_ids or self._tokenize(self._prompt_text(request)))

    def _prompt_text(self, request: Request) -> str:
        if request.messages is not None:
            if self._template is None:
                raise UnsupportedError("The model has no chat template; give it a raw prompt.")
            return self._template.render(request.messages)
        if request.prompt is not None:
            return request.prompt
        return self._text_of(request.token_ids or ())

    def _tokenize(self, text: str, add_special: bool = True) -> list[int]:
        self.check_open()
        with self._sending:
            return list(self._runner.tokenize_text(text, add_special, None))

    def _text_of(self, ids: Sequence[int]) -> str:
        """A text that mistral.rs tokenises to exactly these ids."""
        for part in (ids, ids[1:]):  # the tokenizer may put its first token there by itself
            text = self._detokenize(part)
            if text and self._tokenize(text) == list(ids):
                return text
        raise UnsupportedError(
            "mistral.rs takes prompts as text, and the text of these token ids is tokenised "
            "differently; give it the text."
        )

    def answer(self, prepared: Prepared, job: Job) -> Outcome:
        """Send, and pass the chunks on; leaving drops the iterator, which cancels."""
        params, count = job.request.params, 0
        with self._sending:
            chunks = self._runner.send_chat_completion_request(
                self._request(prepared, params, stream=True)
            )
        try:
            for chunk in chunks:
                if job.cancelled:
                    break
                choice = chunk.choices[0]
                text = choice.delta.content or ""
                if count == 0 and choice.logprobs is not None:
                    text = _dropped(choice.logprobs.token, text) + text
                event = _token_event(text, choice.logprobs, params.logprobs)
                count += 1
                if choice.finish_reason is None or event.text or choice.logprobs:
                    job.emit(event)
                if choice.finish_reason is not None:
                    usage = prepared.prompt.usage(chunk.usage.completion_tokens)
                    return Outcome("length" if choice.finish_reason == "length" else "stop", usage)
        except ValueError as error:
            # A grammar that cannot be compiled shows before the first token.
            constrained = params.json_schema is not None or params.regex is not None
            kind = UserError if constrained and not count else EngineError
            raise kind(f"mistral.rs: {first_line(error)}.") from error
        return Outcome("cancelled", prepared.prompt.usage(count))

    def greedy(
        self, prompt_ids: Sequence[int], max_tokens: int, top_k: int = 0
    ) -> list[TokenEvent]:
        """As in the base class; in one blocking call, because only that reports every token.

        A stream leaves out tokens without text, such as the end-of-text token.
        """
        params = SamplingParams(max_tokens=max_tokens, ignore_eos=True, logprobs=max(top_k, 1))
        request = Request(token_ids=tuple(prompt_ids), params=params)
        self.check_open()
        prepared = self.prepare(request)
        try:
            with self._sending:
                answer = self._runner.send_chat_completion_request(
                    self._request(prepared, params, stream=False)
                )
        except ValueError as error:
            raise EngineError(f"mistral.rs: {first_line(error)}.") from error
        return [_token_event(p.token, p, top_k) for p in answer.choices[0].logprobs.content]

    def _request(self, prepared: Prepared, params: SamplingParams, stream: bool) -> Any:
        kind, grammar = _grammar(params)
        return self._library.ChatCompletionRequest(
            model="default",
            messages=[{"role": "user", "content": prepared.text}],
            stream=stream,
            max_tokens=prepared.prompt.limit,
            temperature=params.temperature,
            top_k=params.top_k or ALL_TOKENS,
            top_p=params.top_p,
            min_p=params.min_p,
            repetition_penalty=params.repetition_penalty,
            presence_penalty=params.presence_penalty,
            frequency_penalty=params.frequency_penalty,
            logit_bias=dict(params.logit_bias) or None,
            stop_seqs=list(params.stop) or None,
            logprobs=params.logprobs is not None,
            top_logprobs=max(params.logprobs or 0, 1),  # the first one tells the token's id
            grammar=grammar,
            grammar_type=kind,
            ignore_eos=params.ignore_eos,
        )

    def close(self) -> None:
        """Cancel what runs and free the model."""
        super().close()
        self._runner = None


def _library(threads: int | None) -> Any:
    """Import mistralrs; what it reads from the environment is fixed when it is first used."""
    os.environ.setdefault("RUST_LOG", "off")
    os.environ.setdefault("MISTRALRS_CPU_KV_F32", "1")
    if threads is not None:
        if "mistralrs" in sys.modules and os.environ.get("RAYON_NUM_THREADS") != str(threads):
            raise UserError(
                "mistral.rs fixes its number of threads when it is first loaded; "
                "start a new process to change it."
            )
        os.environ["RAYON_NUM_THREADS"] = os.environ["CANDLE_NUM_THREADS"] = str(threads)
    import mistralrs

    return mistralrs


def _runner(library: Any, path: Path, dtype: str, **options: Any) -> Any:
    kind = getattr(library.ModelDType, dtype)
    if path.is_dir():
        which = library.Which.Plain(model_id=str(path), arch=None, dtype=kind)
    else:
        which = library.Which.GGUF(
            quantized_model_id=str(path.parent), quantized_filename=path.name, dtype=kind
        )
    with tempfile.TemporaryDirectory() as folder:
        # A chat request is the only kind that streams, and this template makes it a raw prompt.
        template = Path(folder) / "prompt.jinja"
        template.write_text("{{ messages[0]['content'] }}", "utf-8")
        try:
            return library.Runner(which=which, jinja_explicit=str(template), **options)
        except BaseException as error:  # a panic of the Rust side is no Exception
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            raise UserError(f"mistral.rs cannot load '{path}': {first_line(error)}.") from error


def _weights(path: Path) -> str | None:
    """The number format of a GGUF file, where it is not a float that ``dtype`` converts."""
    if path.is_dir():
        return None
    from airust.gpt.gguf_reader import GGUFFile

    sizes: Counter[str] = Counter()
    for tensor in GGUFFile(path).tensors.values():
        sizes[tensor.kind.name] += math.prod(tensor.shape)
    ((kind, _),) = sizes.most_common(1)
    return None if kind in DTYPES.values() else kind.lower()


def _alters_logprobs(params: SamplingParams) -> bool:
    """Something changes the distribution that the library takes its logprobs from."""
    plain = SamplingParams()
    names = (
        "repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias",
        "json_schema", "regex",
    )  # fmt: skip
    changed = any(getattr(params, name) != getattr(plain, name) for name in names)
    return changed or params.temperature not in (0, 1)


def _grammar(params: SamplingParams) -> tuple[str | None, str | None]:
    """What the answer has to match, as mistral.rs wants it: kind and text."""
    if params.json_schema is not None:
        return "json_schema", json.dumps(compact_schema(params.json_schema))
    if params.regex is not None:
        return "regex", checked_regex(params.regex)
    return None, None


def _token_event(text: str, found: Any, top_k: int | None) -> TokenEvent:
    """One token; ``found`` is mistral.rs' record of it, None where it gives none."""
    if found is None or top_k is None:
        return TokenEvent(text)
    top = tuple(TopLogprob(t.token, t.bytes or "", t.logprob) for t in found.top_logprobs)
    ids = (t.token_id for t in top if t.logprob == found.logprob and t.text == found.token)
    return TokenEvent(text, next(ids, None), found.logprob, top[:top_k])


def _dropped(token: str, text: str) -> str:
    """Whitespace of an answer's first token that is missing in its first text.

    >>> _dropped(" The", "The"), _dropped("The", "The"), _dropped(" \ufffd", "")
    (' ', '', ' ')
    """
    first = token.rstrip(REPLACEMENT).removesuffix(text)  # a character may still be incomplete
    return first if first.isspace() else ""


def _positive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{name} is {value!r} but must be a whole number above 0.")
    return value
