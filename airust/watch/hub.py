"""Model families at the Hugging Face hub: the newest models of an owner."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from airust.watch.answers import Answer, Entry, NoAnswer
from airust.watch.http import Http
from airust.watch.topics import Topic

NEWEST = 10  # models a family
FRESH_S = 3600
USUAL = "https://huggingface.co"


class Hub:
    """Its list of models; HF_ENDPOINT may name a mirror, as for every program that asks the hub."""

    name = "Hugging Face hub"

    def __init__(self, address: str = "") -> None:
        self._address = (address or os.environ.get("HF_ENDPOINT") or USUAL).rstrip("/")
        self.http = Http("hub", pause_s=0.2, fresh_s=FRESH_S)

    def ask(self, topic: Topic, before: Mapping[str, Entry]) -> Answer:
        """The models that were published last.

        Raises:
            NoAnswer: and why.
        """
        parameters: dict[str, str | int] = {
            "author": topic.owner, "sort": "createdAt", "direction": -1, "limit": NEWEST,
        }  # fmt: skip
        if topic.search:
            parameters["search"] = topic.search
        page = self.http.get(f"{self._address}/api/models", parameters)
        try:
            models = [
                (str(m["id"]), str(m.get("createdAt", ""))[:10]) for m in json.loads(page.text)
            ]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise NoAnswer("its answer has another form than it used to have") from error
        return Answer(
            tuple(Entry(name, "", day, f"{self._address}/{name}") for name, day in models), page.day
        )
