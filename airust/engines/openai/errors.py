"""What can go wrong with a server, each as one sentence that names it and the way out."""

from __future__ import annotations

import re
from http import HTTPStatus

import openai

from airust.engines.worker import first_line
from airust.types import (
    AirustError,
    ContextOverflowError,
    EngineError,
    OverloadedError,
    UserError,
)

LONGEST = 300  # characters of a server's own words
# How servers say that a prompt is too long: OpenAI and airust by a code, llama-server by a type,
# vLLM and others in words only.
OVERFLOW_CODES = {"context_length_exceeded", "exceed_context_size_error"}
OVERFLOW_WORDS = re.compile(r"context (length|size|window)", re.IGNORECASE)


def translate(error: Exception, url: str, timeout_s: float) -> AirustError:
    """An error of the client, or of what it could not read, in our words."""
    server = f"The server at {url}"
    if isinstance(error, openai.APITimeoutError):
        return EngineError(f"{server} sent nothing for {timeout_s:g} seconds.")
    if isinstance(error, openai.APIConnectionError):
        why = first_line(error.__cause__ or error)
        return EngineError(f"{server} cannot be reached or broke off: {why}; does it run?")
    if isinstance(error, openai.APIStatusError):
        return _refusal(error, server)
    if isinstance(error, openai.APIError):  # inside a stream
        return EngineError(f"{server} broke the answer off: {_words(error)}.")
    return EngineError(f"{server} does not speak OpenAI's API: {first_line(error)}.")


def _refusal(error: openai.APIStatusError, server: str) -> AirustError:
    status, words = error.status_code, _words(error)
    if status in (401, 403):
        return UserError(
            f"{server} refuses the key ({words}); set OPENAI_API_KEY or the option api_key."
        )
    if is_overflow(error):
        return ContextOverflowError(f"{server} refuses the prompt as too long: {words}.")
    if status == 404:
        return UserError(f"{server} does not know what it was asked for: {words}.")
    if status in (429, 503):
        return OverloadedError(f"{server} takes no more requests for now: {words}.")
    if status < 500:
        return UserError(f"{server} refuses the request: {words}.")
    return EngineError(f"{server} failed ({status}): {words}.")


def is_overflow(error: openai.APIStatusError) -> bool:
    """Whether prompt and answer do not fit into the model's context."""
    known = {error.code, error.type} & OVERFLOW_CODES
    return bool(known) or (
        error.status_code in (400, 413) and bool(OVERFLOW_WORDS.search(_words(error)))
    )


def _words(error: openai.APIError) -> str:
    """The server's own sentence, without its full stop; the status where it gives none."""
    body = error.body
    if isinstance(body, dict):  # {"message": ...}, or {"detail": ...} of FastAPI
        body = body.get("message") or body.get("detail") or body
    text = first_line(Exception(body)) if body else ""
    if isinstance(error, openai.APIStatusError) and (not text or text.startswith("<")):
        return HTTPStatus(error.status_code).phrase
    return (text or error.message).rstrip(".")[:LONGEST]
