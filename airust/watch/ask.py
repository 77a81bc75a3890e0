"""Ask every source about its topics, and see who does not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from airust.watch.answers import Absent, NoAnswer, Refused, Source
from airust.watch.arxiv import Arxiv
from airust.watch.cargo import Cargo
from airust.watch.github import GitHub
from airust.watch.hub import Hub
from airust.watch.known import Record, learn
from airust.watch.pip import Pip
from airust.watch.topics import Topic, Watchlist

SILENT_AFTER = 3  # questions in a row without an answer; the rest is not asked


@dataclass(slots=True)
class Outcome:
    """What a run has found out, also when it was stopped."""

    known: dict[str, Record]
    answered: set[str] = field(default_factory=set)  # keys of topics
    unanswered: dict[str, str] = field(default_factory=dict)  # key of a topic: reason
    stopped: bool = False  # by Ctrl+C


Tell = Callable[[Topic, str], None]  # is told which topic is asked for next, and where


@contextmanager
def open_sources(addresses: Mapping[str, str]) -> Iterator[dict[str, Source]]:
    """The source of every kind of topic."""
    github = GitHub(addresses["github"])
    arxiv = Arxiv(addresses["arxiv"])
    hub = Hub(addresses["hub"])
    with ExitStack() as stack:
        for source in (github, arxiv, hub):
            stack.enter_context(source.http)
        yield {
            "package": Pip(),
            "crate": Cargo(),
            "repository": github,
            "paper": arxiv,
            "family": hub,
        }


def ask_all(
    watchlist: Watchlist,
    known: Mapping[str, Record],
    sources: Mapping[str, Source],
    today: str,
    tell: Tell = lambda topic, source: None,
) -> Outcome:
    """Ask the sources that there are. Ctrl+C ends the questions, not what came of them."""
    outcome = Outcome(dict(known))
    try:
        for kind, source in sources.items():
            topics = [topic for topic in watchlist.topics if topic.kind == kind]
            _ask(topics, source, outcome, today, tell)
    except KeyboardInterrupt:
        outcome.stopped = True
    for topic in watchlist.topics:
        if topic.key not in outcome.answered:
            reason = "not asked: stopped by Ctrl+C" if outcome.stopped else "not asked in this run"
            outcome.unanswered.setdefault(topic.key, reason)
    return outcome


def _ask(topics: Sequence[Topic], source: Source, outcome: Outcome, today: str, tell: Tell) -> None:
    silences, last = 0, ""
    for topic in topics:
        tell(topic, source.name)
        if silences >= SILENT_AFTER:
            outcome.unanswered[topic.key] = f"{last}, so not asked in this run"
            continue
        record = outcome.known.get(topic.key)
        before = {entry.id: entry for entry in record.entries} if record else {}
        try:
            answer = source.ask(topic, before)
        except NoAnswer as error:
            outcome.unanswered[topic.key] = last = str(error)
            silences = _silences(silences, error)
        else:
            outcome.known[topic.key] = learn(record, answer, today)
            outcome.answered.add(topic.key)
            silences = 0


def _silences(so_far: int, error: NoAnswer) -> int:
    if isinstance(error, Absent):
        return 0
    return SILENT_AFTER if isinstance(error, Refused) else so_far + 1
