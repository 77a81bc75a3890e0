"""The table of versions in a document: everything between two markers is written anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from airust.files import write_text
from airust.types import UserError
from airust.watch.known import Record
from airust.watch.report import name_in_words
from airust.watch.topics import Topic

BEGIN = "<!-- airust watch: versions -->"
END = "<!-- airust watch: end -->"


def split_document(path: Path) -> tuple[str, str]:
    """What stands before the table, and what behind it, each with its marker.

    Raises:
        UserError: the document is not there, or has not each marker once and in order.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The document '{path}' cannot be read: {error}.") from error
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UserError(f"'{path}' needs '{BEGIN}' and '{END}' once each, in this order.")
    return text.partition(BEGIN)[0] + BEGIN, END + text.partition(END)[2]


def update_table(path: Path, topics: Sequence[Topic], known: Mapping[str, Record]) -> None:
    """Write the table of all topics with a group into a document.

    Raises:
        UserError: as ``split_document``, or the file cannot be written.
    """
    head, tail = split_document(path)
    write_text(path, "\n".join([head, *version_table(topics, known), tail]))


def version_table(topics: Sequence[Topic], known: Mapping[str, Record]) -> Iterator[str]:
    """Lines of Markdown, one table for each group."""
    groups = dict.fromkeys(topic.group for topic in topics if topic.group)
    for group in groups:
        yield from ("", f"**{name_in_words(group)}**", "")
        yield "| Name | What it is | Newest | Licence, oldest rustc | Asked on |"
        yield "|---|---|---|---|---|"
        for topic in topics:
            if topic.group == group:
                yield _row(topic, known.get(topic.key))
    yield ""


def _row(topic: Topic, record: Record | None) -> str:
    name = f"`{topic.name}`" + (" (Python)" if topic.kind == "package" else "")
    about = name_in_words(topic.about)
    if record is None or not record.entries:
        return f"| {name} | {about} | no answer yet | | |"
    newest = record.entries[0]
    version, title = name_in_words(newest.id), name_in_words(newest.title)
    return f"| {name} | {about} | {version} | {title} | {record.asked} |"
