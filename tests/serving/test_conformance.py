"""The OpenAPI document against the server: schemathesis finds no 5xx and nothing undocumented."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from langchain_openai import ChatOpenAI
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from airust.engines.dummy import DummyEngine
from airust.serving import create_app
from airust.settings import GenerationSettings, SessionSettings, Settings
from tests.serving.conftest import Serve

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)  # not: that valid data is accepted, since what an engine can do is in no schema


@pytest.mark.full
def test_behaviour_is_as_documented(tmp_path: Path) -> None:
    """Every route with many valid and invalid requests."""
    chosen = Settings(
        sessions=SessionSettings(database_url=f"sqlite:///{tmp_path / 'a.db'}"),
        generation=GenerationSettings(max_tokens=8),
    )
    with DummyEngine() as engine:
        schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(engine, chosen))
        operations = [result.ok() for result in schema.get_all_operations()]
        assert len(operations) > 20
        for operation in operations:

            @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy())
            def conforms(case: schemathesis.Case) -> None:
                case.call_and_validate(checks=CHECKS)

            conforms()


@pytest.mark.full
def test_langchain(dummy: DummyEngine, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")  # it makes its own HTTP client
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        chat = ChatOpenAI(
            base_url=f"{serve(dummy).url}/v1", api_key="none", model="dummy", max_retries=0
        )
        assert chat.invoke("hello rust").content == "hello rust"
        pieces = [piece.content for piece in chat.stream("one two three")]
    assert "".join(map(str, pieces)) == "one two three"
