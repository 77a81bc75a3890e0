"""Structured log lines on stderr: text for people, JSON for collectors. Prompts stay out.

Fields go in by ``extra``; each line also has the request's id:

    log.info("request", extra={"status": 200, "ms": 1.5})
    2026-11-25T12:00:00Z INFO request status=200 ms=1.5 request_id=req-1f...
"""

from __future__ import annotations

import json
import logging
import time
from contextvars import ContextVar
from typing import Any

from airust.settings import LogSettings

request_id: ContextVar[str] = ContextVar("request_id", default="")

# What every record has; everything else came by ``extra``.
STANDARD = set(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}


class Formatter(logging.Formatter):
    """One line a record."""

    def __init__(self, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """As text or JSON."""
        fields: dict[str, Any] = {k: v for k, v in vars(record).items() if k not in STANDARD}
        if ident := request_id.get():
            fields["request_id"] = ident
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        if self._as_json:
            head = {"time": when, "level": record.levelname.lower(), "event": record.getMessage()}
            return json.dumps(head | fields, ensure_ascii=False, default=str)
        trace = fields.pop("trace", "")
        pairs = "".join(f" {key}={_quoted(value)}" for key, value in fields.items())
        line = f"{when} {record.levelname} {record.getMessage()}{pairs}"
        return f"{line}\n{trace}" if trace else line


def _quoted(value: object) -> str:
    """A value that cannot start a new line or look like another field."""
    text = str(value)
    plain = text.isascii() and text.isprintable() and " " not in text and text
    return text if plain else json.dumps(text, ensure_ascii=False)


def set_up(settings: LogSettings) -> None:
    """Send the service's lines, and uvicorn's, to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter(settings.format == "json"))
    for name in ("airust.serving", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(settings.level.upper())
    if settings.level != "debug":  # it tells of every start and stop
        logging.getLogger("uvicorn").setLevel("WARNING")
    logging.getLogger("uvicorn.access").disabled = True  # ours has more
