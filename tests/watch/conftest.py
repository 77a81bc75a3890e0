"""A server of recorded shapes, and package clients that say what they are told to."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.watch.server import Server

# `python -m pip` and `cargo`: notes of what they were asked, answers from a file.
STUB = """\
import json, os, pathlib, sys
here = pathlib.Path(os.environ["STUB_CLIENTS"])
with (here / "calls.txt").open("a") as calls:
    calls.write(NAME + " " + " ".join(sys.argv[1:]) + "\\n")
answers = json.loads((here / "answers.json").read_text("utf-8"))
out, err, code = answers.get(NAME + " " + ACTION, {}).get(sys.argv[-1], ["", MISSING, 1])
print(out, end="")
print(err, end="", file=sys.stderr)
sys.exit(code)
"""
PIP = (
    'NAME, ACTION = "pip", "index"\n'
    'MISSING = "ERROR: No matching distribution found for " + __import__("sys").argv[-1]\n' + STUB
)
CARGO = (
    'NAME, ACTION = "cargo", __import__("sys").argv[3]\n'
    'MISSING = "error: the crate `x` could not be found in registry index."\n' + STUB
)


class Clients:
    """Stubs in the place of pip and cargo."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._answers: dict[str, dict[str, tuple[str, str, int]]] = {}
        self._write()

    def pip(self, name: str, version: str = "", error: str = "") -> None:
        """What pip says about a package."""
        out = f"{name} ({version})\nAvailable versions: {version}, 0.1\n"
        self._set("pip index", name, (out, "", 0) if version else ("", error, 1))

    def cargo(self, name: str, version: str = "", facts: str = "", error: str = "") -> None:
        """What cargo says about a crate; without facts its `info` fails."""
        added = f"    Updating `mirror` index\n      Adding {name} v{version} to dependencies\n"
        self._set("cargo add", name, ("", added, 0) if version else ("", error, 101))
        info = (f"{name}\nversion: {version}\n{facts}", "", 0) if facts else ("", "error: no", 101)
        self._set("cargo info", f"{name}@{version}", info)

    def calls(self) -> list[str]:
        """What they were asked, since the last look."""
        notes = self._folder / "calls.txt"
        lines = notes.read_text().splitlines() if notes.exists() else []
        notes.unlink(missing_ok=True)
        return lines

    def _set(self, action: str, about: str, answer: tuple[str, str, int]) -> None:
        self._answers.setdefault(action, {})[about] = answer
        self._write()

    def _write(self) -> None:
        (self._folder / "answers.json").write_text(json.dumps(self._answers), "utf-8")


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clients:
    """Stubs that programs find before the real ones."""
    folder = tmp_path / "clients"
    (folder / "pip").mkdir(parents=True)
    (folder / "pip" / "__init__.py").touch()
    (folder / "pip" / "__main__.py").write_text(PIP, "utf-8")
    script = folder / "cargo"
    script.write_text(f"#!{sys.executable}\n{CARGO}", "utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("STUB_CLIENTS", str(folder))
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return Clients(folder)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server; caches, tokens and proxies of this machine are out of the way."""
    monkeypatch.setenv("AIRUST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("GITHUB_TOKEN", "GH_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        yield running
