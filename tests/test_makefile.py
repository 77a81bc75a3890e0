"""What make does, in which order, and what it skips; python is replaced by a recorder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("make") is None, reason="needs make"
)

# Notes its arguments, and makes the files that the real command would leave behind.
STUB = """\
#!/bin/sh
echo "$@" >> calls.txt
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *"airust train"*)
        mkdir -p runs/tiny
        touch runs/tiny/started
        if [ -e fail ]; then exit 130; fi
        touch runs/tiny/eval.json ;;
    *"airust parity"*) if [ -e differs ]; then exit 1; fi ;;
    *"airust report"*) mkdir -p reports/latest ;;
esac
"""
TRAIN = "-m airust train --preset tiny --out runs/tiny --resume"
PARITY = "-m airust parity --model runs/tiny --json runs/tiny/parity.json"
REPORT = "-m airust report --quick --model runs/tiny --out reports/latest"


class Make:
    """A copy of the project's set-up files in an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("Makefile", "pyproject.toml", "constraints.txt", "scripts"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        self.stub = folder / "stub"
        self.stub.write_text(STUB)
        self.stub.chmod(0o755)

    def __call__(self, *args: str) -> subprocess.CompletedProcess[str]:
        # MAKEFLAGS of an outer `make test` would carry its variables in here.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
        return subprocess.run(
            ["make", f"PYTHON={self.stub}", *args],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def calls(self) -> list[str]:
        """What python was asked to do since the last look; one-line checks left out."""
        notes = self.folder / "calls.txt"
        lines = notes.read_text().splitlines() if notes.exists() else []
        notes.unlink(missing_ok=True)
        return [line for line in lines if not line.startswith("-c ")]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return Make(tmp_path)


def test_bare_make_explains_itself(make):
    done = make()
    assert done.returncode == 0
    for target in ("run", "train", "chat", "lab", "serve", "bench", "test", "test-full", "clean"):
        assert f"make {target} " in done.stdout
    assert make.calls() == []


def test_run_goes_from_nothing_to_a_report_and_then_skips_what_is_done(make):
    first = make("run", "TORCH_INDEX=")
    install = "scripts/install.py --torch-index "
    assert make.calls() == ["-m venv .venv", install, TRAIN, PARITY, REPORT]
    assert first.returncode == 0
    for hint in ("reports/latest/report.html", "airust ask --model", "make chat", "make lab"):
        assert hint in first.stdout
    second = make("run", "TORCH_INDEX=")
    assert (second.returncode, make.calls()) == (0, [])
    assert "reports/latest/report.html" in second.stdout


def test_an_interrupted_training_goes_on_at_the_next_run(make):
    (make.folder / "fail").touch()
    assert make("run").returncode != 0
    assert make.calls()[-1] == TRAIN
    (make.folder / "fail").unlink()
    assert make("run").returncode == 0
    assert make.calls() == [TRAIN, PARITY, REPORT]


def test_a_failed_parity_is_not_taken_for_done(make):
    (make.folder / "differs").touch()
    assert make("run").returncode != 0
    assert make.calls()[-1] == PARITY
    (make.folder / "differs").unlink()
    assert make("run").returncode == 0
    assert make.calls() == [PARITY, REPORT]


def test_changed_dependencies_are_installed_but_nothing_is_trained_again(make):
    make("run")
    make.calls()
    later = (make.folder / ".venv/.installed").stat().st_mtime + 10
    os.utime(make.folder / "pyproject.toml", (later, later))
    assert make("run").returncode == 0
    assert [line.split()[0] for line in make.calls()] == ["scripts/install.py"]


def test_bench_installs_what_it_measures_once_and_runs_the_matrix(make):
    make("run")
    make.calls()
    matrix = "-m airust report --matrix notebooks/reports/bench.toml"
    assert make("bench").returncode == 0
    install, *client, measured = make.calls()
    assert install.startswith("scripts/install.py") and "--extras openai" in install
    assert client[0] == "-m venv .venv-guidellm" and measured == matrix
    assert make("bench").returncode == 0
    assert make.calls() == [matrix]


def test_the_tests_install_what_they_need_once(make):
    make("test", "ARGS=-k parity")
    assert [line.split()[0] for line in make.calls()][1:] == ["scripts/install.py"] * 2 + ["-m"]
    make("test", "ARGS=-k parity")
    assert make.calls() == ["-m pytest -n 2 -k parity"]
    make("test-full")
    assert make.calls()[-1] == "-m pytest -m full"


def test_docs_installs_its_tools_once_and_checks_the_links(make):
    site = "-m sphinx --fail-on-warning --keep-going --quiet -c docs . build/docs"
    commands = [site, "scripts/check_site.py build/docs"]
    assert make("docs").returncode == 0
    *_, install, build, check = make.calls()
    assert install.endswith("--extras docs") and [build, check] == commands
    make("docs")
    assert make.calls() == commands


def test_an_old_python_is_refused(make):
    make.stub.write_text("#!/bin/sh\nexit 1\n")
    done = make("run")
    assert done.returncode != 0
    assert "older than 3.11" in done.stdout
    assert not (make.folder / ".venv").exists()


def test_serve_trains_first(make):
    make("serve", "TORCH_INDEX=")
    serve = "-m airust serve --model runs/tiny --engine torch --engine mistralrs"
    assert make.calls()[-2:] == [TRAIN, serve]


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH that has what the Makefile needs, and no cargo."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("make", "sh", "mkdir", "cp", "touch", "uname"):
        (folder / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.usefixtures("tools")
def test_candle_without_cargo_is_one_sentence(make):
    done = make("candle")
    assert done.returncode != 0
    assert "Error: there is no cargo here; install Rust first (rustup.rs)." in done.stdout
    assert not any("maturin" in line for line in make.calls())


def test_candle_is_built_once_and_again_after_a_change(make, tools):
    (tools / "cargo").symlink_to(make.stub)
    source = make.folder / "crates/airust-candle/src/lib.rs"
    source.parent.mkdir(parents=True)
    source.touch()
    build = ["-m pip install --quiet maturin>=1.9"]
    assert make("candle").returncode == 0
    assert make.calls()[-1:] == build
    inside = source.parent.parent / "calls.txt"
    assert inside.read_text() == "-m pip install --no-build-isolation --no-deps .\n"
    assert make("candle").returncode == 0
    assert make.calls() == []
    later = (make.folder / ".venv/.installed-candle").stat().st_mtime + 10
    os.utime(source, (later, later))
    assert make("candle").returncode == 0
    assert make.calls() == build
