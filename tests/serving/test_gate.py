"""Keys, limits and addresses: who is let in, and what every answer tells."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from websockets.sync.client import connect

from airust.engines.dummy import DummyEngine
from airust.serving import create_app
from airust.serving.callers import address_of
from airust.serving.server import check_exposure
from airust.serving.storage.database import Database
from airust.serving.storage.keys import Keys
from airust.settings import (
    KeySettings,
    Limits,
    LimitSettings,
    MetricsSettings,
    ServerSettings,
    Settings,
)
from airust.types import UserError
from tests.serving.conftest import Serve, client_of

Steps = Callable[[FastAPI], Awaitable[None]]


@pytest.fixture
def locked(settings: Settings) -> Settings:
    """Keys are required."""
    return settings.model_copy(update={"keys": KeySettings(required=True)})


def make_key(settings: Settings, *scopes: str, valid_s: float | None = None) -> tuple[str, str]:
    database = Database(settings.sessions.database_url)
    secret, key = Keys(database).create("test", scopes or ("chat",), valid_s)
    database.close()
    return secret, key.id


def run(engine: DummyEngine, settings: Settings, steps: Steps) -> None:
    asyncio.run(steps(create_app({"m": engine}, settings)))


async def get(app: FastAPI, path: str, key: str | None = None, **headers: str) -> httpx2.Response:
    async with client_of(app, key) as client:
        return await client.get(path, headers=headers)


async def infer(app: FastAPI, key: str | None = None, **headers: str) -> httpx2.Response:
    async with client_of(app, key) as client:
        return await client.post("/infer", json={"prompt": "one two"}, headers=headers)


def test_without_a_key_only_the_probes_answer(dummy: DummyEngine, locked: Settings):
    async def steps(app: FastAPI) -> None:
        for path in ("/healthz", "/readyz", "/health", "/openapi.json"):
            assert (await get(app, path)).status_code == 200
        for path in ("/v1/models", "/metrics", "/v1/sessions", "/nothing"):
            refused = await get(app, path)
            assert refused.status_code == 401
            assert refused.json()["error"]["code"] == "invalid_api_key"
            assert refused.headers["www-authenticate"] == "Bearer"
            assert refused.headers["x-request-id"]

    run(dummy, locked, steps)


def test_a_key_opens_and_scopes_bound(dummy: DummyEngine, locked: Settings):
    chat, _ = make_key(locked)
    admin, _ = make_key(locked, "chat", "admin")
    only_admin, _ = make_key(locked, "admin")

    async def steps(app: FastAPI) -> None:
        assert (await infer(app, chat)).json()["output"] == "one two"
        assert (await get(app, "/metrics", chat)).status_code == 403
        assert (await get(app, "/metrics", admin)).status_code == 200
        assert (await infer(app, only_admin)).status_code == 403
        for wrong in (chat[:-1], chat + "x", "sk-whatever", "airust-x-y", "Bearer"):
            assert (await infer(app, wrong)).status_code == 401, wrong

    run(dummy, locked, steps)


def test_revoked_and_expired_keys_are_worthless(dummy: DummyEngine, locked: Settings):
    revoked, ident = make_key(locked)
    expired, _ = make_key(locked, valid_s=-1)
    database = Database(locked.sessions.database_url)
    Keys(database).revoke(ident)
    database.close()

    async def steps(app: FastAPI) -> None:
        assert (await infer(app, revoked)).status_code == 401
        assert (await infer(app, expired)).status_code == 401

    run(dummy, locked, steps)


def test_keys_are_stored_nowhere(locked: Settings):
    secret, _ = make_key(locked)
    path = locked.sessions.database_url.removeprefix("sqlite:///")
    for suffix in ("", "-wal"):
        try:
            with open(path + suffix, "rb") as file:
                assert secret.split("-", 2)[2].encode() not in file.read()
        except FileNotFoundError:
            assert suffix == "-wal"


def test_metrics_may_be_public(dummy: DummyEngine, locked: Settings):
    settings = locked.model_copy(update={"metrics": MetricsSettings(public=True)})

    async def steps(app: FastAPI) -> None:
        assert (await get(app, "/metrics")).status_code == 200
        assert (await get(app, "/v1/models")).status_code == 401

    run(dummy, settings, steps)


def test_sessions_belong_to_their_key(dummy: DummyEngine, locked: Settings):
    mine, yours = make_key(locked)[0], make_key(locked)[0]

    async def steps(app: FastAPI) -> None:
        async with client_of(app, mine) as me, client_of(app, yours) as you:
            session = (await me.post("/v1/sessions", json={})).json()["id"]
            body = {"input": "secret words", "conversation": session}
            answer = (await me.post("/v1/responses", json=body)).json()
            for path in ("", "/messages", "/export"):
                assert (await you.get(f"/v1/sessions/{session}{path}")).status_code == 404
            assert (await you.delete(f"/v1/sessions/{session}")).status_code == 404
            assert (await you.patch(f"/v1/sessions/{session}", json={})).status_code == 404
            assert (await you.post("/v1/responses", json=body)).status_code == 404
            on = {"input": "x", "previous_response_id": answer["id"]}
            assert (await you.post("/v1/responses", json=on)).status_code == 404
            assert (await you.get("/v1/sessions")).json()["data"] == []
            assert (await you.get("/v1/sessions/search?q=secret")).json()["data"] == []
            assert (await you.get("/v1/sessions/export")).json()["sessions"] == []
            assert len((await me.get("/v1/sessions/search?q=secret")).json()["data"]) == 2

    run(dummy, locked, steps)


def test_the_socket_needs_a_key_too(dummy: DummyEngine, serve: Serve, locked: Settings):
    secret, _ = make_key(locked)
    server = serve(dummy, locked)
    url = f"ws://127.0.0.1:{server.port}/ws"
    with connect(url, proxy=None) as line:
        assert "invalid_api_key" in str(line.recv(timeout=60))
    header = {"authorization": f"Bearer {secret}"}
    protocols: Any = ["airust", f"openai-insecure-api-key.{secret}"]
    for options in ({"additional_headers": header}, {"subprotocols": protocols}):
        with connect(url, proxy=None, **options) as line:
            line.send('{"type": "response.create", "input": "x"}')
            assert "response.created" in str(line.recv(timeout=60))


def limited(settings: Settings, **limits: Any) -> Settings:
    return settings.model_copy(update={"limits": LimitSettings(**limits)})


def test_requests_a_minute(dummy: DummyEngine, settings: Settings):
    changed = limited(settings, per_ip=Limits(requests_per_minute=3))

    async def steps(app: FastAPI) -> None:
        left = []
        for _ in range(3):
            answer = await infer(app)
            assert answer.status_code == 200
            assert answer.headers["x-ratelimit-limit-requests"] == "3"
            left.append(answer.headers["x-ratelimit-remaining-requests"])
        assert left == ["2", "1", "0"]
        refused = await infer(app)
        assert (refused.status_code, refused.json()["error"]["code"]) == (
            429,
            "rate_limit_exceeded",
        )
        assert 1 <= int(refused.headers["retry-after"]) <= 61
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        assert refused.headers["x-ratelimit-reset-requests"]
        assert (await get(app, "/readyz")).status_code == 200

    run(dummy, changed, steps)


def test_tokens_a_minute_are_charged_when_the_answer_ends(dummy: DummyEngine, settings: Settings):
    changed = limited(settings, per_ip=Limits(tokens_per_minute=6))

    async def steps(app: FastAPI) -> None:
        first = await infer(app)  # costs 4: two words in, two words out
        assert first.headers["x-ratelimit-remaining-tokens"] == "6"
        second = await infer(app)
        assert second.headers["x-ratelimit-remaining-tokens"] == "2"
        third = await infer(app)
        assert third.status_code == 429
        assert third.headers["x-ratelimit-limit-tokens"] == "6"
        for path in ("/v1/models", "/v1/sessions"):  # what costs no tokens passes
            assert (await get(app, path)).status_code == 200
        async with client_of(app) as client:
            assert (await client.post("/v1/sessions", json={})).status_code == 201

    run(dummy, changed, steps)


def test_every_key_has_its_own_limit(dummy: DummyEngine, locked: Settings):
    mine, yours = make_key(locked)[0], make_key(locked)[0]
    changed = limited(locked, per_key=Limits(requests_per_minute=1))

    async def steps(app: FastAPI) -> None:
        assert (await infer(app, mine)).status_code == 200
        assert (await infer(app, mine)).status_code == 429
        assert (await infer(app, yours)).status_code == 200

    run(dummy, changed, steps)


def test_answers_at_the_same_time(settings: Settings):
    changed = limited(settings, per_ip=Limits(concurrent_requests=1))

    async def steps(app: FastAPI) -> None:
        answers = await asyncio.gather(infer(app), infer(app))
        assert sorted(answer.status_code for answer in answers) == [200, 429]
        assert (await infer(app)).status_code == 200

    with DummyEngine(delay_s=0.1) as engine:
        run(engine, changed, steps)


def test_every_address_has_its_own_limit_behind_a_trusted_proxy(
    dummy: DummyEngine, settings: Settings
):
    changed = limited(settings, per_ip=Limits(requests_per_minute=1)).model_copy(
        update={"server": ServerSettings(trusted_proxies=("127.0.0.0/8",))}
    )

    async def steps(app: FastAPI) -> None:
        assert (await infer(app, **{"x-forwarded-for": "1.1.1.1"})).status_code == 200
        assert (await infer(app, **{"x-forwarded-for": "6.6.6.6, 1.1.1.1"})).status_code == 429
        assert (await infer(app, **{"x-forwarded-for": "2.2.2.2"})).status_code == 200

    run(dummy, changed, steps)


def test_a_stranger_cannot_choose_an_address():
    scope = {
        "type": "http",
        "client": ("9.9.9.9", 1),
        "headers": [(b"x-forwarded-for", b"1.1.1.1")],
    }
    assert address_of(scope, ["10.0.0.0/8"]) == "9.9.9.9"


def test_limits_need_a_known_storage(dummy: DummyEngine, settings: Settings):
    with pytest.raises(UserError, match=r"limits\.storage_url"):
        create_app(dummy, limited(settings, storage_url="nonsense://"))


@pytest.mark.parametrize(
    ("host", "keys", "good"),
    [
        ("127.0.0.1", KeySettings(), True),
        ("localhost", KeySettings(), True),
        ("::1", KeySettings(), True),
        ("0.0.0.0", KeySettings(), False),
        ("192.168.1.1", KeySettings(), False),
        ("0.0.0.0", KeySettings(required=True), True),
        ("0.0.0.0", KeySettings(allow_open=True), True),
    ],
)
def test_other_machines_need_keys_or_a_word(host: str, keys: KeySettings, good: bool):
    settings = Settings(server=ServerSettings(host=host), keys=keys)
    if good:
        check_exposure(settings)
    else:
        with pytest.raises(UserError, match=r"keys\.required = true"):
            check_exposure(settings)
