"""The list of what is watched: a TOML file with one table for each topic.

    [[crate]]
    name = "candle-core"
    about = "tensors and layers in Rust"
    group = "Frameworks"

A ``package`` and a ``crate`` are known by their name, a ``repository`` by OWNER/NAME; a ``paper``
has a ``query`` in arXiv's language, a ``family`` the ``owner`` of the models at the Hugging Face
hub and, if need be, a ``search`` word. ``[addresses]`` may name other servers than the usual ones.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airust.types import UserError

# Which fields a topic of each kind has to have, and which it may have.
KINDS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "package": (frozenset({"name"}), frozenset()),
    "crate": (frozenset({"name"}), frozenset()),
    "repository": (frozenset({"name"}), frozenset()),
    "paper": (frozenset({"name", "query"}), frozenset()),
    "family": (frozenset({"name", "owner"}), frozenset({"search"})),
}
COMMON = frozenset({"about", "group"})
# Names become arguments of other programs and parts of addresses.
NAMES = {
    "package": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*"),
    "crate": re.compile(r"[A-Za-z][A-Za-z0-9_-]*"),
    "repository": re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+"),
}
ADDRESSES = {
    "github": "https://api.github.com",
    "arxiv": "https://export.arxiv.org/api/query",
    "hub": "",  # the hub library's own: HF_ENDPOINT, or the usual one
}


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing to watch."""

    kind: str  # a key of KINDS
    name: str
    about: str = ""  # what it is, in a clause
    group: str = ""  # where it stands in the table of versions; "" keeps it out
    query: str = ""  # of a paper
    owner: str = ""  # of a family
    search: str = ""  # of a family

    @property
    def key(self) -> str:
        """Its name among all topics."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Watchlist:
    """All topics in the order of the file, and where HTTP sources are."""

    topics: tuple[Topic, ...]
    addresses: Mapping[str, str] = field(default_factory=lambda: dict(ADDRESSES))


def read_watchlist(path: Path) -> Watchlist:
    """Read the list.

    Raises:
        UserError: no file, no TOML, or something in it that is not known.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"The watch list '{path}' cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"The watch list '{path}' is no TOML file: {error}.") from error
    addresses = tables.pop("addresses", {})
    if unknown := sorted(set(tables) - set(KINDS)):
        raise UserError(f"{path}: '{unknown[0]}' is none of {', '.join(KINDS)} and addresses.")
    if not _are_addresses(addresses):
        raise UserError(f"{path}: [addresses] has texts for {', '.join(ADDRESSES)}, nothing else.")
    topics = tuple(
        _topic(path, kind, table) for kind, found in tables.items() for table in _list(path, found)
    )
    keys = [topic.key for topic in topics]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise UserError(f"{path}: the {twice[0]} is there twice.")
    if not topics:
        raise UserError(f"{path} names nothing to watch.")
    return Watchlist(topics, ADDRESSES | addresses)


def _are_addresses(found: object) -> bool:
    return isinstance(found, dict) and all(
        name in ADDRESSES and isinstance(address, str) for name, address in found.items()
    )


def _list(path: Path, found: object) -> list[Any]:
    if not isinstance(found, list):
        raise UserError(f"{path}: topics are written as [[package]], with two brackets.")
    return found


def _topic(path: Path, kind: str, table: object) -> Topic:
    needed, possible = KINDS[kind]
    if not isinstance(table, dict) or not all(isinstance(x, str) for x in table.values()):
        raise UserError(f"{path}: the fields of a {kind} are texts.")
    name = table.get("name", "")
    if missing := sorted(field for field in needed if not table.get(field)):
        raise UserError(f"{path}: {kind} '{name}' has no {missing[0]}.")
    if unknown := sorted(set(table) - needed - possible - COMMON):
        raise UserError(f"{path}: {kind} '{name}' has a field '{unknown[0]}' that is not known.")
    if kind in NAMES and not NAMES[kind].fullmatch(name):
        raise UserError(f"{path}: '{name}' is no name of a {kind}.")
    return Topic(kind, **table)
