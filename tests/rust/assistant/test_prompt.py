"""The model sees the error and the code around every place that it names."""

from __future__ import annotations

from dataclasses import replace

from airust.rust.assistant.prompt import repair_messages
from airust.rust.diagnostics import Diagnostic, Span
from tests.rust.assistant.conftest import error


def test_lines_around_every_place_with_their_numbers():
    note = Diagnostic("note", "moved here", "", (Span("a.rs", 12, 1, 12, 2, True, ""),), (), "")
    files = {"a.rs": "\n".join(f"line {n}" for n in range(1, 21)), "b.rs": "other"}
    system, user = repair_messages(
        replace(error("oh no", 3), children=(note,)), files, "cargo check", around=1
    )
    assert "OriginalCode@" in system.content and "no unsafe" in system.content
    shown = user.content.splitlines()
    assert shown[:3] == ["`cargo check` says:", "", "error[E0308]: oh no"]
    assert shown[4:] == [
        "a.rs:", "...", "[2] line 2", "[3] line 3", "[4] line 4",
        "...", "[11] line 11", "[12] line 12", "[13] line 13",
    ]  # fmt: skip


def test_places_in_other_peoples_files_are_left_out():
    _, user = repair_messages(error("oh no", 3, "/std/vec.rs"), {"a.rs": "x"}, "rustc a.rs")
    assert "vec.rs" not in user.content
