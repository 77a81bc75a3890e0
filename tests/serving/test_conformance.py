"""The OpenAPI document against the server: schemathesis finds no 5xx and nothing undocumented."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from langchain_openai import ChatOpenAI

from airust.engines.dummy import DummyEngine
from airust.serving import create_app
from airust.settings import GenerationSettings, SessionSettings, Settings
from tests.serving.conftest import Serve


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder: Path = tmp_path_factory.mktemp("sessions")
    chosen = Settings(
        sessions=SessionSettings(database_url=f"sqlite:///{folder / 'a.db'}"),
        generation=GenerationSettings(max_tokens=8),
    )
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(DummyEngine(), chosen))


schema = schemathesis.pytest.from_fixture("document")


@pytest.mark.full
@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_behaviour_is_as_documented(case: schemathesis.Case) -> None:
    case.call_and_validate()


@pytest.mark.full
def test_langchain(dummy: DummyEngine, serve: Serve) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        chat = ChatOpenAI(
            base_url=f"{serve(dummy).url}/v1", api_key="none", model="dummy", max_retries=0
        )
        assert chat.invoke("hello rust").content == "hello rust"
        pieces = [piece.content for piece in chat.stream("one two three")]
    assert "".join(map(str, pieces)) == "one two three"
