"""Repositories at GitHub: the latest release or tag, and whether one is archived or has moved.

Without a token GitHub answers 60 questions an hour, two for each repository; GITHUB_TOKEN or
GH_TOKEN raises that, and an unchanged answer then costs nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from airust.watch.answers import Absent, Answer, Entry, NoAnswer
from airust.watch.http import Http, Page
from airust.watch.topics import ADDRESSES, Topic

FRESH_S = 3600
HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}


class GitHub:
    """Its REST API."""

    name = "GitHub"

    def __init__(self, address: str = ADDRESSES["github"]) -> None:
        self._address = address.rstrip("/")
        token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN")
        # A list from somebody else may name another server; the token is not for that one.
        secret = (
            {"Authorization": f"Bearer {token}"} if token and address == ADDRESSES["github"] else {}
        )
        self.http = Http("github", pause_s=0.2, fresh_s=FRESH_S, headers=HEADERS | secret)

    def ask(self, topic: Topic, before: Mapping[str, Entry]) -> Answer:
        """The latest release, or a tag where there are no releases, and what is unusual.

        Raises:
            NoAnswer: and why.
        """
        page = self.http.get(f"{self._address}/repos/{topic.name}")
        repository = _read(page, dict)
        entries = [self._newest(topic.name)]
        if repository.get("archived"):
            entries.append(Entry("archived", "nobody works on it any more"))
        full_name = str(repository.get("full_name", topic.name))
        if full_name.lower() != topic.name.lower():
            entries.append(
                Entry(f"now {full_name}", "has moved", url=_text(repository, "html_url"))
            )
        return Answer(tuple(entries), page.day)

    def _newest(self, name: str) -> Entry:
        try:
            found = _read(self.http.get(f"{self._address}/repos/{name}/releases/latest"), dict)
        except Absent:
            tags = _read(self.http.get(f"{self._address}/repos/{name}/tags", {"per_page": 1}), list)
            return Entry(_text(tags[0], "name"), "tag") if tags else Entry("no release")
        return Entry(
            _text(found, "tag_name"),
            _text(found, "name"),
            _text(found, "published_at")[:10],
            _text(found, "html_url"),
        )


def _read(page: Page, kind: type[Any]) -> Any:
    try:
        values = json.loads(page.text)
    except ValueError as error:
        raise NoAnswer("its answer is no JSON") from error
    if not isinstance(values, kind):
        raise NoAnswer("its answer has another form than it used to have")
    return values


def _text(values: Mapping[str, Any], name: str) -> str:
    return " ".join(str(values.get(name) or "").split())
