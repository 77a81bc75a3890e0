"""What the front end is made of: pinned libraries, modules that any host can load."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from airust.ui import FOLDER

VENDOR = FOLDER / "vendor"
VERSIONS = json.loads((VENDOR / "versions.json").read_text("utf-8"))
OURS = sorted(p for p in FOLDER.rglob("*.js") if VENDOR not in p.parents)
FILES = [(path, file["sha256"]) for lib in VERSIONS.values() for path, file in lib["files"].items()]


@pytest.mark.parametrize(("path", "sha256"), FILES, ids=[path for path, _ in FILES])
def test_libraries_are_as_they_came(path: str, sha256: str):
    assert hashlib.sha256((VENDOR / path).read_bytes()).hexdigest() == sha256


def test_every_vendored_file_is_listed_and_every_library_has_its_licence():
    there = {p.relative_to(VENDOR).as_posix() for p in VENDOR.rglob("*") if p.is_file()}
    assert there == {path for path, _ in FILES} | {"versions.json"}
    for name, library in VERSIONS.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", library["version"])
        assert any("LICENSE" in path for path in library["files"]), name


def test_axe_is_as_it_came():
    known = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"  # axe-core 4.14.1
    data = (Path(__file__).parent / "axe" / "axe.min.js").read_bytes()
    assert hashlib.sha256(data).hexdigest() == known


@pytest.mark.parametrize("file", OURS, ids=lambda f: f.relative_to(FOLDER).as_posix())
def test_modules_can_be_loaded_by_any_host(file: Path):
    text = file.read_text("utf-8")
    for target in re.findall(r"""^(?:import|export)\b[^;]*?\bfrom\s*["']([^"']+)""", text, re.M):
        assert target.startswith("."), target
        assert (file.parent / target).resolve().is_file(), target
    if file.name != "page.js":  # which belongs to the page
        assert "import.meta" not in text
    assert not re.search(r"\bimport\(", text)
    assert not re.search(r"""\bid=["'$]""", text), "ids would clash between two panels"


def test_no_script_or_style_stands_in_the_page():
    page = (FOLDER / "index.html").read_text("utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", page)
    assert "://" not in page
