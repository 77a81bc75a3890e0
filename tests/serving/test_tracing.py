"""OpenTelemetry: one span a request, below the caller's."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from airust.engines.dummy import DummyEngine
from airust.serving import app as app_module
from airust.serving.tracing import NoTracer, OpenTelemetry, tracer_for
from airust.settings import Settings, TracingSettings
from tests.serving.conftest import client_of

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_off_by_default():
    assert isinstance(tracer_for(TracingSettings()), NoTracer)


def test_a_request_is_a_span(
    dummy: DummyEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(app_module, "tracer_for", lambda _: OpenTelemetry(provider))

    async def ask() -> None:
        async with client_of(app_module.create_app({"m": dummy}, settings)) as client:
            headers = {"traceparent": PARENT}
            await client.post("/infer", json={"prompt": "secret"}, headers=headers)
            await client.get("/v1/sessions/abc")

    asyncio.run(ask())
    first, second = spans.get_finished_spans()
    assert (first.name, second.name) == ("POST /infer", "GET /v1/sessions/{session_id}")
    assert first.attributes is not None
    assert first.attributes["http.response.status_code"] == 200
    assert first.parent is not None
    assert f"{first.parent.trace_id:032x}" == PARENT.split("-")[1]
    assert "secret" not in str(first.to_json())
