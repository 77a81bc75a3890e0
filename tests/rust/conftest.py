"""A cache of this test run alone, and an IPython with the magic loaded."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from airust.rust import NoToolchainError, find_toolchain


def require_toolchain() -> None:
    """Skip, with the reason in pytest's summary, where there is no Rust; CI has it."""
    try:
        find_toolchain(cargo=True)
    except NoToolchainError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _toolchain(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("full"):
        require_toolchain()


@pytest.fixture(scope="session")
def rust_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rust-cache")


@pytest.fixture(autouse=True)
def _cache(rust_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRUST_CACHE", str(rust_cache))
    monkeypatch.setenv("RUST_BACKTRACE", "0")


@pytest.fixture
def no_toolchain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without rustc and cargo."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))


@dataclass(frozen=True)
class Shown:
    """What a cell left behind."""

    ok: bool
    stdout: str
    stderr: str
    error: BaseException | None

    @property
    def refusal(self) -> str:
        assert self.error is not None, self.stdout
        return str(self.error)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    # The history would be a database that nobody closes.
    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    shell.run_line_magic("load_ext", "airust.rust")
    yield shell
    InteractiveShell.clear_instance()
    gc.collect()


@pytest.fixture
def cell(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, str], Shown]:
    """Run ``%%rust LINE`` over a body."""

    def run(line: str, body: str) -> Shown:
        capsys.readouterr()
        result = shell.run_cell(f"%%rust {line}\n{body}")
        out, err = capsys.readouterr()
        return Shown(result.success, out, err, result.error_in_exec)

    return run
