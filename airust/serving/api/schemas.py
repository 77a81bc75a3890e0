"""What the routes answer with, for the OpenAPI document.

Answers are written as JSON by hand where speed matters; these models describe them, and a test
validates real answers against them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from airust.serving.errors import ErrorBody

FinishReason = Literal["stop", "length"]


class PromptDetails(BaseModel):
    """More about the prompt."""

    cached_tokens: int


class UsageBody(BaseModel):
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


class TopLogprobBody(BaseModel):
    """An alternative at a position."""

    token: str
    logprob: float
    bytes: list[int] | None = Field(description="null for a part of a character")


class TokenLogprobBody(TopLogprobBody):
    """A token of the answer with its alternatives."""

    top_logprobs: list[TopLogprobBody]


class ChatLogprobs(BaseModel):
    """Of a chat answer."""

    content: list[TokenLogprobBody]
    refusal: None = None


class AssistantMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"]
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    """One of n answers."""

    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason
    token_ids: list[int] | None = Field(None, description="with return_token_ids")


class ChatCompletion(BaseModel):
    """A whole chat answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: UsageBody
    prompt_token_ids: list[int] | None = Field(None, description="with return_token_ids")


class CompletionLogprobs(BaseModel):
    """Of a text completion."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    """One of the completions."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: FinishReason
    token_ids: list[int] | None = Field(None, description="with return_token_ids")
    prompt_token_ids: list[int] | None = Field(None, description="with return_token_ids")


class TextCompletion(BaseModel):
    """Whole text completions."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: UsageBody


class ContextBody(BaseModel):
    """What of the conversation the model was shown."""

    messages: int
    left_out: int = Field(description="older messages that it was not shown")
    question_id: str | None


class TimingsBody(BaseModel):
    """Seconds by the engine's clock, counted from the request's arrival."""

    queued_s: float
    ttft_s: float
    total_s: float


class ConversationBody(BaseModel):
    """The session that an answer belongs to."""

    id: str


class ResponseBody(BaseModel):
    """A response; OpenAI's fields, context and timings."""

    id: str
    object: Literal["response"]
    created_at: float
    status: Literal["completed", "incomplete", "failed", "in_progress"]
    model: str
    output: list[dict[str, Any]]
    usage: dict[str, Any] | None
    error: dict[str, Any] | None
    incomplete_details: dict[str, Any] | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    parallel_tool_calls: bool
    previous_response_id: str | None
    conversation: ConversationBody | None
    temperature: float
    top_p: float
    text: dict[str, Any]
    tool_choice: str
    tools: list[dict[str, Any]]
    truncation: str
    context: ContextBody
    timings: TimingsBody | None


class SessionBody(BaseModel):
    """A conversation without its messages."""

    id: str
    title: str
    system: str | None
    head: str | None = Field(description="the message that was added or chosen last")
    created_at: float
    updated_at: float


class SessionList(BaseModel):
    """Conversations, newest first."""

    object: Literal["list"]
    data: list[SessionBody]


class MessageBody(BaseModel):
    """One message of a tree."""

    id: str
    parent_id: str | None
    role: str
    content: str
    created_at: float
    details: dict[str, Any]


class MessageTree(BaseModel):
    """A conversation's messages, parents before children."""

    object: Literal["list"]
    head: str | None
    data: list[MessageBody]


class MessageList(BaseModel):
    """Some messages, parents before children."""

    object: Literal["list"]
    data: list[MessageBody]


class CostBody(BaseModel):
    """What a message costs."""

    id: str
    role: str
    tokens: int | None = Field(description="null where the engine does not tell")
    shown: bool = Field(description="whether the model would be shown it")


class ContextUse(BaseModel):
    """What of a branch the model would be shown, and what that costs."""

    model: str
    max_model_len: int | None
    system_tokens: int | None
    messages: list[CostBody]
    prompt_tokens: int | None = Field(description="of what is shown, in the model's chat form")


class AlternativeBody(BaseModel):
    """A token that was possible."""

    token: str
    token_id: int | None
    logprob: float


class InspectedToken(BaseModel):
    """A token, and what was possible in its place."""

    token: str
    token_id: int
    logprob: float | None = Field(description="null where the engine cannot tell")
    top_logprobs: list[AlternativeBody]


class Inspection(BaseModel):
    """An answer token by token."""

    model: str
    prompt_tokens: int
    tokens: list[InspectedToken]


class HitBody(BaseModel):
    """A message that a search has found."""

    session_id: str
    title: str
    message_id: str
    role: str
    excerpt: str


class HitList(BaseModel):
    """What a search has found, newest first."""

    object: Literal["list"]
    data: list[HitBody]


class ModelBody(BaseModel):
    """A model that is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    engine: str
    max_model_len: int | None = Field(description="tokens of prompt and answer together")
    capabilities: dict[str, bool]


class ModelList(BaseModel):
    """All of them."""

    object: Literal["list"]
    data: list[ModelBody]


class Inference(BaseModel):
    """The answer of /infer."""

    output: str
    model: str
    finish_reason: FinishReason
    usage: UsageBody


class Tokens(BaseModel):
    """A text as token ids."""

    tokens: list[int]
    count: int
    max_model_len: int | None


class Text(BaseModel):
    """Token ids as a text."""

    prompt: str


class Status(BaseModel):
    """Alive or ready."""

    status: Literal["ok", "ready", "draining"]


class Health(BaseModel):
    """A summary of the server."""

    status: Literal["ready", "draining"]
    version: str
    uptime_s: float
    models: list[str]
    pending: int = Field(description="answers in progress")


ABOUT_ERRORS = {
    400: "The request is not valid or asks for something unsupported.",
    401: "The API key is missing or not valid.",
    403: "The API key may not do this.",
    404: "There is no such thing.",
    405: "The method is not allowed here.",
    408: "The request did not arrive in time.",
    409: "It is there already, or in use.",
    413: "The body is too large.",
    429: "A limit is reached; retry-after says when to come back.",
    431: "The headers are too large.",
    500: "The engine or the server failed.",
    503: "Too busy or shutting down; retry-after says when to come back.",
    504: "The answer took too long.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documented failures of a route; those of every route are among them."""
    always = (401, 403, 408, 413, 429, 431, 500, 503)
    return {
        status: {"model": ErrorBody, "description": ABOUT_ERRORS[status]}
        for status in sorted({*always, *statuses})
    }
