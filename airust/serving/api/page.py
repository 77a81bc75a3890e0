"""GET /: the chat page, and its files under /ui/. They need no key; what the page asks for does."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from airust.serving.errors import ApiError
from airust.ui import FOLDER

router = APIRouter(include_in_schema=False)

PREFIX = "/ui/"
# Not guessed: on Windows the registry may say that .js is plain text, and no module would load.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


@cache
def _files() -> dict[str, Path]:
    """What may be asked for, by its path under /ui/."""
    found = (path for path in FOLDER.rglob("*") if path.suffix in TYPES)
    return {path.relative_to(FOLDER).as_posix(): path for path in found}


@router.get("/")
async def page(http: HttpRequest) -> Response:
    """The page."""
    return _send("index.html", http)


@router.get(PREFIX + "{path:path}")
async def file(path: str, http: HttpRequest) -> Response:
    """One of its files."""
    return _send(path, http)


def _send(name: str, http: HttpRequest) -> Response:
    path = _files().get(name)
    if path is None:
        raise ApiError(404, f"There is no file '{name[:100]}' here.", "not_found")
    data = path.read_bytes()
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    # Asked again each time, so that an update of airust is seen at once; the answer is then empty.
    headers = {"etag": tag, "cache-control": "no-cache"}
    if http.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=TYPES[path.suffix], headers=headers)
