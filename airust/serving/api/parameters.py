"""Sampling parameters as clients send them, and as the engines take them.

A parameter that is not here is refused by name. ``IGNORED`` are accepted because official
clients send them and an answer without them is no less right; the OpenAPI document says so.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from airust.serving.errors import ApiError
from airust.settings import GenerationSettings
from airust.types import SamplingParams

MOST_ANSWERS = 16
MOST_LOGPROBS = 20
MOST_STOPS = 16
IGNORED = "Accepted for compatibility and ignored."

Stop = str | Annotated[list[str], Field(max_length=MOST_STOPS)] | None


class Body(BaseModel):
    """A request body. Unknown names are refused."""

    model_config = ConfigDict(extra="forbid")


class StreamOptions(Body):
    """How to stream."""

    include_usage: bool | None = Field(None, description="A last chunk tells the tokens.")
    include_obfuscation: bool | None = Field(None, description=IGNORED)
    continuous_usage_stats: bool | None = Field(None, description=IGNORED)


class StructuredOutputs(Body):
    """What the answer must follow."""

    regex: str | None = Field(None, min_length=1)
    json_schema: dict[str, Any] | None = Field(None, alias="json")

    @model_validator(mode="after")
    def _check(self) -> StructuredOutputs:
        if (self.regex is None) == (self.json_schema is None):
            raise ValueError("give either regex or json")
        return self


class SamplingFields(Body):
    """What /v1/chat/completions and /v1/completions share."""

    model: str | None = Field(None, description="Of /v1/models; the first one if absent.")
    stream: bool | None = Field(None, description="Answer with server-sent events.")
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=MOST_ANSWERS, description="Answers to give.")
    max_tokens: int | None = Field(None, ge=1, le=1 << 24, description="New tokens at most.")
    temperature: float | None = Field(
        None, ge=0, le=2, description="0 takes the likeliest token; absent: the server's default."
    )
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, le=1 << 24, description="0 or -1: all.")
    min_p: float | None = Field(None, ge=0, lt=1)
    repetition_penalty: float | None = Field(None, gt=0, le=100)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = Field(
        None, description="Token id: what is added to its logit."
    )
    seed: int | None = Field(None, ge=-(2**63), lt=2**63, description="Repeats the same answer.")
    stop: Stop = Field(None, description="The answer ends before any of these.")
    ignore_eos: bool | None = Field(None, description="Go on after the end of the text.")
    return_token_ids: bool | None = Field(None, description="Tell the tokens' ids, too.")
    return_tokens_as_token_ids: bool | None = Field(
        None, description='Beside logprobs, write tokens as "token_id:17".'
    )
    structured_outputs: StructuredOutputs | None = Field(
        None, description="As vLLM: a regular expression or a JSON schema for the answer."
    )
    user: str | None = Field(None, description=IGNORED)

    @model_validator(mode="after")
    def _check(self) -> SamplingFields:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs stream: true")
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if not all(stops):
            raise ValueError("stop must not hold an empty string")
        for token in self.logit_bias or {}:
            if not (token.isascii() and token.isdecimal()):
                raise ValueError(f"logit_bias has the key {token[:40]!r}, which is no token id")
        return self

    @property
    def wants_usage(self) -> bool:
        """A last chunk of a stream tells the tokens."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def sampling(self, defaults: GenerationSettings, **more: Any) -> SamplingParams:
        """As the engines take them."""
        temperature = defaults.temperature if self.temperature is None else self.temperature
        given: dict[str, Any] = {
            "max_tokens": self.max_tokens or defaults.max_tokens,
            "temperature": temperature,
            "top_p": self.top_p,
            "top_k": max(self.top_k, 0) if self.top_k is not None else None,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "logit_bias": tuple((int(k), v) for k, v in (self.logit_bias or {}).items()),
            "seed": self.seed,
            "stop": (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            "ignore_eos": self.ignore_eos,
        }
        given |= more
        if (form := self.structured_outputs) is not None:
            if given.get("json_schema") is not None:
                raise ApiError(400, "response_format and structured_outputs exclude each other.",
                               "invalid_value", "structured_outputs")  # fmt: skip
            given["regex"] = form.regex
            if form.json_schema is not None:
                given["json_schema"] = json.dumps(form.json_schema)
        return SamplingParams(**{k: v for k, v in given.items() if v is not None})


class JsonSchema(Body):
    """A schema that the answer must follow."""

    name: str = Field("answer", max_length=64)
    description: str | None = Field(None, description=IGNORED)
    json_schema: dict[str, Any] = Field(alias="schema")
    strict: bool | None = Field(None, description="The schema is always followed exactly.")


class ResponseFormat(Body):
    """text, any JSON object, or JSON after a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _check(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema is needed with the type json_schema, and only then")
        return self

    def schema_text(self) -> str | None:
        """The schema as the engines take it; None for text."""
        if self.type == "text":
            return None
        schema = {"type": "object"} if self.json_schema is None else self.json_schema.json_schema
        return json.dumps(schema)
