"""docs/write-an-engine.md is true: its package is installed, used, and held to the contract."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import RECITED

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "write-an-engine.md"
FILE = re.compile(r"^\*\*`([^`]+)`\*\*\n\n```\w+\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
SOURCES = dict(FILE.findall(PAGE.read_text("utf-8")))
TIMEOUT_S = 300


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the page's package is installed, without a network."""
    source, target = (tmp_path_factory.mktemp(name) for name in ("airust-uncached", "installed"))
    for name, text in SOURCES.items():
        (source / name).write_text(text, "utf-8")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--target", str(target)]
    subprocess.run([*pip, *offline, str(source)], check=True, timeout=TIMEOUT_S)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(target), str(ROOT)])}


def run(environment: dict[str, str], *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *args],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_is_short() -> None:
    assert set(SOURCES) == {"pyproject.toml", "airust_uncached.py"}
    assert sum(len(text.splitlines()) for text in SOURCES.values()) < 80


def test_it_is_listed(environment: dict[str, str]) -> None:
    engines = {
        engine["name"]: engine
        for engine in json.loads(run(environment, "airust", "engines", "--json"))
    }
    assert engines["uncached"]["description"] == "from the package airust-uncached"
    assert engines["uncached"]["available"] is True
    assert engines["uncached"]["version"] == "0.1.0"


def test_it_answers(environment: dict[str, str], reciter_dir: Path) -> None:
    model = ("--model", str(reciter_dir), "--engine", "uncached", "--max-tokens", "10")
    assert run(environment, "airust", "ask", *model, "Recite.") == f"{RECITED}\n"


def test_it_agrees_with_the_reference(environment: dict[str, str], model_dir: Path) -> None:
    model = ("--model", str(model_dir), "--engines", "uncached", "--tokens", "4")
    assert "25 of 25" in run(environment, "airust", "parity", *model)


def test_it_keeps_the_contract(environment: dict[str, str]) -> None:
    suite = ("pytest", "-q", "-p", "no:cacheprovider", "tests/engines/test_contract.py")
    found = run(environment, *suite, "-k", "uncached")
    passed = re.search(r"(\d+) passed", found)
    assert passed is not None
    assert int(passed[1]) > 35
    assert "skipped" not in found


def test_its_links_lead_somewhere() -> None:
    for page in (PAGE, PAGE.with_name("replay.md")):
        for target in re.findall(r"\]\(([^)\s#]+)\)", page.read_text("utf-8")):
            assert "://" in target or (page.parent / target).exists(), target
