"""POST /infer: the smallest way to ask."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from airust.serving.api.answers import complete, json_response, spend, usage_body
from airust.serving.api.parameters import Body
from airust.serving.api.schemas import Inference, errors
from airust.serving.service import service_of
from airust.types import Message, Request, SamplingParams

router = APIRouter(tags=["infer"])


class InferRequest(Body):
    """A question."""

    prompt: str = Field(min_length=1)
    model: str | None = None
    max_tokens: int | None = Field(None, ge=1, le=1 << 24, description="New tokens at most.")
    temperature: float | None = Field(None, ge=0, le=2)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)


@router.post("/infer", response_model=Inference, responses=errors(400, 404, 504))
async def infer(body: InferRequest, http: HttpRequest) -> Response:
    """Answer one question: ``{"prompt": ...}`` gives ``{"output": ...}``.

    The prompt is a user's message where the model can chat, and raw text otherwise.
    """
    service = service_of(http)
    model, defaults = service.models.find(body.model), service.settings.generation
    params = SamplingParams(
        max_tokens=body.max_tokens or defaults.max_tokens,
        temperature=defaults.temperature if body.temperature is None else body.temperature,
        seed=body.seed,
    )
    request = Request(messages=(Message("user", body.prompt),), params=params)
    if not model.engine.capabilities.chat:
        request = replace(request, messages=None, prompt=body.prompt)
    generation = service.generation(
        model, [request], streaming=False, on_usage=spend(service, http)
    )
    (answer,) = await complete(http, generation)
    return json_response(
        {
            "output": answer.text,
            "model": model.name,
            "finish_reason": answer.finish_reason,
            "usage": usage_body(generation.usage),
        }
    )
