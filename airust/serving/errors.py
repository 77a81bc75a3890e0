"""Failures in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``.

Official clients turn the status into a typed exception and the rest into its text, so every
failure of every route looks like this, the framework's own included. What only the operator can
put right (an engine's failure, a bug) is told in general words; the log has the details.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from airust.types import (
    AirustError,
    ContextOverflowError,
    OverloadedError,
    UnsupportedError,
    UserError,
)

log = logging.getLogger(__name__)

MOST_PROBLEMS = 3  # of an invalid body; telling all could answer 4 KB with 20 MB
LONGEST_TEXT = 300


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every failure."""

    error: ErrorDetail


class ApiError(Exception):
    """Ends a request with a status and an error object."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = dict(headers or {})

    @property
    def detail(self) -> dict[str, Any]:
        """The inner object."""
        return {
            "message": self.message,
            "type": _type_of(self.status),
            "param": self.param,
            "code": self.code,
        }

    def body(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode({"error": self.detail})

    def response(self) -> Response:
        """As a response."""
        return Response(self.body(), self.status, self.headers, "application/json")

    async def send(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with it, from a middleware."""
        scope["airust.code"] = self.code or ""
        await self.response()(scope, receive, send)


class HungUp(Exception):
    """Nobody waits for the answer any more."""


def _type_of(status: int) -> str:
    """OpenAI's names.

    >>> _type_of(401), _type_of(404), _type_of(503)
    ('authentication_error', 'invalid_request_error', 'server_error')
    """
    special = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    default = "server_error" if status >= 500 else "invalid_request_error"
    return special.get(status, default)


def overloaded(message: str) -> ApiError:
    """Too much work at once: come back soon."""
    return ApiError(503, message, "engine_overloaded", headers={"retry-after": "1"})


def as_api_error(error: BaseException) -> ApiError:
    """What the client is told about any failure.

    >>> as_api_error(UserError("top_p is 7.")).detail["message"]
    'top_p is 7.'
    >>> as_api_error(RuntimeError("/home/me/secret")).status
    500
    """
    match error:
        case ApiError():
            return error
        case ContextOverflowError():
            return ApiError(400, str(error), "context_length_exceeded")
        case UnsupportedError():
            return ApiError(400, str(error), "unsupported_parameter")
        case UserError():
            return ApiError(400, str(error), "invalid_value")
        case OverloadedError():
            return overloaded(str(error))
        case AirustError():
            log.error("engine failed", extra={"error": str(error)})
            return ApiError(500, "The engine failed; the server's log says why.", "engine_error")
        case _:
            log.error("request failed", exc_info=error)
            return ApiError(500, "The server failed; its log says why.", "internal_error")


def install(app: FastAPI) -> None:
    """Give every failure of an app this shape."""
    for kind in (ApiError, AirustError):
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(HungUp, _hung_up)


async def _answer(request: Request, error: Exception) -> Response:
    return _noted(request, as_api_error(error))


async def _hung_up(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nginx's number, for the log; nobody reads it


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, ApiError):  # FastAPI wraps what reading the body raises
        return _noted(request, error.__cause__)
    codes = {404: "not_found", 405: "method_not_allowed"}
    phrase = HTTPStatus(error.status_code).phrase
    message = f"{request.method} {request.url.path[:LONGEST_TEXT]}: {phrase}."
    code = codes.get(error.status_code)
    return _noted(request, ApiError(error.status_code, message, code, headers=error.headers))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _noted(request, invalid(error.errors()))


def _noted(request: Request, error: ApiError) -> Response:
    request.scope["airust.code"] = error.code or ""  # for the metric
    return error.response()


def invalid(problems: Any) -> ApiError:
    """pydantic's problems as one bounded sentence; ``param`` is the first one's place."""
    told = [_tell(problem) for problem in problems[:MOST_PROBLEMS]]
    more = len(problems) - len(told)
    text = "; ".join(told) + (f"; and {more} more" if more > 0 else "")
    unknown = problems[0]["type"] == "extra_forbidden"
    code = "unsupported_parameter" if unknown else "invalid_value"
    return ApiError(400, f"{text}.", code, _place(problems[0])[:LONGEST_TEXT] or None)


def _place(problem: Mapping[str, Any]) -> str:
    parts = [str(p) for p in problem["loc"] if p not in ("body", "query", "path")]
    return ".".join(parts)


def _tell(problem: Mapping[str, Any]) -> str:
    place = _place(problem)[:LONGEST_TEXT]
    if problem["type"] == "extra_forbidden":
        return f"The parameter '{place}' is not supported"
    if problem["type"] == "json_invalid":
        return "The body is not valid JSON"
    message = str(problem["msg"]).removeprefix("Value error, ")[:LONGEST_TEXT].rstrip(".")
    return f"{place}: {message}" if place else message
