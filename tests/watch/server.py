"""One local server that answers as GitHub, arXiv, the hub and both package registries do."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

# The fields that we read and some of their neighbours, in the form that the servers give them.
REPOSITORY = {
    "id": 650415101,
    "name": "candle",
    "full_name": "huggingface/candle",
    "private": False,
    "html_url": "https://github.com/huggingface/candle",
    "description": "Minimalist ML framework for Rust",
    "archived": False,
    "stargazers_count": 17000,
    "pushed_at": "2025-06-01T08:00:00Z",
}
RELEASE = {
    "id": 1,
    "tag_name": "0.9.1",
    "name": "Release 0.9.1",
    "draft": False,
    "prerelease": False,
    "published_at": "2025-05-01T12:30:00Z",
    "html_url": "https://github.com/huggingface/candle/releases/tag/0.9.1",
}
TAGS = [{"name": "v0.4.2", "commit": {"sha": "0" * 40, "url": ""}, "node_id": ""}]
MODELS = [
    {"_id": "1", "id": "Qwen/Qwen3-0.6B", "likes": 5, "createdAt": "2025-04-27T03:40:08.000Z"},
    {"_id": "2", "id": "Qwen/Qwen3-8B", "likes": 7, "createdAt": "2025-04-27T03:42:21.000Z"},
]
FEED = """<?xml version='1.0' encoding='UTF-8'?>
<feed xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/"
      xmlns:arxiv="http://arxiv.org/schemas/atom" xmlns="http://www.w3.org/2005/Atom">
  <id>https://arxiv.org/api/abc</id>
  <title>arXiv Query: search_query=abs:Rust</title>
  <opensearch:totalResults>1</opensearch:totalResults>
  <entry>
    <id>http://arxiv.org/abs/2308.05177v2</id>
    <title>Fixing Rust Compilation Errors
      using LLMs</title>
    <updated>2023-08-10T00:00:00Z</updated>
    <summary>  The Rust programming language ... </summary>
    <published>2023-08-09T18:30:00Z</published>
    <author><name>Pantazis Deligiannis</name></author>
    <author><name>Akash Lal</name></author>
  </entry>
</feed>
"""
ERROR_FEED = """<?xml version='1.0' encoding='UTF-8'?>
<feed xmlns="http://www.w3.org/2005/Atom"><entry>
  <id>http://arxiv.org/api/errors#incorrect_query</id><title>Error</title>
  <summary>incorrect query</summary>
</entry></feed>
"""
PROJECT_PAGE = """<!DOCTYPE html><html><body>
<a href="/files/tinypackage-1.4.0-py3-none-any.whl">tinypackage-1.4.0-py3-none-any.whl</a>
<a href="/files/tinypackage-1.10.0-py3-none-any.whl">tinypackage-1.10.0-py3-none-any.whl</a>
<a href="/files/tinypackage-2.0rc1-py3-none-any.whl">tinypackage-2.0rc1-py3-none-any.whl</a>
</body></html>
"""


def crate_index(*versions: str, yanked: str = "") -> str:
    """A crate's file in a sparse index: one line of JSON for each version."""
    return "".join(
        json.dumps(
            {
                "name": "tinycrate",
                "vers": version,
                "deps": [],
                "cksum": "0" * 64,
                "features": {},
                "yanked": version == yanked,
                "rust_version": "1.60",
            }
        )
        + "\n"
        for version in versions
    )


@dataclass
class Reply:
    """What a path is answered with."""

    body: object  # a text, or what becomes JSON
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Server(ThreadingHTTPServer):
    """Answers of the form above, and a note of every question."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: dict[str, Reply] = {
            "/repos/huggingface/candle": Reply(REPOSITORY, headers={"ETag": 'W/"repo-1"'}),
            "/repos/huggingface/candle/releases/latest": Reply(RELEASE),
            "/arxiv": Reply(FEED),
            "/api/models": Reply(MODELS),
            "/simple/tinypackage/": Reply(PROJECT_PAGE, headers={"Content-Type": "text/html"}),
            "/ti/ny/tinycrate": Reply(
                crate_index("0.9.0", "0.10.2", "0.11.0", "1.0.0-pre.1", yanked="0.11.0")
            ),
            "/config.json": Reply({"dl": "http://127.0.0.1:9/never"}),
        }
        self.questions: list[tuple[str, dict[str, str], dict[str, list[str]]]] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def asked(self, path: str) -> list[dict[str, str]]:
        """The headers of all questions for a path."""
        return [headers for asked, headers, _ in self.questions if asked == path]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.questions.append((address.path, headers, parse_qs(address.query)))
        reply = self.server.replies.get(address.path, Reply({"message": "Not Found"}, 404))
        etag = reply.headers.get("ETag")
        status = 304 if etag and headers.get("if-none-match") == etag else reply.status
        text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
        data = b"" if status == 304 else text.encode()
        self.send_response_only(status)
        self.send_header("Date", formatdate(usegmt=True))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
