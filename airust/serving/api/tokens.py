"""POST /tokenize and /detokenize: text to token ids and back, as vLLM has them."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, model_validator
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from airust.serving.api.answers import json_response
from airust.serving.api.chat import MOST_MESSAGES, ChatMessage
from airust.serving.api.parameters import Body
from airust.serving.api.schemas import Text, Tokens, errors
from airust.serving.service import service_of
from airust.types import Request

router = APIRouter(tags=["tokens"])


class TokenizeRequest(Body):
    """A text or a conversation."""

    model: str | None = None
    prompt: str | None = None
    messages: Annotated[list[ChatMessage] | None, Field(min_length=1, max_length=MOST_MESSAGES)] = (
        None
    )
    add_special_tokens: bool | None = Field(
        None,
        description="false: the prompt's own tokens, without those that the model's tokenizer puts "
        "before it. The chat form of messages has all that it needs.",
    )

    @model_validator(mode="after")
    def _check(self) -> TokenizeRequest:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        if self.messages is not None and self.add_special_tokens:
            raise ValueError("add_special_tokens needs prompt")
        return self


class DetokenizeRequest(Body):
    """Token ids."""

    model: str | None = None
    tokens: list[Annotated[int, Field(ge=0, lt=1 << 31)]]


@router.post("/tokenize", response_model=Tokens, responses=errors(400, 404))
async def tokenize(body: TokenizeRequest, http: HttpRequest) -> Response:
    """The token ids of a text, or of a conversation in the model's chat form."""
    model = service_of(http).models.find(body.model)
    engine, prompt = model.engine, body.prompt or ""
    if body.messages is not None:
        messages = tuple(message.message() for message in body.messages)
        ids = await asyncio.to_thread(engine.prompt_ids, Request(messages=messages))
    elif body.add_special_tokens is False or not prompt:
        ids = await asyncio.to_thread(engine.encode, prompt)
    else:
        ids = await asyncio.to_thread(engine.prompt_ids, Request(prompt=prompt))
    return json_response({"tokens": ids, "count": len(ids), "max_model_len": model.engine.context})


@router.post("/detokenize", response_model=Text, responses=errors(400, 404))
async def detokenize(body: DetokenizeRequest, http: HttpRequest) -> Response:
    """The text of token ids."""
    model = service_of(http).models.find(body.model)
    text = await asyncio.to_thread(model.engine.decode, body.tokens)
    return json_response({"prompt": text})
