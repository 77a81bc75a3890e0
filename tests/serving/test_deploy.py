"""Dockerfile, compose, Kubernetes and the dashboard, as far as they can be checked without them."""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from airust.engines.base import Engine
from airust.serving import create_app
from airust.settings import Settings, load_settings
from tests.serving.conftest import client_of

ROOT = Path(__file__).resolve().parent.parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_what_the_dockerfile_copies_exists_and_is_not_ignored():
    kept = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), flags=re.MULTILINE))
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, flags=re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source in kept, f".dockerignore leaves {source} out"


def test_the_image_is_bound_to_a_version_and_no_root():
    for image in re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE):
        assert ":" in image
        assert not image.endswith(":latest")
    last = DOCKERFILE.rpartition("FROM ")[2]
    assert re.search(r"^USER (?!root)\w+", last, flags=re.MULTILINE)
    assert "HEALTHCHECK" in last
    assert "ADD " not in DOCKERFILE


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and their arguments, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines]


def test_the_dockerfile_keeps_the_usual_rules():
    """The rules of hadolint that concern it, by their numbers there."""
    stages = re.findall(r"^FROM \S+ AS (\w+)", DOCKERFILE, flags=re.MULTILINE)
    known = {
        "FROM", "RUN", "ENV", "COPY", "ARG", "WORKDIR", "USER", "VOLUME", "EXPOSE",
        "HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT", "CMD",
    }  # fmt: skip
    kinds = [kind for kind, _ in instructions()]
    for kind, rest in instructions():
        assert kind in known, kind
        if kind == "WORKDIR":
            assert rest.startswith("/")  # DL3000
        if kind in ("CMD", "ENTRYPOINT"):
            assert isinstance(json.loads(rest), list)  # DL3025
        if kind == "RUN":
            assert not re.search(r"\b(sudo|apt-get upgrade|cd /)\b", rest)  # DL3004, 3005, 3003
            for install in re.findall(r"pip install [^&]*", rest):
                assert "--no-cache-dir" in install  # DL3042
                assert "--constraint" in install  # DL3013: versions are pinned
        if found := re.search(r"--from=(\S+)", rest):
            assert found[1] in stages  # DL3022
    for once in ("ENTRYPOINT", "CMD"):
        assert kinds.count(once) == 1  # DL4003, 4004
    assert kinds.count("HEALTHCHECK") == 1


SERVICE = {
    "type": "object",
    "additionalProperties": False,
    "oneOf": [{"required": ["build"]}, {"required": ["image"]}],
    "properties": {
        "build": {"type": "string"},
        "image": {"type": "string", "pattern": r"^[\w./-]+:[\w.-]+$"},
        "ports": {
            "type": "array",
            "items": {"type": "string", "pattern": r"^(\d+\.\d+\.\d+\.\d+:)?\d+:\d+$"},
        },
        "volumes": {
            "type": "array",
            "items": {"type": "string", "pattern": r"^[^:]+:/[^:]+(:ro)?$"},
        },
        "environment": {"type": "object", "additionalProperties": {"type": "string"}},
        "depends_on": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"condition": {"enum": ["service_started", "service_healthy"]}},
            },
        },
        "stop_grace_period": {"type": "string", "pattern": r"^\d+s$"},
        "healthcheck": {
            "type": "object",
            "additionalProperties": False,
            "required": ["test"],
            "properties": {
                "test": {"type": "array", "items": {"type": "string"}},
                "interval": {"type": "string", "pattern": r"^\d+s$"},
            },
        },
    },
}
COMPOSE_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["services"],
    "properties": {
        "services": {"type": "object", "additionalProperties": SERVICE},
        "volumes": {"type": "object", "additionalProperties": {"type": "object"}},
    },
}


def test_compose_has_the_form_of_the_compose_specification():
    """The part of its schema that is used here; a misspelt key would be ignored by nobody."""
    jsonschema.validate(COMPOSE, COMPOSE_SCHEMA)
    for name, service in COMPOSE["services"].items():
        for other, condition in service.get("depends_on", {}).items():
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in COMPOSE["services"][other], (name, other)


def environment_of(text: str) -> dict[str, str]:
    return dict(re.findall(r"(AIRUST_\w+?)=(\S+)", text))


def test_the_environment_of_the_image_and_of_compose_is_known():
    settings = load_settings(environment=environment_of(DOCKERFILE))
    assert settings.keys.required
    composed = COMPOSE["services"]["airust"]["environment"]
    assert load_settings(environment=composed).limits.storage_url.startswith("redis://")


def test_the_image_has_what_its_environment_needs():
    """The drivers of the databases that compose names, and the engine of the Kubernetes example."""
    found = re.search(r"pip install .*\"\.\[(.*)\]\"", DOCKERFILE)
    assert found is not None
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    wanted = set(found[1].split(","))
    assert wanted <= set(extras)
    assert {"scale", "openai"} <= wanted
    assert any(need.startswith("psycopg") for need in extras["scale"])
    assert any(need.startswith("redis") for need in extras["scale"])


def test_compose_mounts_what_is_there_and_waits_long_enough():
    for service in COMPOSE["services"].values():
        assert "build" in service or ":" in service["image"]
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./") and not source.startswith("./runs/"):
                assert (ROOT / source).exists(), source
            elif not source.startswith("./"):
                assert source in COMPOSE["volumes"]
        for other in service.get("depends_on", ()):
            assert other in COMPOSE["services"]
    grace = int(COMPOSE["services"]["airust"]["stop_grace_period"].rstrip("s"))
    assert grace > Settings().server.drain_timeout_s


def test_kubernetes_probes_and_waits():
    documents = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/airust.yaml").read_text()))
    pod = documents[0]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert pod["terminationGracePeriodSeconds"] > Settings().server.drain_timeout_s
    load_settings(environment={entry["name"]: "x" for entry in container["env"]})
    assert documents[1]["spec"]["selector"] == documents[0]["spec"]["selector"]["matchLabels"]


def test_the_dashboard_asks_for_metrics_that_there_are(torch_engine: Engine, settings: Settings):
    async def metrics() -> str:
        async with client_of(create_app({"m": torch_engine}, settings)) as client:
            await client.post("/infer", json={"prompt": "x", "max_tokens": 2})
            await client.post("/infer", json={})
            return (await client.get("/metrics")).text

    known = set(re.findall(r"^(\w+)", asyncio.run(metrics()), flags=re.MULTILINE))
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/airust.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\b((?:airust|process)_\w+)\b", target["expr"])
    }
    assert len(asked) > 8
    assert asked <= known


def test_prometheus_asks_the_service():
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    target = config["scrape_configs"][0]["static_configs"][0]["targets"][0]
    host, port = target.split(":")
    assert host in COMPOSE["services"]
    assert int(port) == Settings().server.port
