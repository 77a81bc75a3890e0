"""One answer as it comes: chunks in, token events out, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from airust.engines.openai import wire
from airust.engines.openai.server import Server
from airust.engines.worker import Outcome
from airust.types import EngineError, FinishReason, TokenEvent, TopLogprob, Usage


@dataclass(slots=True)
class Answer:
    """What is known so far."""

    server: Server
    top_k: int | None  # of SamplingParams.logprobs
    tokens: int = 0  # that came
    _reason: str | None = None
    _usage: Usage | None = None  # as the server counts
    _logprobs: bool = False  # some came

    async def events(self, chunk: Mapping[str, Any]) -> list[TokenEvent]:
        """The tokens of one chunk."""
        if usage := chunk.get("usage"):
            self._usage = _usage(usage)
        if not chunk.get("choices"):
            return []
        piece = wire.piece(chunk["choices"][0])
        self._reason = piece.finish_reason or self._reason
        if not piece.tokens:
            events = [TokenEvent(piece.text)] if piece.text else []
        else:
            await self.server.learn_texts(self._untold(piece.tokens))
            events = [_event(token, self.top_k, self.server.texts) for token in piece.tokens]
            own = [_text(token.chosen, self.server.texts) for token in piece.tokens]
            texts = shared_out(piece.text, own)
            events = [replace(e, text=text) for e, text in zip(events, texts, strict=True)]
        self.tokens += len(events)
        self._logprobs = self._logprobs or any(event.logprob is not None for event in events)
        return events

    def _untold(self, tokens: Iterable[wire.Token]) -> set[int]:
        """Ids whose texts are needed and were not told."""
        named = (
            entry
            for token in tokens
            if self.top_k is not None and token.chosen is not None
            for entry in (token.chosen, *token.top[: self.top_k])
        )
        return {e.token_id for e in named if e.text is None and e.token_id is not None}

    def cancelled(self) -> Outcome:
        """The outcome of an answer that nobody waited for."""
        return self._outcome("cancelled")

    def ended(self) -> Outcome:
        """The outcome of an answer whose stream is at its end.

        Raises:
            EngineError: the answer is not, or it lacks what was asked for.
        """
        server = f"The server at {self.server.url}"
        if self._reason is None:
            raise EngineError(f"{server} broke the answer off without a reason.")
        if self._reason not in ("stop", "length"):  # content_filter, for instance
            raise EngineError(f"{server} ended the answer for the reason '{self._reason}'.")
        if self.top_k is not None and self.tokens and not self._logprobs:
            raise EngineError(f"{server} was asked for logprobs and gave none.")
        return self._outcome("length" if self._reason == "length" else "stop")

    def _outcome(self, reason: FinishReason) -> Outcome:
        # Some servers count nothing, and the count of an answer comes with its last chunk.
        return Outcome(reason, self._usage or Usage(0, self.tokens))


def _usage(found: Mapping[str, Any]) -> Usage:
    details = found.get("prompt_tokens_details") or {}
    return Usage(
        prompt_tokens=found.get("prompt_tokens") or 0,
        completion_tokens=found.get("completion_tokens") or 0,
        cached_tokens=details.get("cached_tokens") or 0,
    )


def _event(token: wire.Token, top_k: int | None, texts: Mapping[int, str]) -> TokenEvent:
    if top_k is None or token.chosen is None:
        return TokenEvent("", token.token_id)
    top = []
    for rival in token.top[:top_k]:
        if rival == token.chosen:  # where only texts are told, the chosen one's id is still known
            rival = replace(rival, token_id=token.token_id)
        top.append(TopLogprob(rival.token_id, _text(rival, texts), rival.logprob))
    return TokenEvent("", token.token_id, token.chosen.logprob, tuple(top))


def _text(token: wire.Alternative | None, texts: Mapping[int, str]) -> str:
    """A token's own text, which may be a part of a character; "" where it is not known."""
    if token is None or token.text is not None:
        return "" if token is None else token.text or ""
    return "" if token.token_id is None else texts.get(token.token_id, "")


def shared_out(text: str, own: Sequence[str]) -> list[str]:
    """The text of a chunk, given to its tokens by what each is alone.

    From the end, as far as they agree. What is left goes to the last token before, for which it
    may have waited: a character whose parts are several tokens, or what could be a stop string.

    >>> shared_out("水ab", ["\ufffd", "\ufffd", "\ufffd", "a", "b"])
    ['', '', '水', 'a', 'b']
    """
    shares = [""] * len(own)
    for place in range(len(own) - 1, 0, -1):
        if not own[place] or not text.endswith(own[place]):
            shares[place] = text
            return shares
        shares[place] = own[place]
        text = text.removesuffix(own[place])
    shares[0] = text
    return shares
