"""Any server that speaks OpenAI's API: vLLM, mistralrs serve, llama-server, Ollama, our own.

Two ways to say which model:

* its name, as the server lists it; the server is the option ``base_url``, else the environment
  variable ``OPENAI_BASE_URL``, else api.openai.com;
* the server's address alone, ``http://127.0.0.1:8000/v1``, if it serves one model only.

The key is the option ``api_key`` or ``OPENAI_API_KEY``; most servers of one's own need none.

What a server can do depends on which it is (``kinds.py``), so ``capabilities`` are those of the
loaded server. Everything goes through the official client, which retries what may pass by itself
(refused connections, 408, 409, 429, 5xx) as long as no byte of the answer has come.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import openai

from airust.engines.base import Capabilities, Engine, EngineStats, EventCallback, take_options
from airust.engines.openai import wire
from airust.engines.openai.answer import Answer
from airust.engines.openai.errors import is_overflow
from airust.engines.openai.kinds import KINDS
from airust.engines.openai.loop import Loop
from airust.engines.openai.server import Server, address, client_for, find
from airust.engines.remote import Patience
from airust.engines.text import new_token_limit
from airust.engines.worker import Job, Outcome
from airust.types import EngineError, Request, TokenEvent, UnsupportedError, UserError

OPTIONS: dict[str, object] = {
    "base_url": None,  # the server's address, up to and with /v1
    "api_key": None,  # what the server asks for, if it asks
    "served_as": None,  # the model's name there, where `model` is its folder here (parity)
    "server": "auto",  # what it can do: a row of kinds.py; auto asks it who it is
    "timeout_s": 600.0,  # the longest silence, before the first token and after
    "retries": 2,  # new attempts after a failure that may pass by itself
}
# What a stream may raise: the client's errors, and answers that are no JSON or not of that form.
FAILURES = (openai.OpenAIError, ValueError, KeyError, TypeError, AttributeError)


class OpenAIEngine(Engine):
    """A model behind somebody's HTTP API. All requests wait in one thread."""

    name: ClassVar[str] = "openai"
    # The most that a server is known to do; each instance has those of its own server.
    capabilities: ClassVar[Capabilities] = KINDS["vllm"].capabilities

    def __init__(
        self,
        server: Server,
        loop: Loop,
        settings: dict[str, object],
        watchers: list[Callable[[], None]],
    ) -> None:
        self.capabilities = server.capabilities  # type: ignore[misc]
        self._server, self._loop, self._settings = server, loop, settings
        self._watchers = watchers
        self._stop = weakref.finalize(self, loop.stop, server.client.close)

    @classmethod
    def load(cls, model: str | Path, **options: object) -> Self:
        """Find the server and its model; see the module's docstring and OPTIONS."""
        values = take_options(cls.name, options, OPTIONS)
        patience, kind = Patience.of(values), values["server"]
        if kind not in ("auto", *KINDS):
            raise UserError(f"server is {kind!r} but must be one of: auto, {', '.join(KINDS)}.")
        name, url = address(str(values["served_as"] or model), values["base_url"])
        watchers: list[Callable[[], None]] = []
        client = client_for(url, values["api_key"], patience, watchers)
        loop = Loop()
        try:
            server = loop.wait(find(client, url, patience, name, str(kind)))
        except BaseException:
            loop.stop(client.close)
            raise
        settings: dict[str, object] = {
            "base_url": url,
            "model": server.model,
            "server": server.kind.name,
            "timeout_s": patience.timeout_s,
            "retries": patience.retries,
        }
        return cls(server, loop, settings, watchers)

    def watch_sending(self, watcher: Callable[[], None]) -> None:
        """Call back whenever a request is handed to the network, in the engine's thread."""
        self._watchers.append(watcher)

    @property
    def settings(self) -> dict[str, object]:
        """base_url, model, server (what it was taken for), timeout_s, retries."""
        return dict(self._settings)

    @property
    def context(self) -> int | None:
        """As in the base class; vLLM tells it."""
        return self._server.context

    def stats(self) -> EngineStats:
        """Our own requests; what else the server does is not known."""
        return self._loop.stats()

    def check(self, request: Request) -> None:
        """As in the base class; some servers constrain only answers to messages."""
        super().check(request)
        kind, constrained = self._server.kind, request.params.json_schema is not None
        if constrained and request.messages is None and not kind.prompt_schema:
            raise UnsupportedError(
                f"The engine '{self.name}' supports a JSON schema only with chat messages "
                f"where the server is of the kind '{kind.name}'."
            )

    def submit(self, request: Request, on_event: EventCallback) -> Job:
        """Send a request and return at once."""
        self.check(request)
        body = wire.body(request, self._server.kind, self._server.beside_v1)
        job = Job(request, on_event)
        if not self._loop.submit(job, lambda job: self._answer(job, body)):
            raise self._closed()
        return job

    def encode(self, text: str) -> list[int]:
        """As in the base class; the server is asked."""
        if not self._server.beside_v1:
            return super().encode(text)
        return self._tokens(prompt=text, add_special_tokens=False) if text else []

    def prompt_ids(self, request: Request) -> list[int]:
        """As in the base class; the server is asked, and adds what its tokenizer adds."""
        if request.token_ids is not None or not self._server.beside_v1:
            return super().prompt_ids(request)
        if request.messages is not None:
            return self._tokens(messages=_turns(request))
        return self._tokens(prompt=request.prompt)

    def _tokens(self, **values: object) -> list[int]:
        return [int(token) for token in self._ask("tokenize", **values)["tokens"]]

    def decode(self, ids: Sequence[int]) -> str:
        """As in the base class; the server is asked."""
        if not self._server.beside_v1:
            return super().decode(ids)
        return str(self._ask("detokenize", tokens=list(ids))["prompt"]) if ids else ""

    def _ask(self, path: str, **values: object) -> dict[str, Any]:
        if self._loop.ended:
            raise self._closed()
        try:
            return self._loop.wait(self._server.post(path, **values))
        except openai.OpenAIError as error:
            raise self._server.translate(error) from error

    def _closed(self) -> EngineError:
        return EngineError(f"The engine '{self.name}' is closed.")

    def greedy(
        self, prompt_ids: Sequence[int], max_tokens: int, top_k: int = 0
    ) -> list[TokenEvent]:
        """As in the base class; llama-server tells the ids of tokens only beside logprobs."""
        if top_k or self._server.kind.token_ids:
            return super().greedy(prompt_ids, max_tokens, top_k)
        tokens = super().greedy(prompt_ids, max_tokens, 1)
        return [replace(token, logprob=None, top=()) for token in tokens]

    def close(self) -> None:
        """Cancel what runs, wait for it to end, and close all connections."""
        self._stop()

    # The rest runs in the loop's thread.

    async def _answer(self, job: Job, body: dict[str, object]) -> Outcome:
        """Ask, and pass on what comes. Leaving closes the connection, which frees the server."""
        answer = Answer(self._server, job.request.params.logprobs)
        try:
            async with await self._open(job.request, body) as chunks:
                async for chunk in chunks:
                    if job.cancelled:  # chunks that came together leave no time for the loop
                        break
                    for event in await answer.events(chunk.to_dict()):
                        if not job.cancelled:
                            job.emit(event)
        except asyncio.CancelledError:
            return answer.cancelled()
        except FAILURES as error:
            if not job.cancelled:
                raise self._server.translate(error) from error
        return answer.cancelled() if job.cancelled else answer.ended()

    async def _open(self, request: Request, body: dict[str, object]) -> Any:
        """The stream of an answer."""
        try:
            return await self._send(request, body)
        except openai.BadRequestError as error:
            if not (self._server.beside_v1 and is_overflow(error)):
                raise
            # vLLM refuses max_tokens that do not fit, where other engines stop at the limit.
            prompt, context = await self._measure(request)
            limit = new_token_limit(prompt, request.params, context)
            if limit == request.params.max_tokens:
                raise
        return await self._send(request, body | {"max_tokens": limit})

    async def _send(self, request: Request, body: dict[str, object]) -> Any:
        client, model = self._server.client, self._server.model
        if request.messages is not None:
            return await client.chat.completions.create(
                model=model, messages=_turns(request), stream=True, extra_body=body
            )
        prompt = request.prompt if request.prompt is not None else list(request.token_ids or ())
        return await client.completions.create(
            model=model, prompt=prompt, stream=True, extra_body=body
        )

    async def _measure(self, request: Request) -> tuple[int, int]:
        """Tokens of the prompt, and how many the context holds."""
        if request.messages is not None:
            found = await self._server.post("tokenize", messages=_turns(request))
        else:  # of token ids only the context is unknown
            found = await self._server.post("tokenize", prompt=request.prompt or "?")
        count = len(request.token_ids) if request.token_ids else int(found["count"])
        return count, int(found["max_model_len"])


def _turns(request: Request) -> Any:
    return [{"role": m.role, "content": m.content} for m in request.messages or ()]
