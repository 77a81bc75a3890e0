"""The folder of a run: its journal, its results, and the refusal to mix two runs in it."""

from __future__ import annotations

import datetime
import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from airust.bench import host
from airust.bench.journal import Journal
from airust.files import write_json, write_text
from airust.types import UserError

RAW_FILE, RESULTS_FILE, SUMMARY_FILE = "raw.jsonl", "results.json", "summary.md"
SCRATCH = "resume"  # folder of what only a resumed run needs
STOPPED = "It was stopped; --resume goes on."

T = TypeVar("T")


def open_journal(out: Path, resume: bool, force: bool) -> Journal:
    """The journal of a new run, or of the one to go on with.

    Raises:
        UserError: there is a run already and neither is wanted, or the folder is not writable.
    """
    path = out / RAW_FILE
    if path.is_file() and not resume and not force:
        raise UserError(
            f"'{out}' already holds a run: --resume goes on with it, --force begins anew."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        if force:
            for name in (RAW_FILE, RESULTS_FILE, SUMMARY_FILE):
                (out / name).unlink(missing_ok=True)
            shutil.rmtree(out / SCRATCH, ignore_errors=True)
    except OSError as error:
        raise UserError(f"Cannot write to '{out}': {error.strerror or error}.") from error
    return Journal(path)


def check_same(out: Path, begun: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to go on with a run of other settings, weights or versions.

    Raises:
        UserError: names the first difference.
    """
    for name, value in now.items():
        if begun.get(name) != value:
            raise UserError(
                f"The run in '{out}' began with {name} {_short(begun.get(name))}, not "
                f"{_short(value)}: give it what it had, or begin anew with --force."
            )


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def plain(values: Any) -> dict[str, Any]:
    """A dataclass or dict as it comes back from JSON."""
    shown = asdict(values) if is_dataclass(values) and not isinstance(values, type) else values
    found: dict[str, Any] = json.loads(json.dumps(shown))
    return found


def write_results(out: Path, results: dict[str, Any], summary: str) -> None:
    """``results.json``, and ``summary.md`` for people."""
    write_json(out / RESULTS_FILE, results)
    write_text(out / SUMMARY_FILE, summary)


def beginning(
    command: str, parameters: dict[str, Any], fingerprint: dict[str, Any]
) -> dict[str, Any]:
    """What the first record of every run says about it."""
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "parameters": parameters,
        "fingerprint": fingerprint,
        "host": host.describe_host(),
        "versions": host.versions(),
    }


def frame(schema: int, kind: str, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the results of every run have in common."""
    plan, ended = records[0], [record for record in records if record["key"][0] == "end"]
    return {
        "schema": schema,
        "kind": kind,
        "created": plan["created"],
        "command": plan["command"],
        "complete": bool(ended),
        "ended": ended[-1]["reason"] if ended else STOPPED,
        "seconds": sum(record.get("seconds", 0.0) for record in records),
        "parameters": plan["parameters"],
        "host": plan["host"],
        "versions": plan["versions"],
        "jobs": [
            {"label": x["key"][1]} | {k: v for k, v in x.items() if k not in ("key", "seconds")}
            for x in records
            if x["key"][0] == "job"
        ],
    }


def shuffled(items: Sequence[T], seed: str) -> list[T]:
    """The items in an order that the seed decides."""
    return random.Random(seed).sample(items, len(items))
