"""Where builds are kept, so that a cell that has not changed runs at once.

``AIRUST_CACHE`` names another folder than the system's usual place for caches. Everything below it
can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from platformdirs import user_cache_path

KEPT_BUILDS = 200  # the least recently used ones beyond go


def cache_folder(name: str, owner: str = "rust") -> Path:
    """A folder below the user's cache, made if it is not there."""
    named = os.environ.get("AIRUST_CACHE")
    base = Path(named).expanduser() if named else user_cache_path("airust", appauthor=False)
    folder = base.absolute() / owner / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def prune(folder: Path, kept: int = KEPT_BUILDS) -> None:
    """Delete the folders that were used longest ago."""
    entries = []
    for entry in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another kernel prunes too
            entries.append((entry.stat().st_mtime, entry))
    entries.sort(key=lambda pair: pair[0], reverse=True)
    for _, entry in entries[kept:]:
        shutil.rmtree(entry, ignore_errors=True)


def touch(path: Path) -> None:
    """Note that it was used now."""
    with contextlib.suppress(OSError):
        os.utime(path, (now := time.time(), now))
