"""Modules as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from airust.types import AirustError
from airust.ui import FOLDER
from airust.widgets import bundle


def test_imports_become_names_leaves_first(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.js").write_text('import { b } from "./sub/b.js";\nimport "./c.js";\n', "utf-8")
    (tmp_path / "sub" / "b.js").write_text("export * from '../c.js';\n", "utf-8")
    (tmp_path / "c.js").write_text('export const b = "from ./x.js";\n', "utf-8")
    assert bundle.modules(tmp_path / "a.js") == [
        ("c.js", 'export const b = "from ./x.js";\n'),
        ("sub/b.js", 'export * from "airust:c.js";\n'),
        ("a.js", 'import { b } from "airust:sub/b.js";\nimport "airust:c.js";\n'),
    ]


def test_a_circle_is_refused(tmp_path: Path):
    (tmp_path / "a.js").write_text('import "./b.js";\n', "utf-8")
    (tmp_path / "b.js").write_text('import "./a.js";\n', "utf-8")
    with pytest.raises(AirustError, match=r"a\.js -> b\.js -> a\.js"):
        bundle.modules(tmp_path / "a.js")


def test_the_front_end_has_every_module_and_no_import_is_left():
    modules = dict(bundle.modules(bundle.STATIC / "panel.js"))
    wanted = {"main.js", "app.js", "transport/comm.js"}
    assert {f"../../ui/{name}" for name in wanted} <= set(modules)
    assert FOLDER.joinpath("main.js").is_file()
    for name, source in modules.items():
        assert not bundle.IMPORT.search(source), name
