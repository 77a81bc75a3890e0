"""The report of a day, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from airust.watch.answers import Entry
from airust.watch.ask import Outcome
from airust.watch.known import Record
from airust.watch.topics import Topic, Watchlist

TITLES = {
    "package": "Python packages",
    "crate": "Rust crates",
    "repository": "Repositories",
    "paper": "Papers",
    "family": "Model families",
}
ASKED_OF = {
    "package": "the package index, through pip",
    "crate": "the crate registry, through cargo",
    "repository": "GitHub",
    "paper": "arXiv",
    "family": "the Hugging Face hub",
}
SINGLE = ("package", "crate", "repository")  # kinds whose first entry is the version


def write_report(watchlist: Watchlist, outcome: Outcome, today: str) -> str:
    """The whole report."""
    lines = [f"# Research watch, {today}", "", *_summary(watchlist, outcome, today)]
    lines += _section("What changed", watchlist, outcome.known, _is_change(today), _change)
    lines += _section(
        "Watched for the first time", watchlist, outcome.known, _is_first(today), _now
    )
    lines += _silent(watchlist, outcome)
    lines += _everything(watchlist, outcome.known)
    return "\n".join(lines) + "\n"


def name_in_words(text: str) -> str:
    """Text of others, so that Markdown takes none of it for marks.

    >>> name_in_words("a *b* | [c](d) <e>")
    'a \\\\*b\\\\* \\\\| \\\\[c\\\\](d) \\\\<e>'
    """
    return re.sub(r"([\\`*_\[\]<|])", r"\\\1", text)


def _is_change(today: str) -> Callable[[Record], bool]:
    return lambda record: record.changed == today and bool(record.before) and bool(record.news())


def _is_first(today: str) -> Callable[[Record], bool]:
    return lambda record: record.changed == today and not record.before


def _summary(watchlist: Watchlist, outcome: Outcome, today: str) -> Iterator[str]:
    topics = watchlist.topics
    records = [outcome.known[t.key] for t in topics if t.key in outcome.known]
    changed = sum(map(_is_change(today), records))
    first = sum(map(_is_first(today), records))
    silent = len(outcome.unanswered)
    yield (
        f"Topics: {len(topics)}. Answered: {len(topics) - silent}. No answer: {silent}. "
        f"Changed: {changed}. Watched for the first time: {first}."
    )
    if outcome.stopped:
        yield "\nThe run was stopped before its end; the next one goes on."


def _section(
    title: str,
    watchlist: Watchlist,
    known: Mapping[str, Record],
    wanted: Callable[[Record], bool],
    line: Callable[[Topic, Record], Iterable[str]],
) -> Iterator[str]:
    found = [t for t in watchlist.topics if t.key in known and wanted(known[t.key])]
    if not found:
        return
    yield from ("", f"## {title}")
    for kind, topics in _by_kind(found):
        yield from ("", f"### {TITLES[kind]}", "")
        for topic in topics:
            yield from line(topic, known[topic.key])


def _by_kind(topics: Sequence[Topic]) -> Iterator[tuple[str, list[Topic]]]:
    for kind in TITLES:
        if same := [topic for topic in topics if topic.kind == kind]:
            yield kind, same


def _change(topic: Topic, record: Record) -> Iterator[str]:
    if topic.kind in SINGLE:
        before = ", ".join(entry.id for entry in record.before or ())
        now = ", ".join(_linked(entry) for entry in record.entries)
        yield f"- **{name_in_words(topic.name)}** {name_in_words(before)} → {now}{_details(record)}"
    else:
        yield f"- **{name_in_words(topic.name)}**"
        yield from _bullets(record.news())


def _now(topic: Topic, record: Record) -> Iterator[str]:
    if topic.kind in SINGLE:
        now = ", ".join(_linked(entry) for entry in record.entries)
        yield f"- **{name_in_words(topic.name)}** {now}{_details(record)}"
    elif record.entries:
        yield f"- **{name_in_words(topic.name)}**"
        yield from _bullets(record.entries)
    else:
        yield f"- **{name_in_words(topic.name)}**: nothing was found"


def _bullets(entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        parts = [_linked(entry), name_in_words(entry.title), entry.date]
        yield "  - " + ", ".join(part for part in parts if part)


def _details(record: Record) -> str:
    first = record.entries[0]
    told = [part for part in (name_in_words(first.title), first.date) if part]
    return f" ({', '.join(told)})" if told else ""


def _linked(entry: Entry) -> str:
    name = name_in_words(entry.id)
    return f"[{name}]({entry.url})" if re.fullmatch(r"https?://[^\s()<>]+", entry.url) else name


def _silent(watchlist: Watchlist, outcome: Outcome) -> Iterator[str]:
    if not outcome.unanswered:
        return
    yield from ("", "## No answer", "")
    for kind, topics in _by_kind([t for t in watchlist.topics if t.key in outcome.unanswered]):
        reasons: dict[str, list[str]] = {}
        for topic in topics:
            record = outcome.known.get(topic.key)
            seen = f"known from {record.asked}" if record else "nothing known yet"
            words = f"{name_in_words(topic.name)} ({seen})"
            reasons.setdefault(outcome.unanswered[topic.key], []).append(words)
        for reason, names in reasons.items():
            yield f"- {ASKED_OF[kind]}: {name_in_words(reason)}. Topics: {', '.join(names)}."


def _everything(watchlist: Watchlist, known: Mapping[str, Record]) -> Iterator[str]:
    topics = [topic for topic in watchlist.topics if topic.key in known]
    if not topics:
        return
    yield from ("", "## All that is known", "")
    yield "| Topic | What | Newest | Since | Asked |"
    yield "|---|---|---|---|---|"
    for kind, same in _by_kind(topics):
        for topic in same:
            record = known[topic.key]
            newest = name_in_words(record.entries[0].id) if record.entries else "nothing"
            about = name_in_words(topic.about)
            name = f"{name_in_words(topic.name)} ({kind})"
            yield f"| {name} | {about} | {newest} | {record.changed} | {record.asked} |"
