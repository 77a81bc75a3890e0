"""POST /v1/chat/completions, and the same at /chat/completions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field, model_validator
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from airust.serving.api.answers import (
    ChunkWriter,
    chat_logprobs,
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
    usage_body,
)
from airust.serving.api.parameters import (
    IGNORED,
    MOST_LOGPROBS,
    Body,
    ResponseFormat,
    SamplingFields,
)
from airust.serving.api.schemas import ChatCompletion, errors
from airust.serving.errors import ApiError
from airust.serving.generation import Answer, Generation
from airust.serving.models import ServedModel
from airust.serving.relay import Numbered
from airust.serving.service import fingerprint, service_of
from airust.serving.sse import DONE, EventStream
from airust.settings import GenerationSettings
from airust.types import DoneEvent, Message, Request, Role, TokenEvent

router = APIRouter(tags=["chat"])

MOST_MESSAGES = 4096
STREAM = {"text/event-stream": {"schema": {"type": "string"}}}


class TextPart(Body):
    """A piece of a message; only text is understood."""

    type: Literal["text"]
    text: str


class ChatMessage(Body):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = Field(None, description=IGNORED)
    refusal: str | None = Field(None, description=IGNORED)

    def message(self) -> Message:
        """As the engines take it; "developer" is today's word for "system"."""
        role: Role = "system" if self.role == "developer" else self.role
        parts = self.content
        text = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        return Message(role, text)


class ChatRequest(SamplingFields):
    """A conversation to go on with."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=MOST_MESSAGES)
    max_completion_tokens: int | None = Field(
        None, ge=1, le=1 << 24, description="Today's name of max_tokens."
    )
    logprobs: bool | None = Field(None, description="Tell the logprob of every token.")
    top_logprobs: int | None = Field(
        None, ge=0, le=MOST_LOGPROBS, description="Alternatives of every token; needs logprobs."
    )
    response_format: ResponseFormat | None = None
    truncation: Literal["auto", "disabled"] | None = Field(
        None, description="auto: where the context is too short, leave out the oldest messages."
    )
    metadata: dict[str, str] | None = Field(None, description=IGNORED)
    store: bool | None = Field(None, description=IGNORED)
    safety_identifier: Annotated[str | None, Field(max_length=64, description=IGNORED)] = None
    prompt_cache_key: Annotated[str | None, Field(max_length=64, description=IGNORED)] = None
    service_tier: str | None = Field(None, description=IGNORED)

    @model_validator(mode="after")
    def _check_chat(self) -> ChatRequest:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        both = self.max_tokens is not None and self.max_completion_tokens is not None
        if both and self.max_tokens != self.max_completion_tokens:
            raise ValueError("max_tokens and max_completion_tokens differ; give one of them")
        return self

    def told_logprobs(self, answer: Answer) -> dict[str, Any]:
        """Of a whole answer."""
        as_ids = bool(self.return_tokens_as_token_ids)
        return chat_logprobs(answer.tokens, self.top_logprobs or 0, as_ids)

    def request(self, defaults: GenerationSettings) -> Request:
        """As the engines take it."""
        # The chosen token's own text comes with the alternatives, so one is always asked for.
        tops = max(self.top_logprobs or 0, 1) if self.logprobs else None
        form = self.response_format
        schema = None if form is None else form.schema_text()
        params = self.sampling(
            defaults,
            max_tokens=self.max_tokens or self.max_completion_tokens or defaults.max_tokens,
            logprobs=tops,
            json_schema=schema,
        )
        messages = tuple(message.message() for message in self.messages)
        overflow: Literal["trim", "refuse"] = "trim" if self.truncation == "auto" else "refuse"
        return Request(messages=messages, params=params, overflow=overflow)


@router.post("/chat/completions", include_in_schema=False)
@router.post(
    "/v1/chat/completions",
    response_model=ChatCompletion,
    responses={200: {"content": STREAM}, **errors(400, 404, 504)},
)
async def chat_completions(body: ChatRequest, http: HttpRequest) -> Response:
    """Go on with a conversation: OpenAI's chat completions.

    Beyond OpenAI's parameters: top_k, min_p, repetition_penalty, ignore_eos, return_token_ids
    (as vLLM) and truncation (as OpenAI's responses).
    """
    service = service_of(http)
    model = service.models.find(body.model)
    request = body.request(service.settings.generation)
    ids = prompt_ids(model, request) if body.return_token_ids else None
    generation = service.generation(
        model,
        several(request, body.n or 1),
        each=body.n or 1,
        streaming=bool(body.stream),
        on_usage=spend(service, http),
    )
    if body.stream:
        frames = ChatFrames(body, model, ids)
        return EventStream(generation, frames, service.settings.server.keep_alive_s)
    answers = await complete(http, generation)
    choices = []
    for index, answer in enumerate(answers):
        choice: dict[str, Any] = {
            "index": index,
            "message": {"role": "assistant", "content": answer.text, "refusal": None},
            "logprobs": body.told_logprobs(answer) if body.logprobs else None,
            "finish_reason": answer.finish_reason,
        }
        if body.return_token_ids:
            choice["token_ids"] = token_ids(answer.tokens)
        choices.append(choice)
    whole: dict[str, Any] = {
        "id": new_id("chatcmpl"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model.name,
        "system_fingerprint": fingerprint(model),
        "choices": choices,
        "usage": usage_body(generation.usage),
    }
    if ids is not None:
        whole["prompt_token_ids"] = ids
    return json_response(whole)


class ChatFrames:
    """The chunks of a streamed chat answer."""

    def __init__(self, body: ChatRequest, model: ServedModel, ids: list[int] | None) -> None:
        self._answers = body.n or 1
        self._logprobs, self._tops = bool(body.logprobs), body.top_logprobs or 0
        self._ids, self._prompt_ids = bool(body.return_token_ids), ids
        self._as_ids = bool(body.return_tokens_as_token_ids)
        self._wants_usage = body.wants_usage
        self._writer = ChunkWriter(
            "chat.completion.chunk",
            new_id("chatcmpl"),
            int(time.time()),
            model.name,
            fingerprint(model),
        )
        if self._wants_usage:
            self._writer.with_usage()
        self._open = [b'{"index":%d,"delta":{"content":' % index for index in range(self._answers)]

    def begin(self) -> bytes:
        """Whose turn it is."""
        chunks = []
        for index in range(self._answers):
            choice: dict[str, Any] = {
                "index": index,
                "delta": {"role": "assistant", "content": ""},
                "logprobs": None,
                "finish_reason": None,
            }
            if index == 0 and self._prompt_ids is not None:
                choice["prompt_token_ids"] = self._prompt_ids
            chunks.append(self._writer.chunk(dumps(choice)))
        return b"".join(chunks)

    def render(self, events: Sequence[Numbered]) -> bytes:
        """One chunk an answer for all its new tokens, and one for its end."""
        chunks = []
        for index, own in enumerate(split(events, self._answers)):
            tokens = [event for event in own if isinstance(event, TokenEvent)]
            text = "".join([token.text for token in tokens])
            if text or (tokens and (self._logprobs or self._ids)):
                chunks.append(self._tokens(index, text, tokens))
            if own and isinstance(own[-1], DoneEvent):
                chunks.append(self._finish(index, own[-1]))
        return b"".join(chunks)

    def _tokens(self, index: int, text: str, tokens: Sequence[TokenEvent]) -> bytes:
        logprobs = b"null"
        if self._logprobs:
            logprobs = dumps(chat_logprobs(tokens, self._tops, self._as_ids))
        choice = b'%b%b},%b"logprobs":%b,"finish_reason":null}' % (
            self._open[index],
            dumps(text),
            b'"token_ids":%b,' % dumps(token_ids(tokens)) if self._ids else b"",
            logprobs,
        )
        return self._writer.chunk(choice)

    def _finish(self, index: int, done: DoneEvent) -> bytes:
        reason = dumps(done.finish_reason)
        choice = b'{"index":%d,"delta":{},"logprobs":null,"finish_reason":%b}' % (index, reason)
        return self._writer.chunk(choice)

    async def end(self, generation: Generation) -> bytes:
        """The usage, if wanted, and the mark of the end."""
        usage = self._writer.usage(generation.usage) if self._wants_usage else b""
        return usage + DONE

    def fail(self, error: ApiError) -> bytes:
        """An error in the middle."""
        return failure(error)

    async def close(self, generation: Generation) -> None:
        """Nothing is kept."""
