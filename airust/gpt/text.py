"""Token ids to text pieces, held back until they are certain.

Two things make a streamed piece uncertain: a UTF-8 character whose last bytes have not been
generated yet, and text which may turn out to be the beginning of a stop string. Neither may
reach the reader, because a piece cannot be taken back.

>>> stream = TextStream(lambda ids: "".join(map(chr, ids)), stop=("END",))
>>> [stream.push(ord(c)) for c in "aEbEND!"]
['a', '', 'Eb', '', '', '', '']
>>> stream.stopped
True
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

REPLACEMENT = "\ufffd"  # what decoders print for bytes that are not (yet) valid UTF-8
# A character's bytes may be shown as U+FFFD each, together with those of the character before
# it, so up to 7 at a time may yet become text. More than that is garbage.
MOST_UNCERTAIN = 8
UNFINISHED = 3  # tokens that an unfinished character can consist of: its bytes but the last


class StopFilter:
    """Text in, text out, ending before the first stop string."""

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self.stop = tuple(stop)
        self.stopped = False  # a stop string has been seen; nothing more comes out
        self._held = ""

    def push(self, text: str) -> str:
        """The text that can now be shown."""
        if not self.stop or self.stopped:
            return "" if self.stopped else text
        text = self._held + text
        found = [at for at in map(text.find, self.stop) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = max(_overlap(text, stop) for stop in self.stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """What was held back and did not become a stop string."""
        text, self._held = self._held, ""
        return text


class TextStream:
    """Turns the token ids of one answer into text pieces that never have to be taken back.

    Do not push the end-of-text token. After ``stopped`` is true the engine should end the request
    with "stop".

    Args:
        decode: turns ids into text, printing U+FFFD for incomplete bytes.
        whole: the text of a token that is the same beside any others, or None; it saves decoding.
    """

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        stop: Sequence[str] = (),
        whole: Callable[[int], str | None] = lambda token_id: None,
    ) -> None:
        self._decode, self._whole = decode, whole
        self._filter = StopFilter(stop)
        self._window: list[int] = []  # the last complete piece, as context, and what came since
        self._context = 0  # tokens of the window that are context
        self._shown = 0  # characters of decode(window) already passed on

    @property
    def stopped(self) -> bool:
        """A stop string has been generated; it and what follows are never shown."""
        return self._filter.stopped

    def push(self, token_id: int) -> str:
        """The text that this token makes certain; often empty."""
        if self._context == len(self._window) and (known := self._whole(token_id)) is not None:
            self._window, self._context, self._shown = [token_id], 1, len(known)
            return self._filter.push(known)
        self._window.append(token_id)
        text = self._decode(self._window)
        uncertain = len(text) - len(text.rstrip(REPLACEMENT))
        if uncertain > MOST_UNCERTAIN and (garbage := self._part(text)):
            return self._filter.push(garbage)
        end = max(len(text) - uncertain, self._shown)
        piece, self._shown = text[self._shown : end], end
        if piece and not uncertain:
            # SentencePiece decoders strip the first space of whatever they are given, so a
            # token has to be decoded after the piece before it.
            self._window = self._window[self._context :]
            self._context = len(self._window)
            self._shown = len(self._decode(self._window))
        return self._filter.push(piece)

    def _part(self, text: str) -> str:
        """Part with the garbage that no further token can change, where it may be cut in two.

        Decoders print one U+FFFD for several bytes that begin a character, but only together.
        """
        for at in range(len(self._window) - UNFINISHED, self._context, -1):
            done, rest = self._window[:at], self._window[at:]
            known = self._decode(done)
            if len(known) > self._shown and known + self._decode(rest) == text:
                piece = known[self._shown :]
                self._window, self._context, self._shown = rest, 0, 0
                return piece
        return ""

    def finish(self) -> str:
        """The rest, incomplete bytes as U+FFFD. Call it once, at the end of the answer."""
        piece = self._decode(self._window)[self._shown :] if self._window else ""
        return self._filter.push(piece) + self._filter.finish()


def token_text(decode: Callable[[Sequence[int]], str], token_id: int) -> str:
    """One token's own text, with the space that it may begin with.

    SentencePiece decoders strip the first space of whatever they are given. Of a second copy of
    the token they do not.

    >>> pieces = ["\u2581Paris", "is"]
    >>> def decode(ids):
    ...     return "".join(pieces[i] for i in ids).replace("\u2581", " ").removeprefix(" ")
    >>> decode([0]), token_text(decode, 0), token_text(decode, 1)
    ('Paris', ' Paris', 'is')
    """
    text = decode([token_id])
    return f" {text}" if decode([token_id, token_id]) == f"{text} {text}" else text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of the text that begins the stop string."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
