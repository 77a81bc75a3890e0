"""A server with OpenAI's API and the additions of vLLM, over any engine of ours.

Strict where vLLM is: a request whose max_tokens would not fit is refused, logprobs are written
as token ids when that was asked for, and only then.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any, ClassVar

from airust.engines.text import prompt_ids
from airust.types import (
    DoneEvent,
    ErrorEvent,
    Message,
    Request,
    SamplingParams,
    TokenEvent,
    TopLogprob,
    UserError,
)
from tests.engines.stubs.http import Stub, StubHandler


class OpenAIHandler(StubHandler):
    server: OpenAIStub

    def do_GET(self) -> None:
        if self.path != "/v1/models" or not self.server.lists_models:
            self.send_json(404, {"detail": "Not Found"})
        elif self.allowed():
            more: dict[str, Any] = {"object": "model", "created": 0, "owned_by": self.server.owner}
            if self.server.owner in ("vllm", "airust"):
                more["max_model_len"] = self.server.context
            models = [{"id": name} | more | self.server.card for name in self.server.models]
            self.send_json(200, {"object": "list", "data": models})

    def do_POST(self) -> None:
        body, path = self.body(), self.path
        if not self.allowed():
            return
        if path in ("/v1/chat/completions", "/v1/completions"):
            self.server.bodies.append(body)
            if not self.fails():
                self.answer(body, chat="chat" in path)
        elif path == "/tokenize" and self.server.beside_v1:
            ids = prompt_ids(_request(body), self.server.tokenizer)
            found = {"count": len(ids), "max_model_len": self.server.context, "tokens": ids}
            self.send_json(200, found)
        elif path == "/detokenize" and self.server.beside_v1:
            self.server.translated += len(body["tokens"])
            try:
                self.send_json(200, {"prompt": self.server.engine.decode(body["tokens"])})
            except UserError as error:
                self.refuse(400, str(error))
        else:
            self.send_json(404, {"detail": "Not Found"})

    def allowed(self) -> bool:
        key = self.server.key
        if key is None or self.headers["Authorization"] == f"Bearer {key}":
            return True
        self.refuse(401, "Incorrect API key provided", "invalid_api_key")
        return False

    def refuse(self, status: int, message: str, code: str | int | None = None) -> None:
        error = {"message": f"{message}.", "type": "BadRequestError", "param": None}
        self.send_json(status, {"error": error | {"code": code or status}})

    def answer(self, body: dict[str, Any], chat: bool) -> None:
        if body["model"] not in self.server.models:
            return self.refuse(404, f"The model `{body['model']}` does not exist")
        try:
            request = _request(body)
            count = len(prompt_ids(request, self.server.tokenizer))
        except UserError as error:
            return self.refuse(400, str(error))
        if count + request.params.max_tokens > self.server.context:
            return self.refuse(
                400,
                f"This model's maximum context length is {self.server.context} tokens, but "
                f"{request.params.max_tokens} output tokens and a prompt of {count} were requested",
            )
        events = self.events(request)
        with contextlib.closing(events):
            try:
                first = next(events, None)
            except UserError as error:
                return self.refuse(400, str(error))
            self.begin("text/event-stream; charset=utf-8")
            if chat:
                self.send(_choice({"role": "assistant", "content": ""}, True))
            event, held = first, list[dict[str, Any]]()
            while event is not None:
                if isinstance(event, TokenEvent) and self.server.together:
                    held.append(self.choice(event, body, chat))
                elif isinstance(event, TokenEvent):
                    self.send(self.choice(event, body, chat))
                elif isinstance(event, DoneEvent):
                    if held:
                        self.send(_merged(held))
                    reason = self.server.reason
                    reason = event.finish_reason if reason is None else reason or None
                    self.send(_choice("", chat, finish_reason=reason))
                    usage = {
                        "prompt_tokens": event.usage.prompt_tokens,
                        "completion_tokens": event.usage.completion_tokens,
                        "prompt_tokens_details": {"cached_tokens": event.usage.cached_tokens},
                    }
                    if self.server.counts:
                        self.send({"choices": [], "usage": usage})
                elif isinstance(event, ErrorEvent):
                    self.fault(str(event.error))
                if self.server.fault:
                    self.fault(self.server.fault)
                event = next(events, None)
            self.chunk(b"data: [DONE]\n\n")
            self.end()

    def fault(self, message: str) -> None:
        self.send({"error": {"message": message, "type": "server_error"}})

    def send(self, chunk: dict[str, Any]) -> None:
        shown = {"id": "x", "created": 0, "model": self.server.model, "object": "chunk", **chunk}
        self.chunk(f"data: {json.dumps(shown, ensure_ascii=False)}\n\n".encode())

    def choice(self, event: TokenEvent, body: dict[str, Any], chat: bool) -> dict[str, Any]:
        """A token as a chunk."""
        more: dict[str, Any] = {}
        if body.get("return_token_ids") and event.token_id is not None:
            more["token_ids"] = [event.token_id]
        if event.logprob is not None and self.server.gives_logprobs:
            named = body.get("return_tokens_as_token_ids", False)
            chosen = TopLogprob(
                event.token_id, self.server.engine.decode([event.token_id or 0]), event.logprob
            )
            more["logprobs"] = (_chat_logprobs if chat else _logprobs)(chosen, event.top, named)
        return _choice(event.text, chat, **more)


def _choice(text: str | dict[str, str], chat: bool, **more: Any) -> dict[str, Any]:
    shown = {"text": text} if not chat else {"delta": {"content": text}}
    if isinstance(text, dict):
        shown = {"delta": text}
    return {"choices": [{"index": 0, "finish_reason": None, **shown, **more}]}


def _merged(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Several tokens of a chat answer as one chunk."""
    choices = [chunk["choices"][0] for chunk in chunks]
    entries = [entry for c in choices for entry in c.get("logprobs", {}).get("content", ())]
    return _choice(
        "".join(c["delta"]["content"] for c in choices),
        True,
        token_ids=[token for c in choices for token in c.get("token_ids", ())],
        logprobs={"content": entries} if entries else None,
    )


def _name(token: TopLogprob, as_id: bool) -> str:
    return f"token_id:{token.token_id}" if as_id else token.text


def _chat_logprobs(chosen: TopLogprob, top: tuple[TopLogprob, ...], as_id: bool) -> dict[str, Any]:
    entries = [{"token": _name(t, as_id), "logprob": t.logprob} for t in (chosen, *top)]
    return {"content": [entries[0] | {"top_logprobs": entries[1:]}]}


def _logprobs(chosen: TopLogprob, top: tuple[TopLogprob, ...], as_id: bool) -> dict[str, Any]:
    """The older form, where tokens of the same text are one; vLLM always has the chosen one."""
    return {
        "tokens": [_name(chosen, as_id)],
        "token_logprobs": [chosen.logprob],
        "top_logprobs": [{_name(t, as_id): t.logprob for t in (chosen, *top)}],
    }


def _request(body: dict[str, Any]) -> Request:
    """The request that a body asks for; unknown fields mean nothing, as everywhere."""
    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty")
    names += ("frequency_penalty", "seed", "ignore_eos", "max_tokens")
    given = {name: body[name] for name in names if name in body}
    if "response_format" in body:
        schema = body["response_format"]["json_schema"]["schema"]
        given["json_schema"] = json.dumps(schema)
    logprobs = body.get("top_logprobs") if body.get("logprobs") is True else body.get("logprobs")
    params = SamplingParams(
        stop=tuple(body.get("stop", ())),
        logit_bias=tuple((int(k), v) for k, v in body.get("logit_bias", {}).items()),
        regex=body.get("structured_outputs", {}).get("regex"),
        logprobs=logprobs,
        **given,
    )
    if "messages" in body:
        messages = tuple(Message(m["role"], m["content"]) for m in body["messages"])
        return Request(messages=messages, params=params)
    if isinstance(body["prompt"], str):
        return Request(prompt=body["prompt"], params=params)
    return Request(token_ids=tuple(body["prompt"]), params=params)


class OpenAIStub(Stub):
    """The server."""

    handler = OpenAIHandler
    owner = "vllm"
    key: str | None = None  # that clients must have
    lists_models = True
    beside_v1 = True  # has /tokenize and /detokenize
    counts = True  # usage, if it is asked for it
    gives_logprobs = True
    translated = 0  # tokens
    together = False  # all tokens of a chat answer come in one chunk
    card: ClassVar[dict[str, Any]] = {}  # more of each model in /v1/models

    @property
    def models(self) -> list[str]:
        return [self.model, *self.others]

    others: tuple[str, ...] = ()
