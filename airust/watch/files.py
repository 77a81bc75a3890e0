"""Write a file whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from airust.types import UserError


def write_whole(path: Path, text: str) -> None:
    """Write to a temporary file beside it, then rename: whoever reads finds old or new.

    Raises:
        UserError: the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"'{path}' cannot be written: {error.strerror}.") from error
