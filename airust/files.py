"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from airust.types import UserError


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with a temporary path beside ``path``, then rename it into place.

    Whoever reads ``path`` finds what was there before or what is new, also after a crash.

    Raises:
        UserError: the folder cannot be written or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # two may write at once
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"Cannot write '{path}': {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):  # the folder is unreadable; the error above says so
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 atomically, with the line ends of the text.

    Raises:
        UserError: as ``write_atomic``.
    """
    write_atomic(path, lambda p: p.write_text(text, "utf-8", newline="\n"))


def write_json(path: Path, values: object) -> None:
    """Write indented UTF-8 JSON atomically."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
