"""POST /v1/completions: go on with raw text or token ids, without a chat template."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field, model_validator
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from airust.serving.api.answers import (
    ChunkWriter,
    complete,
    dumps,
    failure,
    json_response,
    new_id,
    prompt_ids,
    several,
    spend,
    split,
    token_ids,
    token_text,
    top_text,
    usage_body,
)
from airust.serving.api.parameters import ResponseFormat, SamplingFields
from airust.serving.api.schemas import TextCompletion, errors
from airust.serving.errors import ApiError
from airust.serving.generation import Answer, Generation
from airust.serving.models import ServedModel
from airust.serving.relay import Numbered
from airust.serving.service import fingerprint, service_of
from airust.serving.sse import DONE, EventStream
from airust.settings import GenerationSettings
from airust.types import DoneEvent, Request, TokenEvent, Usage

router = APIRouter(tags=["completions"])

MOST_PROMPTS = 64
MOST_LOGPROBS = 20
TokenId = Annotated[int, Field(ge=0, lt=1 << 31)]
Prompt = (
    str
    | Annotated[list[TokenId], Field(min_length=1)]
    | Annotated[list[str], Field(min_length=1, max_length=MOST_PROMPTS)]
    | Annotated[
        list[Annotated[list[TokenId], Field(min_length=1)]],
        Field(min_length=1, max_length=MOST_PROMPTS),
    ]
)
STREAM = {"text/event-stream": {"schema": {"type": "string"}}}


class CompletionRequest(SamplingFields):
    """Prompts to go on with."""

    prompt: Prompt = Field(description="Text, token ids, or a list of either.")
    max_tokens: int | None = Field(
        None, ge=0, le=1 << 24, description="New tokens at most; 0 only with echo."
    )
    logprobs: int | None = Field(
        None, ge=0, le=MOST_LOGPROBS, description="Alternatives of every token."
    )
    echo: bool | None = Field(None, description="The prompt stands before the completion.")
    response_format: ResponseFormat | None = None

    @model_validator(mode="after")
    def _check_completion(self) -> CompletionRequest:
        if self.max_tokens == 0 and not self.echo:
            raise ValueError("max_tokens is 0, which needs echo: true")
        if self.echo and self.stream:
            raise ValueError("echo and stream cannot be had together")
        return self

    def prompts(self) -> list[str | list[int]]:
        """One or several, always as a list."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [self.prompt]
        return list(self.prompt)

    def requests(self, defaults: GenerationSettings) -> list[Request]:
        """As the engines take them."""
        schema = None if self.response_format is None else self.response_format.schema_text()
        # The chosen token's own text comes with the alternatives, so one is always asked for.
        tops = None if self.logprobs is None else max(self.logprobs, 1)
        params = self.sampling(defaults, logprobs=tops, json_schema=schema)
        requests = []
        for prompt in self.prompts():
            if isinstance(prompt, str):
                requests.append(Request(prompt=prompt, params=params))
            else:
                requests.append(Request(token_ids=tuple(prompt), params=params))
        return requests


@router.post(
    "/v1/completions",
    response_model=TextCompletion,
    responses={200: {"content": STREAM}, **errors(400, 404, 504)},
)
async def completions(body: CompletionRequest, http: HttpRequest) -> Response:
    """Go on with raw text: OpenAI's completions, token ids included.

    ``echo`` with ``logprobs`` and ``max_tokens: 0`` scores a given text, as evaluation harnesses
    want it. Beyond OpenAI's parameters: those of /v1/chat/completions.
    """
    service = service_of(http)
    model = service.models.find(body.model)
    requests = body.requests(service.settings.generation)
    for request in requests:
        model.engine.check(request)
    prompts: list[Prefix] = []
    if body.echo or body.return_token_ids:
        prompts = [await asyncio.to_thread(_prefix, body, model, r) for r in requests]
    if body.max_tokens == 0:
        answers = [Answer(done=None) for _ in range(len(requests) * (body.n or 1))]
        usage = Usage(sum(len(prefix.ids) for prefix in prompts), 0)
    else:
        each = [copy for request in requests for copy in several(request, body.n or 1)]
        generation = service.generation(
            model,
            each,
            each=body.n or 1,
            streaming=bool(body.stream),
            on_usage=spend(service, http),
        )
        if body.stream:
            frames = CompletionFrames(body, model, len(each), prompts)
            return EventStream(generation, frames, service.settings.server.keep_alive_s)
        answers, usage = await complete(http, generation), generation.usage
    whole = {
        "id": new_id("cmpl"),
        "object": "text_completion",
        "created": int(time.time()),
        "model": model.name,
        "system_fingerprint": fingerprint(model),
        "choices": [
            _choice(index, body, answer, prompts[index // (body.n or 1)] if prompts else None)
            for index, answer in enumerate(answers)
        ],
        "usage": usage_body(usage),
    }
    return json_response(whole)


class Prefix:
    """A prompt that is told back, with its logprobs if they are wanted."""

    def __init__(self, ids: list[int], text: str, tokens: list[TokenEvent]) -> None:
        self.ids, self.text, self.tokens = ids, text, tokens


def _prefix(body: CompletionRequest, model: ServedModel, request: Request) -> Prefix:
    """Takes as long as a pass through the model."""
    engine = model.engine
    if not body.echo:
        return Prefix(prompt_ids(model, request) or [], "", [])
    ids = engine.prompt_ids(request)
    pieces = [engine.decode([token_id]) for token_id in ids]
    text = engine.decode(ids) if request.prompt is None else request.prompt
    tokens = [TokenEvent(pieces[0], ids[0])] if ids else []
    if body.logprobs is not None and len(ids) > 1:
        scores = engine.score(ids[:1], ids[1:], max(body.logprobs, 1))
        for token_id, piece, score in zip(ids[1:], pieces[1:], scores, strict=True):
            top = () if score is None else score.top
            logprob = None if score is None else score.logprob
            tokens.append(TokenEvent(piece, token_id, logprob, top))
    return Prefix(ids, text, tokens)


def _choice(
    index: int, body: CompletionRequest, answer: Answer, prefix: Prefix | None
) -> dict[str, Any]:
    before = prefix.text if prefix is not None and body.echo else ""
    choice: dict[str, Any] = {
        "index": index,
        "text": before + answer.text,
        "logprobs": None,
        "finish_reason": answer.finish_reason or "length",
    }
    if body.logprobs is not None:
        tokens = [*(prefix.tokens if prefix is not None and body.echo else ()), *answer.tokens]
        as_ids = bool(body.return_tokens_as_token_ids)
        choice["logprobs"] = completion_logprobs(tokens, body.logprobs, 0, as_ids)
    if body.return_token_ids and prefix is not None:
        choice["token_ids"] = token_ids(answer.tokens)
        choice["prompt_token_ids"] = prefix.ids
    return choice


def completion_logprobs(
    tokens: Sequence[TokenEvent], most: int, offset: int = 0, as_ids: bool = False
) -> dict[str, list[Any]]:
    """The form of /v1/completions. A token that the model could not predict has none.

    >>> completion_logprobs([TokenEvent("a", 5), TokenEvent("b", 6, -0.5)], 0)["text_offset"]
    [0, 1]
    """
    found: dict[str, list[Any]] = {
        "tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": [],
    }  # fmt: skip
    for token in tokens:
        if token.token_id is not None:
            known = token.logprob is not None
            found["tokens"].append(token_text(token, as_ids))
            found["token_logprobs"].append(token.logprob)
            found["text_offset"].append(offset)
            tops = {top_text(top, as_ids): top.logprob for top in token.top[:most]}
            found["top_logprobs"].append(tops if known else None)
        offset += len(token.text)
    return found


class CompletionFrames:
    """The chunks of streamed completions."""

    def __init__(
        self,
        body: CompletionRequest,
        model: ServedModel,
        answers: int,
        prompts: Sequence[Prefix],
    ) -> None:
        self._answers, self._most = answers, body.logprobs
        self._ids, self._prompts, self._each = bool(body.return_token_ids), prompts, body.n or 1
        self._wants_usage = body.wants_usage
        self._offsets = [0] * answers
        self._as_ids = bool(body.return_tokens_as_token_ids)
        self._writer = ChunkWriter(
            "text_completion", new_id("cmpl"), int(time.time()), model.name, fingerprint(model)
        )
        if self._wants_usage:
            self._writer.with_usage()

    def begin(self) -> bytes:
        """The prompts' ids, if wanted."""
        if not self._ids:
            return b""
        chunks = []
        for index in range(self._answers):
            choice = self._empty(index, None)
            choice["prompt_token_ids"] = self._prompts[index // self._each].ids
            chunks.append(self._writer.chunk(dumps(choice)))
        return b"".join(chunks)

    def _empty(self, index: int, reason: str | None) -> dict[str, Any]:
        return {"index": index, "text": "", "logprobs": None, "finish_reason": reason}

    def render(self, events: Sequence[Numbered]) -> bytes:
        """One chunk an answer for all its new tokens, and one for its end."""
        chunks = []
        for index, own in enumerate(split(events, self._answers)):
            tokens = [event for event in own if isinstance(event, TokenEvent)]
            text = "".join([token.text for token in tokens])
            if text or (tokens and (self._most is not None or self._ids)):
                choice = b'{"index":%d,"text":%b,%b"logprobs":%b,"finish_reason":null}' % (
                    index,
                    dumps(text),
                    b'"token_ids":%b,' % dumps(token_ids(tokens)) if self._ids else b"",
                    self._logprobs(index, tokens),
                )
                self._offsets[index] += len(text)
                chunks.append(self._writer.chunk(choice))
            if own and isinstance(own[-1], DoneEvent):
                last = dumps(self._empty(index, own[-1].finish_reason))
                chunks.append(self._writer.chunk(last))
        return b"".join(chunks)

    def _logprobs(self, index: int, tokens: Sequence[TokenEvent]) -> bytes:
        if self._most is None:
            return b"null"
        offset = self._offsets[index]
        return dumps(completion_logprobs(tokens, self._most, offset, self._as_ids))

    async def end(self, generation: Generation) -> bytes:
        """The usage, if wanted, and the mark of the end."""
        usage = self._writer.usage(generation.usage) if self._wants_usage else b""
        return usage + DONE

    def fail(self, error: ApiError) -> bytes:
        """An error in the middle."""
        return failure(error)

    async def close(self, generation: Generation) -> None:
        """Nothing is kept."""
