"""Amazon Bedrock: models of many makers behind one API, Converse.

The model is an id (``anthropic.claude-...``), the id of an inference profile (``eu.anthropic...``)
or an ARN. Credentials and region come from where the AWS tools look for them: environment,
``~/.aws``, the machine's role; the option ``region`` comes first.

Converse knows messages, a limit, temperature, top_p, stop strings and, for some models, a JSON
schema. It tells neither tokens nor logprobs: an event is a piece of text. One thread waits for
each answer, ``concurrency`` at most. Cancelling closes the stream of events at once; before
Bedrock has begun to answer there is none yet, and the request ends when it begins.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ReadTimeoutError,
)
from urllib3.exceptions import HTTPError, TimeoutError

from airust.engines.base import Capabilities, take_options
from airust.engines.remote import Patience, is_local
from airust.engines.worker import Job, Outcome, WorkerEngine, first_line
from airust.types import (
    AirustError,
    ContextOverflowError,
    EngineError,
    FinishReason,
    OverloadedError,
    Request,
    TokenEvent,
    Usage,
    UserError,
)

OPTIONS: dict[str, object] = {
    "region": None,  # for instance "eu-central-1"; None leaves it to AWS's own settings
    "stream": True,  # false for models that answer only as a whole
    "concurrency": 16,  # answers at the same time; more wait
    "timeout_s": 600.0,  # the longest silence, before the first piece and after
    "retries": 2,  # new attempts after throttling and failures that may pass by themselves
}
SERVICE = "bedrock-runtime"
CONNECT_S = 10.0
REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
}
LOG_IN = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws configure`"
NO_ACCESS = {
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
}
BUSY = {
    "ModelNotReadyException",
    "ServiceQuotaExceededException",
    "ServiceUnavailableException",
    "ThrottlingException",
    "TooManyRequestsException",
}
# Bedrock has no code of its own for a prompt that is too long; the words are the models'.
OVERFLOW_WORDS = re.compile(
    r"too long|too many (input )?tokens|context (length|window|size)", re.IGNORECASE
)
FAILURES = (BotoCoreError, ClientError, HTTPError, OSError)


class BedrockEngine(WorkerEngine[dict[str, Any]]):
    """A model in Amazon Bedrock."""

    name: ClassVar[str] = "bedrock"
    capabilities: ClassVar[Capabilities] = Capabilities(
        json_schema=True, batching=True, top_k=False
    )

    def __init__(
        self, client: Any, model: str, settings: dict[str, object], concurrency: int
    ) -> None:
        super().__init__(concurrency)
        self._client, self._model, self._settings = client, model, settings

    @classmethod
    def load(cls, model: str | Path, **options: object) -> Self:
        """Prepare to ask a model; whether it is there shows with the first request."""
        values = take_options(cls.name, options, OPTIONS)
        patience, concurrency = Patience.of(values), values["concurrency"]
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
            raise UserError(f"concurrency is {concurrency!r} but must be a whole number above 0.")
        if not isinstance(values["stream"], bool):
            raise UserError(f"stream is {values['stream']!r} but must be true or false.")
        name = str(model)
        if not name.startswith("arn:") and re.search(r"[/\\\s]", name):
            raise UserError(f"'{model}' is neither the id of a Bedrock model nor an ARN.")
        try:
            client = _client(values["region"], patience, concurrency)
        except (BotoCoreError, ValueError) as error:
            raise UserError(str(_translate(error, name))) from error
        settings = values | {"model": name, "region": client.meta.region_name}
        return cls(client, name, settings, concurrency)

    @property
    def settings(self) -> dict[str, object]:
        """model, region, stream, concurrency, timeout_s, retries."""
        return dict(self._settings)

    def prepare(self, request: Request) -> dict[str, Any]:
        """The request as Converse takes it."""
        params, messages = request.params, request.messages or ()
        inference: dict[str, Any] = {
            "maxTokens": params.max_tokens,
            "temperature": params.temperature,
        }
        if params.top_p < 1:  # some models refuse it beside a temperature
            inference["topP"] = params.top_p
        if params.stop:
            inference["stopSequences"] = list(params.stop)
        found: dict[str, Any] = {
            "modelId": self._model,
            "messages": [
                {"role": m.role, "content": [{"text": m.content}]}
                for m in messages
                if m.role != "system"
            ],
            "inferenceConfig": inference,
        }
        if system := [{"text": m.content} for m in messages if m.role == "system"]:
            found["system"] = system
        if params.json_schema is not None:
            schema = {"jsonSchema": {"name": "answer", "schema": params.json_schema}}
            form = {"type": "json_schema", "structure": schema}
            found["outputConfig"] = {"textFormat": form}
        return found

    def answer(self, prepared: dict[str, Any], job: Job) -> Outcome:
        """Ask, and pass on what comes."""
        answer = _Answer()
        ask = self._converse_stream if self._settings["stream"] else self._converse
        try:
            ask(prepared, job, answer)
        except FAILURES as error:
            if not job.cancelled:
                raise _translate(error, self._model) from error
        return answer.cancelled() if job.cancelled else answer.ended()

    def _converse_stream(self, prepared: dict[str, Any], job: Job, answer: _Answer) -> None:
        stream = self._client.converse_stream(**prepared)["stream"]
        job.on_cancel(lambda: _wake(stream))
        with contextlib.closing(stream):
            for event in stream:
                if job.cancelled:
                    return
                if text := event.get("contentBlockDelta", {}).get("delta", {}).get("text"):
                    answer.pieces += 1
                    job.emit(TokenEvent(text))
                answer.note(event.get("messageStop", {}))
                answer.note(event.get("metadata", {}))

    def _converse(self, prepared: dict[str, Any], job: Job, answer: _Answer) -> None:
        found = self._client.converse(**prepared)
        text = "".join(block.get("text", "") for block in found["output"]["message"]["content"])
        if text:
            answer.pieces += 1
            job.emit(TokenEvent(text))
        answer.note(found)

    def close(self) -> None:
        """Cancel what runs, wait for it to end, and close all connections."""
        super().close()
        self._client.close()


@dataclass(slots=True)
class _Answer:
    """What is known of an answer so far."""

    pieces: int = 0
    _reason: str | None = None
    _usage: Usage | None = None

    def note(self, found: Mapping[str, Any]) -> None:
        """Why the answer ended and what it cost, wherever Bedrock says it."""
        self._reason = found.get("stopReason", self._reason)
        if usage := found.get("usage"):
            cached = usage.get("cacheReadInputTokens", 0)
            # Bedrock counts what it read from the cache apart from the other input.
            self._usage = Usage(usage["inputTokens"] + cached, usage["outputTokens"], cached)

    def cancelled(self) -> Outcome:
        """The outcome of an answer that nobody waited for: Bedrock counts only at the end."""
        return Outcome("cancelled", self._usage or Usage(0, self.pieces))

    def ended(self) -> Outcome:
        """The outcome of an answer whose stream is at its end.

        Raises:
            EngineError: the answer is not.
        """
        if self._reason is None:
            raise EngineError("Bedrock broke the answer off without a reason.")
        if self._reason not in REASONS:  # content_filtered, for instance
            raise EngineError(f"Bedrock ended the answer for the reason '{self._reason}'.")
        return Outcome(REASONS[self._reason], self._usage or Usage(0, self.pieces))


def _client(region: object, patience: Patience, concurrency: int) -> Any:
    """The client of Bedrock for this account.

    Raises:
        BotoCoreError: there are no credentials or no region, or they cannot be read.
    """
    session = boto3.Session(region_name=None if region is None else str(region))
    config = Config(
        connect_timeout=min(CONNECT_S, patience.timeout_s),
        read_timeout=patience.timeout_s,
        retries={"mode": "standard", "total_max_attempts": 1 + patience.retries},
        max_pool_connections=concurrency,
    )
    client = session.client(SERVICE, config=config)
    if is_local(client.meta.endpoint_url):
        client.close()
        client = session.client(SERVICE, config=config.merge(Config(proxies={})))
    # A key of Bedrock's own takes the place of credentials.
    if session.get_credentials() is None and not os.environ.get("AWS_BEARER_TOKEN_BEDROCK"):
        raise NoCredentialsError
    return client


def _wake(stream: Any) -> None:
    """Let a thread that waits for the next event see the end of the stream.

    Closing the stream would wait for that thread. urllib3 can shut the socket below it down, and
    botocore keeps urllib3's response to itself; should that change, cancelling is only slower.
    """
    with contextlib.suppress(AttributeError, ValueError, RuntimeError, OSError):
        stream._raw_stream.shutdown()


def _translate(error: Exception, model: str) -> AirustError:
    """An error of boto3 as one sentence."""
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return UserError(f"Bedrock needs credentials ({first_line(error)}): {LOG_IN}.")
    if isinstance(error, NoRegionError):
        return UserError("Bedrock needs a region: set AWS_DEFAULT_REGION or the option region.")
    if isinstance(error, ClientError):
        return _refusal(error.response.get("Error", {}), model)
    if isinstance(error, ReadTimeoutError | TimeoutError):
        return EngineError(f"Bedrock sent nothing for too long: {first_line(error)}.")
    if isinstance(error, HTTPError):
        return EngineError(f"Bedrock broke the answer off: {first_line(error)}.")
    return EngineError(f"Bedrock: {first_line(error)}.")


def _refusal(error: Mapping[str, str], model: str) -> AirustError:
    """What Bedrock itself says; inside a stream its codes begin with a small letter."""
    code = error.get("Code", "") or "unknown"
    code, words = code[:1].upper() + code[1:], error.get("Message", "").rstrip(".") or code
    if code in NO_ACCESS:
        return UserError(f"Bedrock denies access to '{model}': {words}.")
    if code == "ResourceNotFoundException":
        return UserError(f"Bedrock has no model '{model}' in this region: {words}.")
    if code == "ValidationException":
        if OVERFLOW_WORDS.search(words):
            return ContextOverflowError(f"Bedrock refuses the prompt as too long: {words}.")
        return UserError(f"Bedrock refuses the request to '{model}': {words}.")
    if code in BUSY:
        return OverloadedError(f"Bedrock takes no more requests for now: {words}.")
    return EngineError(f"Bedrock failed ({code}): {words}.")
