"""What a source says, and how it fails to say anything."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from airust.watch.topics import Topic


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that a source has: a version, a release, a paper, a model."""

    id: str  # what makes it this one: "0.11.1", "2308.05177", "Qwen/Qwen3-0.6B"
    title: str = ""
    date: str = ""  # of the thing itself, as YYYY-MM-DD, where the source tells
    url: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The entries of a topic, newest first, and the day on which the source said so."""

    entries: tuple[Entry, ...]
    day: datetime.date


def utc_today() -> datetime.date:
    """The day of an answer that comes now; one clock for all sources."""
    return datetime.datetime.now(datetime.UTC).date()


class NoAnswer(Exception):
    """The source did not answer; the message is the reason, in a few words without addresses."""


class Absent(NoAnswer):
    """The source answered that it has no such thing. Others may be asked for."""


class Refused(NoAnswer):
    """The source wants no more questions for now."""


class Source(Protocol):
    """Where topics of one kind are asked for."""

    name: str

    def ask(self, topic: Topic, before: Mapping[str, Entry]) -> Answer:
        """What is there now. ``before`` are the entries of last time by id, to ask less.

        Raises:
            NoAnswer: and why.
        """
        ...


_ADDRESS = re.compile(r"\S*\w+://\S+")


def without_addresses(text: str) -> str:
    """One line for a report: mirrors are the user's own affair, and may hold credentials.

    >>> without_addresses("error: cannot reach `sparse+https://me:pw@mirror.example/x`;  try")
    'error: cannot reach (address) try'
    """
    return " ".join(_ADDRESS.sub("(address)", text).split())
