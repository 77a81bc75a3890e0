"""Amazon Bedrock's Converse and ConverseStream as REST, over any engine of ours.

The answers of ConverseStream are framed as AWS frames events (application/vnd.amazon.eventstream):

    total length, headers length, CRC-32 of these 8 bytes     4 bytes each, big-endian
    headers: length of name, name, 7 for text, length of value (2 bytes), value
    payload: JSON
    CRC-32 of all before                                      4 bytes
"""

from __future__ import annotations

import contextlib
import json
import struct
from binascii import crc32
from typing import Any
from urllib.parse import unquote

from airust.types import (
    ContextOverflowError,
    DoneEvent,
    ErrorEvent,
    Message,
    Request,
    SamplingParams,
    TokenEvent,
    UserError,
)
from tests.engines.stubs.http import Stub, StubHandler

REASONS = {"stop": "end_turn", "length": "max_tokens"}


def frame(payload: dict[str, Any], **headers: str) -> bytes:
    """One event."""
    names = b"".join(
        struct.pack(f"!B{len(name)}sBH", len(name), name, 7, len(value)) + value
        for name, value in (
            (f":{k}".replace("_", "-").encode(), v.encode()) for k, v in headers.items()
        )
    )
    data = json.dumps(payload, ensure_ascii=False).encode()
    prelude = struct.pack("!II", len(names) + len(data) + 16, len(names))
    body = prelude + struct.pack("!I", crc32(prelude)) + names + data
    return body + struct.pack("!I", crc32(body))


class BedrockHandler(StubHandler):
    server: BedrockStub

    def do_POST(self) -> None:
        body = self.body()
        _, kind, model, operation = self.path.split("/")
        assert kind == "model"
        self.server.bodies.append(body | {"operation": operation})
        if not self.headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/"):
            return self.refuse(403, "UnrecognizedClientException", "The token is invalid.")
        if unquote(model) != self.server.model:
            return self.refuse(400, "ValidationException", "The model identifier is invalid.")
        if not self.fails():
            self.answer(_request(body), stream=operation == "converse-stream")

    def refuse(self, status: int, code: str, message: str) -> None:
        self.send_json(status, {"message": message}, {"x-amzn-ErrorType": f"{code}:http://x/"})

    def answer(self, request: Request, stream: bool) -> None:
        with contextlib.closing(self.events(request)) as events:
            try:
                event = next(events, None)
            except ContextOverflowError:
                return self.refuse(400, "ValidationException", "Input is too long for the model.")
            except UserError as error:
                return self.refuse(400, "ValidationException", str(error))
            if not stream:
                return self.whole([event, *events])
            self.begin("application/vnd.amazon.eventstream")
            self.send("messageStart", {"role": "assistant"})
            while event is not None:
                if isinstance(event, TokenEvent) and event.text:
                    self.send(
                        "contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": event.text}}
                    )
                elif isinstance(event, DoneEvent):
                    self.send("contentBlockStop", {"contentBlockIndex": 0})
                    if self.server.reason != "":
                        self.send("messageStop", {"stopReason": self.reason(event)})
                    self.send("metadata", _metadata(event))
                elif isinstance(event, ErrorEvent):
                    self.fault("modelStreamErrorException", str(event.error))
                if self.server.fault:
                    self.fault("throttlingException", self.server.fault)
                event = next(events, None)
            self.end()

    def reason(self, event: DoneEvent) -> str:
        return self.server.reason or REASONS[event.finish_reason]

    def send(self, kind: str, payload: dict[str, Any]) -> None:
        self.chunk(
            frame(payload, message_type="event", event_type=kind, content_type="application/json")
        )

    def fault(self, kind: str, message: str) -> None:
        self.chunk(
            frame(
                {"message": message},
                message_type="exception",
                exception_type=kind,
                content_type="application/json",
            )
        )

    def whole(self, events: list[Any]) -> None:
        """The answer of Converse."""
        text = "".join(event.text for event in events if isinstance(event, TokenEvent))
        done = events[-1]
        if isinstance(done, DoneEvent):
            message = {"role": "assistant", "content": [{"text": text}]}
            found = {"output": {"message": message}, "stopReason": self.reason(done)}
            self.send_json(200, found | _metadata(done))


def _metadata(done: DoneEvent) -> dict[str, Any]:
    """Bedrock counts what it read from the cache apart from the other input."""
    usage = done.usage
    tokens = {
        "inputTokens": usage.prompt_tokens - usage.cached_tokens,
        "outputTokens": usage.completion_tokens,
        "totalTokens": usage.prompt_tokens + usage.completion_tokens,
        "cacheReadInputTokens": usage.cached_tokens,
    }
    return {"usage": tokens, "metrics": {"latencyMs": round(done.timings.total_s * 1000)}}


def _request(body: dict[str, Any]) -> Request:
    inference = body["inferenceConfig"]
    schema = body.get("outputConfig", {}).get("textFormat", {}).get("structure", {})
    params = SamplingParams(
        max_tokens=inference["maxTokens"],
        temperature=inference["temperature"],
        top_p=inference.get("topP", 1.0),
        stop=tuple(inference.get("stopSequences", ())),
        json_schema=schema.get("jsonSchema", {}).get("schema"),
    )
    system = [Message("system", block["text"]) for block in body.get("system", ())]
    turns = [
        Message(m["role"], "".join(block["text"] for block in m["content"]))
        for m in body["messages"]
    ]
    return Request(messages=(*system, *turns), params=params)


class BedrockStub(Stub):
    """The service."""

    handler = BedrockHandler
