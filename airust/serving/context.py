"""What of a long conversation the model is shown, and what is left out.

The newest messages up to a number, and of these the newest that fit a number of tokens; the
system message is always shown, and so is the last message however long it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from airust.engines.base import Engine
from airust.settings import SessionSettings
from airust.types import Message, UnsupportedError

FRAME_TOKENS = 8  # a turn's role and marks, at most
ANSWER_SHARE = 3  # a third of the context is enough for an answer


@dataclass(frozen=True, slots=True)
class Window:
    """What the model is shown."""

    messages: tuple[Message, ...]
    left_out: int = 0  # older messages that it is not shown


def choose(
    system: str | None,
    branch: Sequence[Message],
    last_messages: int,
    most_tokens: int | None = None,
    count: Callable[[str], int] = len,
) -> Window:
    """The end of a branch.

    Args:
        count: tokens of a text.

    >>> talk = [Message("user", "one"), Message("assistant", "two"), Message("user", "three")]
    >>> window = choose("Be brief.", talk, last_messages=2)
    >>> [message.content for message in window.messages], window.left_out
    (['Be brief.', 'three'], 2)
    >>> choose(None, talk, last_messages=20, most_tokens=25).left_out  # no answer without question
    2
    """
    first = () if not system else (Message("system", system),)
    kept = list(branch[-last_messages:])
    if most_tokens is not None:
        room = most_tokens - sum(count(m.content) + FRAME_TOKENS for m in first)
        fitting: list[Message] = []
        for message in reversed(kept):
            room -= count(message.content) + FRAME_TOKENS
            if room < 0 and fitting:
                break
            fitting.append(message)
        kept = fitting[::-1]
    # An answer whose question is gone would stand at the beginning; most chat forms refuse that.
    while len(kept) > 1 and kept[0].role == "assistant" and len(kept) < len(branch):
        kept.pop(0)
    return Window((*first, *kept), len(branch) - len(kept))


def window_of(
    system: str | None,
    branch: Sequence[Message],
    engine: Engine,
    settings: SessionSettings,
    max_tokens: int,
) -> Window:
    """As ``choose``, with the settings, and with room for the answer where the engine tells.

    Tokenises, so call it in a thread.
    """
    most = settings.max_context_tokens or None
    if engine.context is not None:
        room = engine.context - min(max_tokens, engine.context // ANSWER_SHARE)
        most = room if most is None else min(most, room)
    if most is not None:
        try:
            return choose(
                system, branch, settings.last_messages, most, lambda text: len(engine.encode(text))
            )
        except UnsupportedError:  # it does not tell how it tokenises
            pass
    return choose(system, branch, settings.last_messages)
