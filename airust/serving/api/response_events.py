"""The response object and its stream of events, as OpenAI's Responses name them.

Beyond OpenAI's fields: every event tells its ``response_id``, since one WebSocket carries several
responses, and the response tells by ``context`` what of the conversation the model was shown, and
by ``timings`` what the engine's clock says. With ``return_token_ids`` a delta has ``token_ids``
and ``seconds`` since the beginning, and logprobs have the ids too. The beginning of an answer that
was given (``prefix``) is the first delta.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from airust.serving.api.answers import chat_logprobs, dumps, token_ids
from airust.serving.api.response_schema import ResponseRequest
from airust.serving.errors import ApiError
from airust.serving.generation import Answer
from airust.serving.turns import Turn
from airust.types import TokenEvent, Usage


class ResponseEvents:
    """Writes the events of one response as JSON, in order."""

    def __init__(self, turn: Turn, body: ResponseRequest) -> None:
        self.turn, self._body = turn, body
        self.answer = Answer()
        self.times: list[float] = []  # of the tokens, if their ids are wanted
        self._created = time.time()
        self._began = time.perf_counter()
        self._number = 0
        where = {"item_id": turn.message_id, "output_index": 0, "content_index": 0}
        self._where = where
        head = {"type": "response.output_text.delta", "response_id": turn.response_id} | where
        self._delta_head = dumps(head)[:-1] + b',"delta":'

    def _event(self, kind: str, **values: Any) -> bytes:
        event = {"type": kind, "response_id": self.turn.response_id, **values}
        event["sequence_number"] = self._number
        self._number += 1
        return dumps(event)

    def begin(self, **echo: Any) -> list[bytes]:
        """Before the first token."""
        started = self.response("in_progress", None, Usage(0, 0))
        item = self._item("in_progress", content=False)
        return [
            self._event("response.created", response=started, **echo),
            self._event("response.in_progress", response=started),
            self._event("response.output_item.added", output_index=0, item=item),
            self._event("response.content_part.added", **self._where, part=self._part("", ())),
            *self.tokens(self.turn.prefix),
        ]

    def tokens(self, tokens: Sequence[TokenEvent]) -> list[bytes]:
        """Some tokens as one delta; none while a character is incomplete."""
        self.answer.tokens += tokens
        text = "".join([token.text for token in tokens])
        if not text and not (tokens and self._body.return_token_ids):
            return []
        logprobs = self._logprobs(tokens)
        event = b'%b%b,"logprobs":%b%b,"sequence_number":%d}' % (
            self._delta_head,
            dumps(text),
            dumps(logprobs) if logprobs else b"[]",
            self._ids(tokens) if self._body.return_token_ids else b"",
            self._number,
        )
        self._number += 1
        return [event]

    def _ids(self, tokens: Sequence[TokenEvent]) -> bytes:
        ids, seconds = token_ids(tokens), round(time.perf_counter() - self._began, 4)
        self.times += [seconds] * len(ids)
        return b',"token_ids":%b,"seconds":%b' % (dumps(ids), dumps(seconds))

    def finish(self, answer: Answer) -> None:
        """The whole answer at once, instead of ``tokens``."""
        self.answer = answer
        self.answer.tokens[:0] = self.turn.prefix

    def end(self, reason: str, usage: Usage) -> list[bytes]:
        """After the last token."""
        text, logprobs = self.answer.text, self._logprobs(self.answer.tokens)
        status = "completed" if reason == "stop" else "incomplete"
        item, part = self._item(status), self._part(text, logprobs)
        done = "response.output_text.done"
        return [
            self._event(done, **self._where, text=text, logprobs=logprobs),
            self._event("response.content_part.done", **self._where, part=part),
            self._event("response.output_item.done", output_index=0, item=item),
            self._event(f"response.{status}", response=self.response(status, reason, usage)),
        ]

    def fail(self, error: ApiError) -> list[bytes]:
        """Instead of the end."""
        failed = self.response("failed", None, Usage(0, 0))
        failed["error"] = {"code": error.code or "server_error", "message": error.message}
        return [self._event("response.failed", response=failed)]

    def response(self, status: str, reason: str | None, usage: Usage) -> dict[str, Any]:
        """The response as it stands."""
        turn, body = self.turn, self._body
        params = turn.request.params
        incomplete = {"length": "max_output_tokens", "cancelled": "cancelled"}.get(reason or "")
        form = body.text.format if body.text is not None else None
        shape = {"type": "text"} if form is None else form.model_dump(by_alias=True)
        finished = status in ("completed", "incomplete")
        return {
            "id": turn.response_id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "model": turn.model.name,
            "output": [self._item(status)] if finished else [],
            "usage": _usage(usage) if finished else None,
            "error": None,
            "incomplete_details": {"reason": incomplete} if incomplete else None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "metadata": body.metadata or {},
            "parallel_tool_calls": False,
            "previous_response_id": body.previous_response_id,
            "conversation": {"id": turn.session_id} if turn.session_id else None,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "text": {"format": shape},
            "tool_choice": "none",
            "tools": [],
            "truncation": body.truncation or "disabled",
            "context": {
                "messages": len(turn.window.messages),
                "left_out": turn.window.left_out + usage.trimmed_messages,
                "question_id": turn.question_id,
            },
            "timings": None if self.answer.done is None else asdict(self.answer.done.timings),
        }

    def _item(self, status: str, content: bool = True) -> dict[str, Any]:
        parts = [self._part(self.answer.text, self._logprobs(self.answer.tokens))]
        return {
            "id": self.turn.message_id,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": parts if content else [],
        }

    def _part(self, text: str, logprobs: Sequence[Any]) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}

    def _logprobs(self, tokens: Sequence[TokenEvent]) -> list[dict[str, Any]]:
        if self._body.top_logprobs is None:
            return []
        most = self._body.top_logprobs
        found: list[dict[str, Any]] = chat_logprobs(tokens, most)["content"]
        entries = [entry | {"bytes": entry["bytes"] or []} for entry in found]
        if self._body.return_token_ids:
            told = [token for token in tokens if token.logprob is not None]
            for entry, token in zip(entries, told, strict=True):
                entry["token_id"] = token.token_id
                for alternative, top in zip(entry["top_logprobs"], token.top, strict=False):
                    alternative["token_id"] = top.token_id
        return entries


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
