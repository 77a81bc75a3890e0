"""OpenTelemetry by setting: a span a request, continued from the caller's ``traceparent``.

Off, it costs a call of an empty function. On, spans go to an OTLP/HTTP collector in batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from starlette.types import Scope

from airust.settings import TracingSettings
from airust.types import UserError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


class Span(Protocol):
    """A request under way."""

    def end(self, route: str, status: int) -> None:
        """Tell how it went."""


class Tracer(Protocol):
    """Makes spans."""

    def request(self, scope: Scope) -> AbstractContextManager[Span]:
        """Around a request."""


class _NoSpan:
    def end(self, route: str, status: int) -> None:
        """Nothing."""


class NoTracer:
    """Tracing is off."""

    _span = contextlib.nullcontext(_NoSpan())

    def request(self, scope: Scope) -> AbstractContextManager[Span]:
        """Nothing."""
        return self._span


class OpenTelemetry:
    """Tracing is on.

    Args:
        provider: where spans go.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("airust.serving")

    @contextlib.contextmanager
    def request(self, scope: Scope) -> Iterator[Span]:
        """A server span, child of the caller's."""
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind

        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        with self._tracer.start_as_current_span(
            scope["method"], context=extract(headers), kind=SpanKind.SERVER
        ) as span:

            class Open:
                def end(self, route: str, status: int) -> None:
                    span.update_name(f"{scope['method']} {route}".strip())
                    span.set_attribute("http.request.method", scope["method"])
                    span.set_attribute("http.route", route)
                    span.set_attribute("http.response.status_code", status)

            yield Open()


def tracer_for(settings: TracingSettings) -> Tracer:
    """As set.

    Raises:
        UserError: tracing is on but its packages are missing.
    """
    if not settings.endpoint:
        return NoTracer()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        hint = "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
        raise UserError(f"tracing.endpoint is set; tracing needs: {hint}") from error
    provider = TracerProvider(resource=Resource.create({"service.name": settings.service_name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.endpoint)))
    return OpenTelemetry(provider)
