"""What a run has done so far: JSON lines, written as things get done, read to go on.

Every record has a ``key``, a list that says what it is about, such as ["launch", "tiny", 0,
"torch"]. A run asks for each key in turn and does only what has no record yet; to resume is to
run again over the same file.

>>> from tempfile import TemporaryDirectory
>>> folder = TemporaryDirectory()
>>> journal = Journal(Path(folder.name) / "raw.jsonl")
>>> journal.add(["plan"], {"launches": 5})["launches"]
5
>>> Journal(journal.path).find(["plan"])
{'key': ['plan'], 'launches': 5}
>>> folder.cleanup()
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airust.types import UserError

Key = Sequence[str | int]
Record = dict[str, Any]


class Journal:
    """The records of a run, in the order in which they came."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = read_records(path)
        self._known = {_name(record["key"]): record for record in self.records}

    def find(self, key: Key) -> Record | None:
        """The record of a key."""
        return self._known.get(_name(key))

    def add(self, key: Key, values: Record) -> Record:
        """Append a record; it is on the disk when this returns.

        Raises:
            UserError: the file cannot be written.
        """
        record = {"key": list(key)} | values
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(f"Cannot write '{self.path}': {error.strerror or error}.") from error
        self.records.append(record)
        self._known[_name(key)] = record
        return record


def read_records(path: Path) -> list[Record]:
    """All whole records. A line that a killed run left unfinished is cut off the file.

    Raises:
        UserError: the file holds something else, or cannot be read.
    """
    if not path.exists():
        return []
    try:
        data = path.read_bytes()
        whole = data.rpartition(b"\n")[0]
        if len(data) > len(whole) + 1:
            os.truncate(path, len(whole) + 1 if whole else 0)
        records = [json.loads(line) for line in whole.split(b"\n") if line]
        if not all(isinstance(record["key"], list) for record in records):
            raise TypeError
    except OSError as error:
        raise UserError(f"Cannot read '{path}': {error.strerror or error}.") from error
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"'{path}' is not the record of a benchmark run.") from error
    return records


def _name(key: Key) -> str:
    return json.dumps(list(key))
