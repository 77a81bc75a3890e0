"""The documents: the picture is true, the Rust in them compiles, the site has no broken link."""

from __future__ import annotations

import importlib.util
import platform
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from airust.rust import find_toolchain
from tests.rust.conftest import require_toolchain
from tests.test_imports import LEVELS

ROOT = Path(__file__).resolve().parent.parent


def script(name: str) -> ModuleType:
    """A program of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOUSE, CHECK = script("house"), script("check_site")


def test_the_floors_of_the_house_are_the_levels_of_imports():
    floors = [{name for name, _, _ in floor} for floor in HOUSE.FLOORS]
    levels = [set(level) for level in LEVELS]
    assert floors == [level for level in levels if level not in ({""}, {"__main__"})]


def test_the_picture_is_what_the_script_draws():
    assert HOUSE.TARGET.read_text("utf-8") == HOUSE.draw(), "run scripts/house.py"


def test_whoever_cannot_see_the_picture_is_told_the_same():
    assert HOUSE.ALT in (ROOT / "docs" / "architecture.md").read_text("utf-8")
    for floor in HOUSE.FLOORS:
        assert all(name in HOUSE.ALT for name, _, _ in floor)


PAGE = """
<h1 id="top">A</h1> <a href="#top">up</a> <a href="b.html#there">b</a> <a href="sub/">sub</a>
<img src="p.png" alt="a picture"> <a href="https://elsewhere.example/#x">away</a>
"""


def site(folder: Path, page: str) -> Path:
    (folder / "sub").mkdir()
    (folder / "sub" / "index.html").write_text("<p>", "utf-8")
    (folder / "p.png").touch()
    (folder / "b.html").write_text('<p id="there">', "utf-8")
    (folder / "a.html").write_text(page, "utf-8")
    return folder


def test_a_site_without_fault(tmp_path: Path):
    assert list(CHECK.problems(site(tmp_path, PAGE))) == []


@pytest.mark.parametrize(
    ("good", "bad", "sentence"),
    [
        ("#top", "#bottom", "a.html: #bottom has no such place"),
        ("b.html#there", "b.html#here", "a.html: b.html#here has no such place"),
        ("b.html#there", "c.html", "a.html: c.html is not there"),
        ("sub/", "none/", "a.html: none/ is not there"),
        ('"p.png"', '"q.png"', "a.html: q.png is not there"),
        (' alt="a picture"', "", "a.html: the picture p.png has no text"),
    ],
)
def test_a_fault_in_a_site_is_found(tmp_path: Path, good: str, bad: str, sentence: str):
    assert list(CHECK.problems(site(tmp_path, PAGE.replace(good, bad)))) == [sentence]


@pytest.mark.full
def test_the_rust_of_the_landscape_compiles_and_runs(tmp_path: Path):
    """On the processors and with the compiler that the document names."""
    require_toolchain()
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip(f"the example has kernels for x86-64, here is {platform.machine()}")
    if (version := find_toolchain().version) < (1, 95):
        pytest.skip(f"the example needs rustc 1.95, here is {version[0]}.{version[1]}")
    text = (ROOT / "docs" / "ai_rust_landscape.md").read_text("utf-8")
    (program,) = re.findall(r"^```rust\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "a.rs").write_text(program, "utf-8")
    command = ["rustc", "--edition", "2024", "-D", "warnings", "a.rs"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([tmp_path / "a"], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "72 bytes\n"), ran.stderr


@pytest.mark.full
def test_the_site_builds_without_a_warning_and_no_link_is_broken(tmp_path: Path):
    """As `make docs` does it, which installs the extra `docs` first."""
    pytest.importorskip("sphinx", reason="the extra docs is not installed; make docs does it")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    done = subprocess.run(
        [*command, "-c", "docs", ".", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert list(CHECK.problems(tmp_path / "site")) == []
    shown = {page.stem for page in (tmp_path / "site" / "notebooks").glob("*.html")}
    assert {notebook.stem for notebook in (ROOT / "notebooks").glob("*.ipynb")} <= shown
