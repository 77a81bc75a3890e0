"""docs/serving.md against the code: every endpoint, event, metric and setting, and nothing else."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel

from airust.engines.base import Engine
from airust.engines.dummy import DummyEngine
from airust.serving import create_app
from airust.serving.app import ROUTERS
from airust.settings import Section, Settings
from tests.serving.conftest import Serve, client_of
from tests.serving.test_websocket import say, socket, until

TEXT = (Path(__file__).resolve().parent.parent.parent / "docs/serving.md").read_text("utf-8")


def tables(heading: str) -> list[list[list[str]]]:
    """The tables of a chapter: rows of cells, without the head."""
    chapter = re.split(r"^## ", TEXT.split(f"\n## {heading}\n")[1], flags=re.MULTILINE)[0]
    found = re.findall(r"(?:^\|.*\n)+", chapter, flags=re.MULTILINE)
    return [[_cells(line) for line in table.split("\n")[2:-1]] for table in found]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def names(table: list[list[str]]) -> list[str]:
    return [row[0].strip("` |") for row in table]


def test_every_endpoint() -> None:
    served = {"GET /openapi.json"}  # FastAPI's own
    for module in ROUTERS:
        for route in module.router.routes:
            methods = getattr(route, "methods", None) or {"WS"}
            path = re.sub(r":path\}", "}", route.path)
            served |= {f"{method} {path}" for method in methods if method != "HEAD"}
    (table,) = tables("Endpoints")
    assert set(names(table)) == served
    assert len(table) == len(served)


def test_every_metric(torch_engine: Engine, settings: Settings) -> None:
    app = create_app({"m": torch_engine}, settings)

    async def use() -> str:
        async with client_of(app) as client:
            await client.post("/infer", json={"prompt": "x", "max_tokens": 2})
            await client.post("/infer", json={})
            return (await client.get("/metrics")).text

    kinds = re.findall(r"^# TYPE (\w+) (\w+)$", asyncio.run(use()), flags=re.MULTILINE)
    exposed = {name for name, _ in kinds if not name.endswith("_created")}
    (table,) = tables("Metrics")
    assert set(names(table)) == exposed
    histograms = {name for name, kind in kinds if kind == "histogram"}
    assert {names([row])[0] for row in table if row[1].startswith("histogram")} == histograms


def leaves(section: type[BaseModel] = Settings, path: str = "") -> Iterator[list[str]]:
    """Every setting as the documentation's row."""
    for name, field in section.model_fields.items():
        kinds = (field.annotation, *getattr(field.annotation, "__args__", ()))
        inner = next((k for k in kinds if isinstance(k, type) and issubclass(k, Section)), None)
        if inner is not None:
            yield from leaves(inner, f"{path}{name}.")
            continue
        default: Any = None
        if not field.is_required():
            default = field.get_default(call_default_factory=True)
        shown = "" if field.is_required() else f"`{json.dumps(default, ensure_ascii=False)}`"
        yield [f"`{path}{name}`", shown, field.description or ""]


def test_every_setting() -> None:
    (table,) = tables("Settings")
    rows = [[cell.strip("| ") for cell in row] for row in table]
    wanted = list(leaves())
    lines = "\n".join(f"| {' | '.join(row)} |" for row in wanted)
    assert rows == wanted, f"the table should be:\n{lines}"


def test_every_event_of_the_socket(serve: Serve) -> None:
    """What the socket sends is in the table, and all that the table promises can be seen."""
    sent, told = tables("WebSocket")
    assert set(names(sent)) == {"response.create", "response.cancel"}
    heard: set[str] = set()
    engine = DummyEngine(["one two", "word " * 500], delay_s=0.01)
    with engine, socket(serve(engine)) as line:
        say(line, "response.create", input="x")
        heard |= {event["type"] for event in until(line, "response.completed")}
        say(line, "response.create", input="x", max_output_tokens=500)
        first = until(line, "response.output_text.delta")[-1]
        say(line, "response.cancel", response_id=first["response_id"])
        heard |= {event["type"] for event in until(line, "response.incomplete")}
        say(line, "nonsense")
        heard |= {event["type"] for event in until(line, "error")}
        say(line, "response.create", input="word " * 500)
        until(line, "response.output_text.delta")
        engine.close()
        heard |= {event["type"] for event in until(line, "response.failed")}
    assert heard == set(names(told))


def test_the_openapi_document_is_served(dummy: DummyEngine, settings: Settings) -> None:
    async def get() -> httpx2.Response:
        async with client_of(create_app(dummy, settings)) as client:
            return await client.get("/openapi.json")

    assert asyncio.run(get()).json()["info"]["title"] == "airust"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_the_quick_start_in_python(
    serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (code,) = blocks("python")
    with DummyEngine(["Paris it is."]) as engine:
        code = code.replace("http://127.0.0.1:3000", serve(engine).url)
        spoken = code.replace('"tiny"', '"dummy"') + "client.close()\n"
        exec(compile(spoken, "docs/serving.md", "exec"), {})
    assert capsys.readouterr().out == "Paris it is."


def test_the_requests_of_the_curl_examples(serve: Serve, dummy: DummyEngine) -> None:
    server = serve(dummy)
    text = "\n".join(blocks("bash")).replace("\\\n", "")
    asked = re.findall(r"curl .*?http://127\.0\.0\.1:3000(/\S+) .*?-d '(.*?)'", text)
    assert {path for path, _ in asked} == {"/infer", "/v1/chat/completions", "/v1/sessions"}
    for path, body in asked:
        answer = httpx2.post(
            server.url + path, trust_env=False, content=body.replace('"tiny"', '"dummy"'),
            headers={"content-type": "application/json"},
        )  # fmt: skip
        assert answer.status_code in (200, 201), answer.text
