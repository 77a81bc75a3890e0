"""The body of POST /v1/responses, which the WebSocket's ``response.create`` shares."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from airust.serving.api.parameters import IGNORED, Body, Stop
from airust.settings import GenerationSettings
from airust.types import Message, Role, SamplingParams

TokenId = Annotated[int, Field(ge=0, lt=1 << 31)]


class InputPart(Body):
    """A piece of a message; only text is understood."""

    type: Literal["input_text", "output_text", "text"]
    text: str
    annotations: list[Any] | None = Field(None, description=IGNORED)
    logprobs: list[Any] | None = Field(None, description=IGNORED)


class InputMessage(Body):
    """One turn."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[InputPart]
    id: str | None = Field(None, description=IGNORED)
    status: str | None = Field(None, description=IGNORED)

    def message(self) -> Message:
        """As the engines take it."""
        role: Role = "system" if self.role == "developer" else self.role
        parts = self.content
        return Message(role, parts if isinstance(parts, str) else "".join(p.text for p in parts))


class TextFormat(Body):
    """text, any JSON object, or JSON after a schema."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = Field(None, max_length=64)
    json_schema: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None
    description: str | None = Field(None, description=IGNORED)

    @model_validator(mode="after")
    def _check(self) -> TextFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("schema is needed with the type json_schema, and only then")
        return self


class TextOptions(Body):
    """The form of the answer."""

    format: TextFormat | None = None


class ConversationRef(Body):
    """A session by its id."""

    id: str


class Prefix(Body):
    """How the answer begins, by its text or by its token ids."""

    text: str | None = Field(None, min_length=1)
    token_ids: Annotated[list[TokenId], Field(min_length=1, max_length=1 << 20)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Prefix:
        if (self.text is None) == (self.token_ids is None):
            raise ValueError("give either text or token_ids")
        return self


class ResponseRequest(Body):
    """What to answer."""

    model: str | None = Field(None, description="Of /v1/models; the first one if absent.")
    input: str | Annotated[list[InputMessage], Field(max_length=4096)] | None = Field(
        None, description="The question. Absent: answer the conversation's last message (again)."
    )
    instructions: str | None = Field(None, description="A system message before the others.")
    conversation: str | ConversationRef | None = Field(
        None, description="A session; question and answer are added to it."
    )
    previous_response_id: str | None = Field(
        None, description="A kept answer to go on from; another one than the last is a branch."
    )
    parent: str | None = Field(
        None, description="With conversation: the message to go on from; null is its beginning."
    )
    prefix: Prefix | None = Field(
        None, description="The answer begins so, and the model goes on from there."
    )
    background: bool | None = Field(
        None, description="WebSocket only: go on when the socket is gone, for response.attach."
    )
    stream: bool | None = None
    max_output_tokens: int | None = Field(None, ge=1, le=1 << 24)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, le=1 << 24)
    min_p: float | None = Field(None, ge=0, lt=1)
    repetition_penalty: float | None = Field(None, gt=0, le=100)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Stop = None
    ignore_eos: bool | None = None
    text: TextOptions | None = None
    top_logprobs: int | None = Field(
        None, ge=0, le=20, description="Tell every token's logprob and so many alternatives."
    )
    return_token_ids: bool | None = Field(
        None, description="Deltas tell token ids and seconds; both are kept with the answer."
    )
    truncation: Literal["auto", "disabled"] | None = Field(
        None, description="auto: leave out the oldest messages. Sessions always do."
    )
    metadata: dict[str, str] | None = Field(None, description="Told back.")
    store: bool | None = Field(None, description=IGNORED)
    user: str | None = Field(None, description=IGNORED)
    safety_identifier: str | None = Field(None, description=IGNORED)
    prompt_cache_key: str | None = Field(None, description=IGNORED)
    service_tier: str | None = Field(None, description=IGNORED)

    @model_validator(mode="after")
    def _check(self) -> ResponseRequest:
        if self.conversation is not None and self.previous_response_id is not None:
            raise ValueError("conversation and previous_response_id exclude each other")
        if "parent" in self.model_fields_set and self.conversation is None:
            raise ValueError("parent needs conversation")
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if not all(stops):
            raise ValueError("stop must not hold an empty string")
        return self

    @property
    def conversation_id(self) -> str | None:
        """The session's id."""
        given = self.conversation
        return given.id if isinstance(given, ConversationRef) else given

    def messages(self) -> list[Message]:
        """The new turns."""
        if self.input is None or isinstance(self.input, str):
            return [Message("user", self.input)] if self.input else []
        return [message.message() for message in self.input]

    def sampling(self, defaults: GenerationSettings) -> SamplingParams:
        """As the engines take it."""
        form = self.text.format if self.text is not None else None
        schema = None
        if form is not None and form.type != "text":
            schema = json.dumps(form.json_schema or {"type": "object"})
        given: dict[str, Any] = {
            "max_tokens": self.max_output_tokens or defaults.max_tokens,
            "temperature": (defaults.temperature if self.temperature is None else self.temperature),
            "top_p": self.top_p,
            "top_k": max(self.top_k, 0) if self.top_k is not None else None,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "seed": self.seed,
            "stop": (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            "ignore_eos": self.ignore_eos,
            "json_schema": schema,
            "logprobs": None if self.top_logprobs is None else max(self.top_logprobs, 1),
        }
        return SamplingParams(**{k: v for k, v in given.items() if v is not None})
