"""GET /v1/models: what can be asked, and what each can do."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from airust.serving.api.answers import json_response
from airust.serving.api.schemas import ModelBody, ModelList, errors
from airust.serving.models import ServedModel
from airust.serving.service import service_of

router = APIRouter(tags=["models"])


@router.get("/v1/models", response_model=ModelList, responses=errors())
async def list_models(http: HttpRequest) -> Response:
    """The models that are served."""
    models = [_body(model) for model in service_of(http).models]
    return json_response({"object": "list", "data": models})


@router.get("/v1/models/{name:path}", response_model=ModelBody, responses=errors(404))
async def one_model(name: str, http: HttpRequest) -> Response:
    """One of them."""
    return json_response(_body(service_of(http).models.find(name)))


def _body(model: ServedModel) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "airust",
        "engine": model.engine.name,
        "max_model_len": model.engine.context,
        "capabilities": asdict(model.engine.capabilities),
    }
