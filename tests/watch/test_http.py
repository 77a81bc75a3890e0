"""Questions over HTTP: cached, conditional, paced, and never against the server's wish."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from airust.watch.answers import Absent, NoAnswer, Refused
from airust.watch.http import Http
from tests.watch.server import Reply, Server

PATH = "/page"


@pytest.fixture
def page(server: Server) -> str:
    server.replies[PATH] = Reply("first", headers={"ETag": '"one"'})
    return server.url + PATH


@pytest.fixture
def stale(server: Server) -> Iterator[Http]:
    """A client whose answers are never fresh."""
    with Http("stale", pause_s=0, fresh_s=0) as http:
        yield http


def test_a_fresh_answer_is_not_asked_for_again_in_the_next_run(server: Server, page: str):
    for _ in range(2):
        with Http("fresh", pause_s=0, fresh_s=3600) as http:
            assert http.get(page).text == "first"
    (headers,) = server.asked(PATH)
    assert headers["user-agent"].startswith("airust/")


def test_a_stale_answer_is_asked_for_with_its_etag(server: Server, page: str, stale: Http):
    first = stale.get(page)
    assert stale.get(page) == first
    assert [headers.get("if-none-match") for headers in server.asked(PATH)] == [None, '"one"']
    server.replies[PATH] = Reply("second", headers={"ETag": '"two"'})
    assert stale.get(page).text == "second"


def test_questions_are_paced(server: Server, page: str):
    with Http("paced", pause_s=0.2, fresh_s=0) as http:
        start = time.monotonic()
        for _ in range(3):
            http.get(page)
        assert time.monotonic() - start >= 0.4


def test_a_page_that_is_not_there(server: Server, stale: Http):
    with pytest.raises(Absent):
        stale.get(server.url + "/none")


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1767225600"}, "until 00:00 UTC"),
        (429, {"retry-after": "60"}, "limit of questions is reached until"),
        (503, {"retry-after": "Fri, 02 Jan 2026 00:00:00 GMT"}, "pause until Fri, 02 Jan 2026"),
        (403, {}, "it answers with status 403"),
        (401, {}, "it does not accept the token"),
    ],
)
def test_a_server_that_wants_no_more(server: Server, stale: Http, status, headers, reason: str):
    server.replies[PATH] = Reply("", status, headers)
    with pytest.raises(Refused, match=reason):
        stale.get(server.url + PATH)


def test_a_server_that_fails(server: Server, stale: Http):
    server.replies[PATH] = Reply("", 502)
    with pytest.raises(NoAnswer, match="it answers with status 502"):
        stale.get(server.url + PATH)


def test_nobody_listens(stale: Http):
    with pytest.raises(NoAnswer, match=r"^no connection$"):
        stale.get("http://127.0.0.1:9/")


def test_a_failure_is_not_remembered(server: Server, page: str):
    good = server.replies[PATH]
    with Http("fresh", pause_s=0, fresh_s=3600) as http:
        server.replies[PATH] = Reply("", 502)
        with pytest.raises(NoAnswer):
            http.get(page)
        server.replies[PATH] = good
        assert http.get(page).text == "first"
