"""Papers at arXiv: the newest that a query finds.

arXiv asks for one question every three seconds at most, and its index changes once a day.
https://info.arxiv.org/help/api/user-manual.html describes queries and the Atom feed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree

from airust.watch.answers import Answer, Entry, NoAnswer
from airust.watch.http import Http
from airust.watch.topics import ADDRESSES, Topic

NEWEST = 10  # papers a query
PAUSE_S = 3.0
FRESH_S = 20 * 3600
ATOM = {"a": "http://www.w3.org/2005/Atom"}


class Arxiv:
    """Its query API."""

    name = "arXiv"

    def __init__(self, address: str = ADDRESSES["arxiv"]) -> None:
        self._address = address
        self.http = Http("arxiv", pause_s=PAUSE_S, fresh_s=FRESH_S)

    def ask(self, topic: Topic, before: Mapping[str, Entry]) -> Answer:
        """The papers that were submitted last.

        Raises:
            NoAnswer: and why.
        """
        page = self.http.get(
            self._address,
            {
                "search_query": topic.query,
                "sortBy": "submittedDate",
                "sortOrder": "descending",
                "max_results": NEWEST,
            },
        )
        return Answer(papers(page.text), page.day)


def papers(feed: str) -> tuple[Entry, ...]:
    """The papers of an Atom feed; versions of one paper count as the same.

    Raises:
        NoAnswer: it is no feed, or arXiv's way to say what is wrong with the query.
    """
    try:
        root = ElementTree.fromstring(feed)
    except ElementTree.ParseError as error:
        raise NoAnswer("its answer is no Atom feed") from error
    entries = [_paper(item) for item in root.findall("a:entry", ATOM)]
    for entry in entries:
        if "/api/errors" in entry.url:
            raise NoAnswer("it does not understand the query")
    return tuple(entries)


def _paper(item: ElementTree.Element) -> Entry:
    url = _text(item, "a:id")
    number = re.sub(r"v\d+$", "", url.partition("/abs/")[2])
    title, authors = _text(item, "a:title"), item.findall("a:author", ATOM)
    first = _text(authors[0], "a:name") if authors else ""
    whose = f" ({first}{' et al.' if len(authors) > 1 else ''})" if first else ""
    return Entry(number or url, title + whose, _text(item, "a:published")[:10], url)


def _text(item: ElementTree.Element, path: str) -> str:
    return " ".join((item.findtext(path, "", ATOM) or "").split())
