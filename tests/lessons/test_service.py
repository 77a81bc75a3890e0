"""The service for a lesson, in a thread and in a process."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from airust.engines.dummy import DummyEngine
from airust.lessons.service import ServiceProcess, ServiceThread, visitors
from airust.settings import ServerSettings, SessionSettings, Settings
from airust.types import EngineError


@pytest.fixture(autouse=True)
def proxy_that_nobody_answers_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")


def test_a_thread_answers_until_it_is_closed(tmp_path: Path):
    database = SessionSettings(database_url=f"sqlite:///{tmp_path / 'a.db'}")
    settings = Settings(server=ServerSettings(port=0), sessions=database)
    with DummyEngine() as engine:
        service = ServiceThread({"echo": engine}, settings)
        with service.client() as client:
            assert client.post("/infer", json={"prompt": "one two"}).json()["output"] == "one two"
            visitors(service.url, seconds=0.3)
            metrics = client.get("/metrics").text
        service.close()
        service.close()
    assert "airust_generation_tokens_total{" in metrics
    with pytest.raises(httpx.ConnectError), service.client() as client:
        client.get("/healthz")


def test_a_process_keeps_what_it_acknowledged_when_it_is_killed(tmp_path: Path):
    kept = []
    for _ in range(2):
        service = ServiceProcess("--engine", "dummy", folder=tmp_path)
        with service.client() as client:
            found = [session["id"] for session in client.get("/v1/sessions").json()["data"]]
            assert found == kept
            kept = [client.post("/v1/sessions", json={}).json()["id"], *kept]
        service.kill()
        service.kill()


def test_a_process_that_does_not_start_says_why():
    with pytest.raises(EngineError, match="nonsense"):
        ServiceProcess("--engine", "nonsense", "--model", ".")
