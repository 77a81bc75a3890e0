"""GET /healthz, /readyz, /health, /metrics: for whoever keeps the service running.

The first three need no key and count in no limit and no metric, so that a probe always tells
the truth about the process and nothing else.
"""

from __future__ import annotations

import time

from fastapi import APIRouter
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from airust import __version__
from airust.serving.api.answers import json_response
from airust.serving.api.schemas import Health, Status, errors
from airust.serving.metrics import CONTENT_TYPE
from airust.serving.service import Service, service_of

router = APIRouter(tags=["operations"])

PROBES = frozenset({"/healthz", "/readyz", "/health"})
DRAINING = {"model": Status, "description": "The server is shutting down."}


@router.get("/healthz", response_model=Status)
async def healthz(http: HttpRequest) -> Response:
    """The process answers. The models are not asked."""
    return json_response({"status": "ok"})


@router.get("/readyz", response_model=Status, responses={503: DRAINING})
async def readyz(http: HttpRequest) -> Response:
    """The models are loaded and new work is welcome."""
    service = service_of(http)
    return json_response({"status": _status(service)}, 503 if service.draining else 200)


@router.get(
    "/health", response_model=Health, responses={503: {"model": Health, "description": "No."}}
)
async def health(http: HttpRequest) -> Response:
    """A summary, with the status code of /readyz."""
    service = service_of(http)
    body = {
        "status": _status(service),
        "version": __version__,
        "uptime_s": round(time.monotonic() - service.started, 3),
        "models": service.models.names,
        "pending": service.models.pending,
    }
    return json_response(body, 503 if service.draining else 200)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **errors()},
)
async def metrics(http: HttpRequest) -> Response:
    """What Prometheus reads."""
    return Response(service_of(http).metrics.text(), media_type=CONTENT_TYPE)


def _status(service: Service) -> str:
    return "draining" if service.draining else "ready"
