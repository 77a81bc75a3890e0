"""``create_app``: engines in, an ASGI application out.

>>> from airust.engines.dummy import DummyEngine
>>> app = create_app({"echo": DummyEngine()})
>>> [path for path in app.openapi()["paths"] if path.endswith("completions")]
['/v1/chat/completions', '/v1/completions']
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from airust import __version__
from airust.engines.base import Engine
from airust.serving import errors
from airust.serving.api import (
    catalog,
    chat,
    completions,
    health,
    infer,
    inspect,
    page,
    responses,
    sessions,
    tokens,
    websocket,
)
from airust.serving.middleware.caps import Caps
from airust.serving.middleware.front import Front
from airust.serving.middleware.gate import Gate
from airust.serving.models import Models
from airust.serving.service import Service
from airust.serving.tracing import tracer_for
from airust.settings import Settings
from airust.types import UserError

ROUTERS = (
    chat, completions, responses, sessions, infer, tokens, catalog, health, websocket, page,
    inspect,
)  # fmt: skip
EXPOSED = (
    "x-request-id", "retry-after", "x-ratelimit-limit-requests", "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
)  # fmt: skip


def create_app(
    engines: Mapping[str, Engine] | Engine | None = None, settings: Settings | None = None
) -> FastAPI:
    """An application that serves engines.

    The app does not own the engines; whoever made them closes them.

    Args:
        engines: by the names that clients use; a single one gets its own name, and without any
            the echo engine answers.
        settings: the defaults if absent; nothing is read from files or the environment.

    Raises:
        UserError: there is no engine, or a setting cannot be obeyed.
    """
    settings = settings or Settings()
    if engines is None:
        from airust.engines.dummy import DummyEngine

        engines = DummyEngine()
    by_name = {engines.name: engines} if isinstance(engines, Engine) else dict(engines)
    if not by_name:
        raise UserError("There is no model to serve; name at least one.")
    service = Service(Models(by_name, settings.server.max_pending), settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="airust",
        version=__version__,
        summary="Small GPTs behind OpenAI's HTTP API.",
        docs_url=None,  # its page needs inline scripts and another host
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.service = service
    for module in ROUTERS:
        app.include_router(module.router)
    errors.install(app)
    # The last one added is the outermost.
    app.add_middleware(Gate, service=service)
    app.add_middleware(Caps, settings=settings.server)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors.origins,
        allow_methods=settings.cors.methods,
        allow_headers=["authorization", "content-type", "x-request-id"],
        expose_headers=EXPOSED,
    )
    app.add_middleware(Front, service=service, tracer=tracer_for(settings.tracing))
    _describe(app)
    return app


def _describe(app: FastAPI) -> None:
    """Make the OpenAPI document true: invalid requests are answered with 400, not 422."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = original()
            for path in document["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
            for name in ("HTTPValidationError", "ValidationError"):
                document["components"]["schemas"].pop(name, None)
            document["components"]["securitySchemes"] = {
                "key": {"type": "http", "scheme": "bearer"}
            }
            document["security"] = [{}, {"key": []}]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
