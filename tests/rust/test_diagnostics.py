"""rustc's JSON becomes values."""

from __future__ import annotations

import json

from airust.rust.diagnostics import parse_diagnostics


def span(file: str = "cell.rs", line: int = 4, **more: object) -> dict[str, object]:
    place = {"file_name": file, "line_start": line, "line_end": line, "column_start": 5}
    return {**place, "column_end": 9, "is_primary": True, "label": None, "expansion": None, **more}


def message(**more: object) -> dict[str, object]:
    base = {"message": "borrow of moved value", "code": {"code": "E0382", "explanation": "..."}}
    return {**base, "level": "error", "spans": [span()], "children": [], "rendered": "r", **more}


def parse(*records: object):
    return parse_diagnostics(json.dumps(record) for record in records)


def test_a_message_with_its_place():
    (found,) = parse(message())
    assert (found.code, found.level, found.is_error) == ("E0382", "error", True)
    place = found.spans[0]
    assert (place.file, place.line, place.column, place.end_column) == ("cell.rs", 4, 5, 9)


def test_cargo_wraps_the_same_message():
    wrapped = {"reason": "compiler-message", "package_id": "x", "message": message()}
    assert parse(wrapped, {"reason": "build-finished", "success": False}) == parse(message())


def test_colours_can_be_left_out():
    (found,) = parse(message(rendered="\x1b[1m\x1b[91merror\x1b[0m: no"))
    assert found.text == "error: no"


def test_summaries_are_no_messages():
    lines = [
        message(message="aborting due to 2 previous errors", code=None, spans=[]),
        message(message="2 warnings emitted", code=None, spans=[], level="warning"),
        message(message="For more information about this error", spans=[], level="failure-note"),
        message(message="linking with `cc` failed", code=None, spans=[]),
    ]
    assert [d.message for d in parse(*lines)] == ["linking with `cc` failed"]


def test_places_of_notes_count_and_primary_ones_come_first():
    note = message(level="note", spans=[span(line=9)], code=None)
    error = message(spans=[span(line=2, is_primary=False), span(line=4)], children=[note])
    (found,) = parse(error)
    assert [place.line for place in found.all_spans()] == [4, 2, 9]


def test_a_place_inside_a_standard_macro_is_where_it_was_called():
    inside = span(file="/rustc/1/library/std/src/macros.rs", expansion={"span": span(line=7)})
    (found,) = parse(message(spans=[inside]))
    assert (found.spans[0].file, found.spans[0].line) == ("cell.rs", 7)
