"""What was known about each topic, and since when: ``known.json`` beside the reports.

A topic's record says what its source answered last (``entries``, ``asked``), on which day that was
first different (``changed``) and what there was until then (``before``). News of a day are the
entries that ``before`` does not have; asking again on the same day adds to them and forgets none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from airust.files import write_text
from airust.types import UserError
from airust.watch.answers import Answer, Entry

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Record:
    """What is known about one topic. Days are YYYY-MM-DD."""

    entries: tuple[Entry, ...]
    asked: str  # when its source answered last
    changed: str  # since when it is so
    before: tuple[Entry, ...] | None = None  # what there was before that day; None: not watched

    def news(self) -> tuple[Entry, ...]:
        """The entries that were not there before; all of them count when nothing was known."""
        old = {entry.id for entry in self.before or ()}
        return tuple(entry for entry in self.entries if entry.id not in old)


def learn(record: Record | None, answer: Answer, today: str) -> Record:
    """The record with a new answer in it.

    >>> import datetime
    >>> day = datetime.date(2026, 1, 9)
    >>> record = learn(None, Answer((Entry("1.0"),), day), "2026-01-05")
    >>> record = learn(record, Answer((Entry("1.1"),), day), "2026-01-09")
    >>> record.changed, record.before[0].id, [entry.id for entry in record.news()]
    ('2026-01-09', '1.0', ['1.1'])
    """
    asked = answer.day.isoformat()
    if record is None:
        return Record(answer.entries, asked, today)
    if {entry.id for entry in answer.entries} <= {entry.id for entry in record.entries}:
        # nothing new; what has left a list of the newest is no news either
        return Record(answer.entries, asked, record.changed, record.before)
    before = record.before if record.changed == today else record.entries
    return Record(answer.entries, asked, today, before)


def read_known(path: Path) -> dict[str, Record]:
    """All records by the key of their topic; none if there is no file yet.

    Raises:
        UserError: the file is not one of ours.
    """
    try:
        stored = json.loads(path.read_text("utf-8"))
        if stored["format"] != FORMAT:
            raise ValueError("another format")
        return {key: _record(values) for key, values in stored["topics"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"'{path}' is not what an earlier watch wrote ({error}); mend it or move it away."
        ) from error


def write_known(path: Path, known: Mapping[str, Record]) -> None:
    """Keep all records, sorted, so that a version control system shows what changed."""
    topics = {key: asdict(record) for key, record in sorted(known.items())}
    text = json.dumps({"format": FORMAT, "topics": topics}, indent=1, ensure_ascii=False)
    write_text(path, text + "\n")


def _record(values: Mapping[str, Any]) -> Record:
    before = values["before"]
    return Record(
        _entries(values["entries"]),
        values["asked"],
        values["changed"],
        None if before is None else _entries(before),
    )


def _entries(values: list[dict[str, str]]) -> tuple[Entry, ...]:
    return tuple(Entry(**entry) for entry in values)
