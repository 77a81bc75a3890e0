"""GitHub, arXiv and the hub: what is read from the shapes of their answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airust.watch.answers import Entry, NoAnswer
from airust.watch.arxiv import Arxiv, papers
from airust.watch.github import GitHub
from airust.watch.hub import Hub
from airust.watch.topics import Topic
from tests.watch.server import ERROR_FEED, FEED, MODELS, REPOSITORY, TAGS, Reply, Server

CANDLE = Topic("repository", "huggingface/candle")
PATH = "/repos/huggingface/candle"
PAPERS = Topic("paper", "Repair", query='abs:"Rust" AND cat:cs.SE')
QWEN = Topic("family", "Qwen", owner="Qwen", search="Qwen3")


@pytest.fixture
def github(server: Server) -> Iterator[GitHub]:
    source = GitHub(server.url)
    with source.http:
        yield source


def test_the_latest_release(server: Server, github: GitHub):
    (entry,) = github.ask(CANDLE, {}).entries
    url = "https://github.com/huggingface/candle/releases/tag/0.9.1"
    assert entry == Entry("0.9.1", "Release 0.9.1", "2025-05-01", url)
    assert server.asked(PATH)[0]["x-github-api-version"] == "2022-11-28"


def test_a_tag_where_there_are_no_releases(server: Server, github: GitHub):
    del server.replies[f"{PATH}/releases/latest"]
    server.replies[f"{PATH}/tags"] = Reply(TAGS)
    assert github.ask(CANDLE, {}).entries == (Entry("v0.4.2", "tag"),)


def test_neither_tag_nor_release(server: Server, github: GitHub):
    del server.replies[f"{PATH}/releases/latest"]
    server.replies[f"{PATH}/tags"] = Reply([])
    assert github.ask(CANDLE, {}).entries == (Entry("no release"),)


def test_archived_and_moved(server: Server, github: GitHub):
    server.replies[PATH] = Reply(REPOSITORY | {"archived": True, "full_name": "other/candle"})
    _, archived, moved = github.ask(CANDLE, {}).entries
    assert archived.id == "archived"
    assert moved == Entry(
        "now other/candle", "has moved", url="https://github.com/huggingface/candle"
    )


@pytest.mark.parametrize("body", ["<html>", [1]])
def test_another_form(server: Server, github: GitHub, body: object):
    server.replies[PATH] = Reply(body)
    with pytest.raises(NoAnswer, match="its answer"):
        github.ask(CANDLE, {})


def test_the_token_is_for_github_alone(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    elsewhere = GitHub(server.url)
    with elsewhere.http:
        elsewhere.ask(CANDLE, {})
    assert "authorization" not in server.asked(PATH)[0]


def test_the_newest_papers(server: Server):
    source = Arxiv(f"{server.url}/arxiv")
    with source.http:
        (entry,) = source.ask(PAPERS, {}).entries
    assert entry.id == "2308.05177"  # its versions are one paper
    assert entry.title == "Fixing Rust Compilation Errors using LLMs (Pantazis Deligiannis et al.)"
    assert entry.date == "2023-08-09"
    ((_, _, parameters),) = server.questions
    assert parameters["search_query"] == ['abs:"Rust" AND cat:cs.SE']
    assert parameters["sortBy"] == ["submittedDate"]


@pytest.mark.parametrize(
    ("feed", "reason"),
    [(ERROR_FEED, "does not understand the query"), ("Rate exceeded.", "is no Atom feed")],
)
def test_arxiv_fails(feed: str, reason: str):
    with pytest.raises(NoAnswer, match=reason):
        papers(feed)


def test_an_author_alone():
    alone = FEED.replace("<author><name>Akash Lal</name></author>", "")
    assert papers(alone)[0].title.endswith("LLMs (Pantazis Deligiannis)")


def test_the_newest_models(server: Server):
    source = Hub(server.url)
    with source.http:
        first, second = source.ask(QWEN, {}).entries
    assert first == Entry("Qwen/Qwen3-0.6B", "", "2025-04-27", f"{server.url}/Qwen/Qwen3-0.6B")
    assert second.id == MODELS[1]["id"]
    ((_, _, parameters),) = server.questions
    assert (parameters["author"], parameters["search"]) == (["Qwen"], ["Qwen3"])


def test_the_mirror_of_the_hub(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    source = Hub()
    with source.http:
        assert source.ask(QWEN, {}).entries


def test_a_hub_of_another_form(server: Server):
    server.replies["/api/models"] = Reply({"error": "x"})
    source = Hub(server.url)
    with source.http, pytest.raises(NoAnswer, match="another form"):
        source.ask(QWEN, {})
