"""Health, metrics, headers, caps, logs, the OpenAPI document: what operators rely on."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import select
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from airust.engines.base import Engine
from airust.engines.dummy import DummyEngine
from airust.serving import create_app
from airust.serving.logs import Formatter, request_id
from airust.settings import CorsSettings, LogSettings, ServerSettings, Settings
from airust.types import UserError
from tests.serving.conftest import Serve, client_of

Steps = Callable[[httpx2.AsyncClient], Awaitable[None]]


def run(app: FastAPI, steps: Steps) -> None:
    async def session() -> None:
        async with client_of(app) as client:
            await steps(client)

    asyncio.run(session())


def test_health(dummy: DummyEngine, settings: Settings):
    app = create_app({"m": dummy}, settings)

    async def steps(client: httpx2.AsyncClient) -> None:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).json() == {"status": "ready"}
        summary = (await client.get("/health")).json()
        assert (summary["status"], summary["models"], summary["pending"]) == ("ready", ["m"], 0)
        app.state.service.drain()
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/health")).json()["status"] == "draining"
        refused = await client.post("/infer", json={"prompt": "x"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
        assert refused.headers["retry-after"]

    run(app, steps)


def test_metrics_are_read_by_prometheus_own_parser(torch_engine: Engine, settings: Settings):
    async def steps(client: httpx2.AsyncClient) -> None:
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 7}
        usage = (await client.post("/v1/chat/completions", json=body)).json()["usage"]
        await client.post("/v1/chat/completions", json=body | {"model": "none"})
        await client.get("/v1/sessions/1234567")
        response = await client.get("/metrics")
        assert response.headers["content-type"].startswith("text/plain")
        samples: dict[str, Any] = {}
        for family in text_string_to_metric_families(response.text):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append((sample.labels, sample.value))
        model = {"model_name": "m", "engine": "torch"}

        def value(name: str, **labels: str) -> float:
            found = [v for have, v in samples[name] if labels.items() <= have.items()]
            assert found, name
            return float(sum(found))

        assert value("airust_generation_tokens_total", **model) == usage["completion_tokens"]
        assert value("airust_prompt_tokens_total", **model) == usage["prompt_tokens"]
        assert value("airust_request_success_total", finished_reason="length") == 1
        assert value("airust_time_to_first_token_seconds_count", **model) == 1
        gaps = value("airust_inter_token_latency_seconds_count", **model)
        assert gaps == usage["completion_tokens"] - 1
        assert value("airust_inter_token_latency_seconds_bucket", le="+Inf") == gaps
        assert value("airust_num_requests_running") == 0
        assert value("airust_num_requests_waiting") == 0
        assert 0 <= value("airust_kv_cache_usage_perc") <= 1
        assert value("airust_errors_total", code="model_not_found", status="404") == 1
        assert value("airust_prefix_cache_queries_total") > 0
        for name in ("e2e_request_latency", "request_queue_time", "request_prefill_time",
                     "request_decode_time"):  # fmt: skip
            assert value(f"airust_{name}_seconds_count", **model) == 1
        routes = {
            have["route"] for have, _ in samples["airust_http_request_duration_seconds_count"]
        }
        assert routes == {"/v1/chat/completions", "/v1/sessions/{session_id}"}

    run(create_app({"m": torch_engine}, settings), steps)


def test_two_apps_count_apart(dummy: DummyEngine, settings: Settings):
    first, second = create_app(dummy, settings), create_app(dummy, settings)

    async def use(client: httpx2.AsyncClient) -> None:
        await client.post("/infer", json={"prompt": "x"})

    async def look(client: httpx2.AsyncClient) -> None:
        assert "airust_generation_tokens_total{" not in (await client.get("/metrics")).text

    run(first, use)
    run(second, look)


def test_request_ids_and_security_headers(dummy: DummyEngine, settings: Settings):
    async def steps(client: httpx2.AsyncClient) -> None:
        for path in ("/healthz", "/v1/models", "/nothing"):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            policy = headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "unsafe-inline" not in policy
            assert headers["x-request-id"].startswith("req-")
        own = await client.get("/healthz", headers={"x-request-id": "my-id.1"})
        assert own.headers["x-request-id"] == "my-id.1"
        forged = await client.get("/healthz", headers={"x-request-id": "a b\\nc" * 30})
        assert forged.headers["x-request-id"].startswith("req-")

    run(create_app(dummy, settings), steps)


@pytest.mark.parametrize(
    ("cors", "get", "post"),
    [
        (CorsSettings(), "*", False),
        (CorsSettings(methods=("GET", "POST")), "*", True),
        (CorsSettings(origins=("http://a.example",)), "http://a.example", False),
        (CorsSettings(origins=()), None, False),
    ],
)
def test_cors(
    dummy: DummyEngine, settings: Settings, cors: CorsSettings, get: str | None, post: bool
):
    async def steps(client: httpx2.AsyncClient) -> None:
        origin = {"origin": "http://a.example"}
        response = await client.get("/v1/models", headers=origin)
        assert response.headers.get("access-control-allow-origin") == get
        if get is not None:
            assert "x-request-id" in response.headers["access-control-expose-headers"].lower()
        preflight = await client.options(
            "/infer", headers=origin | {"access-control-request-method": "POST"}
        )
        assert (preflight.status_code == 200) == post

    run(create_app(dummy, settings.model_copy(update={"cors": cors})), steps)


def test_large_bodies_and_headers_are_refused(dummy: DummyEngine, settings: Settings):
    server = ServerSettings(max_body_bytes=2000, max_header_bytes=1500)
    app = create_app(dummy, settings.model_copy(update={"server": server}))

    async def steps(client: httpx2.AsyncClient) -> None:
        async def pieces() -> Any:
            for _ in range(10):
                yield b" " * 1000

        large = await client.post("/infer", json={"prompt": "x" * 3000})
        assert (large.status_code, large.json()["error"]["code"]) == (413, "request_too_large")
        headers = {"content-type": "application/json"}
        chunked = await client.post("/infer", content=pieces(), headers=headers)
        assert (chunked.status_code, chunked.json()["error"]["code"]) == (413, "request_too_large")
        wide = await client.get("/healthz", headers={"x-much": "x" * 3000})
        assert (wide.status_code, wide.json()["error"]["code"]) == (431, "headers_too_large")
        assert (await client.post("/infer", json={"prompt": "x" * 1000})).status_code == 200

    run(app, steps)


def test_too_many_headers_are_refused(dummy: DummyEngine, settings: Settings):
    server = ServerSettings(max_headers=20)
    app = create_app(dummy, settings.model_copy(update={"server": server}))

    async def steps(client: httpx2.AsyncClient) -> None:
        few = {f"x-{number}": "1" for number in range(10)}
        assert (await client.get("/healthz", headers=few)).status_code == 200
        many = {f"x-{number}": "1" for number in range(30)}
        refused = await client.get("/healthz", headers=many)
        assert (refused.status_code, refused.json()["error"]["code"]) == (431, "headers_too_large")

    run(app, steps)


def endless_line() -> Iterator[bytes]:
    yield b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: "
    yield from itertools.repeat(b"x" * 1000)


def endless_headers() -> Iterator[bytes]:
    yield b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    yield from (b"X-%d: 1\r\n" % number for number in itertools.count())


@pytest.mark.parametrize("pieces", [endless_line, endless_headers])
def test_headers_without_end_are_cut_off(
    dummy: DummyEngine, serve: Serve, settings: Settings, pieces: Callable[[], Iterator[bytes]]
):
    """The application never sees them; the connection must not gather them for ever."""
    limits = ServerSettings(max_header_bytes=20_000)
    server = serve(dummy, settings.model_copy(update={"server": limits}))
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as line:
        answer = b""
        with contextlib.suppress(ConnectionError):
            for piece in pieces():
                line.sendall(piece)
                readable, _, _ = select.select([line], [], [], 0)
                if readable:
                    break
        with contextlib.suppress(ConnectionError):  # the rest of what we sent was not read
            answer = line.recv(65536)
    assert not answer or answer.startswith(b"HTTP/1.1 431 ")
    assert httpx2.get(f"{server.url}/healthz", trust_env=False).status_code == 200


@pytest.mark.parametrize("said", [b"", b"POST /infer HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_headers_that_do_not_arrive(
    dummy: DummyEngine, serve: Serve, settings: Settings, said: bytes
):
    server = serve(
        dummy, settings.model_copy(update={"server": ServerSettings(body_timeout_s=0.2)})
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as line:
        line.sendall(said)
        answer = line.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"request_timeout" in answer


def test_a_long_answer_outlives_the_time_for_headers(serve: Serve, settings: Settings):
    with DummyEngine(["word " * 20], delay_s=0.03) as engine:
        server = serve(
            engine, settings.model_copy(update={"server": ServerSettings(body_timeout_s=0.2)})
        )
        with httpx2.Client(trust_env=False, timeout=60) as client:
            for _ in range(2):  # the second on the same connection
                response = client.post(f"{server.url}/infer", json={"prompt": "x"})
                assert response.status_code == 200


def test_a_body_that_does_not_arrive(dummy: DummyEngine, serve: Serve, settings: Settings):
    server = serve(
        dummy, settings.model_copy(update={"server": ServerSettings(body_timeout_s=0.2)})
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as line:
        head = b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        line.sendall(head + b'Content-Length: 99\r\n\r\n{"prom')
        answer = line.recv(65536)
    assert b"408" in answer.split(b"\r\n")[0]
    assert b"request_timeout" in answer


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"no json", "application/json"), (b"{}", "text/plain"), (b"", "application/json"),
     (b"\xff\xfe", "application/json"), (b'{"prompt": 1e999}', "application/json"),
     (b"[" * 100_000, "application/json")],
)  # fmt: skip
def test_bodies_that_are_no_json(dummy: DummyEngine, settings: Settings, body: bytes, kind: str):
    async def steps(client: httpx2.AsyncClient) -> None:
        response = await client.post("/infer", content=body, headers={"content-type": kind})
        assert response.status_code == 400, response.text
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}

    run(create_app(dummy, settings), steps)


def test_a_bug_is_told_in_general_words(
    dummy: DummyEngine, settings: Settings, caplog: pytest.LogCaptureFixture
):
    app = create_app(dummy, settings)

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("/home/secret")

    async def steps(client: httpx2.AsyncClient) -> None:
        response = await client.get("/broken")
        assert (response.status_code, response.json()["error"]["code"]) == (500, "internal_error")
        assert "secret" not in response.text
        assert response.headers["x-request-id"]

    run(app, steps)
    assert "secret" in caplog.text


def test_log_lines_have_ids_and_no_prompts(
    dummy: DummyEngine, settings: Settings, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, "airust.serving")

    async def steps(client: httpx2.AsyncClient) -> None:
        await client.post("/infer", json={"prompt": "my secret"}, headers={"x-request-id": "r1"})
        await client.get("/healthz")

    run(create_app(dummy, settings), steps)
    lines = [Formatter(True).format(record) for record in caplog.records]
    found = [json.loads(line) for line in lines if '"request"' in line]
    assert [(line["route"], line["status"]) for line in found] == [("/infer", 200)]
    assert "secret" not in "".join(lines)
    caplog.clear()
    loud = settings.model_copy(update={"log": LogSettings(prompts=True)})
    run(create_app(dummy, loud), steps)
    assert "my secret" in "".join(Formatter(True).format(record) for record in caplog.records)


def test_a_log_line_cannot_be_forged():
    record = logging.makeLogRecord({"msg": "request", "levelname": "INFO", "path": "a\nb=c d"})
    request_id.set("r2")
    line = Formatter(False).format(record)
    request_id.set("")
    assert "\n" not in line
    assert line.endswith('path="a\\nb=c d" request_id=r2')


def test_the_openapi_document(dummy: DummyEngine, settings: Settings):
    document = create_app(dummy, settings).openapi()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert "422" not in operation["responses"], path
            assert operation.get("summary"), path
    chat = document["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert {"200", "400", "401", "403", "404", "413", "429", "500", "503", "504"} <= set(chat)


def test_no_engine_is_refused(settings: Settings):
    with pytest.raises(UserError, match="no model to serve"):
        create_app({}, settings)


def test_without_arguments_the_echo_answers():
    async def steps(client: httpx2.AsyncClient) -> None:
        answer = await client.post("/infer", json={"prompt": "hello"})
        assert answer.json()["output"] == "hello"

    app = create_app()
    run(app, steps)
    for model in app.state.service.models:
        model.engine.close()
