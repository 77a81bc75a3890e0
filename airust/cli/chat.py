"""``airust chat``: a conversation in the terminal."""

from __future__ import annotations

import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import typer

from airust.cli.common import (
    EngineOption,
    MaxTokensOption,
    SeedOption,
    SourceOption,
    SystemOption,
    TemperatureOption,
    open_engine,
    say,
)
from airust.cli.conversation import Conversation, Window, describe
from airust.types import (
    AirustError,
    ContextOverflowError,
    DoneEvent,
    ErrorEvent,
    Event,
    Message,
    Request,
    SamplingParams,
)

if TYPE_CHECKING:
    from airust.engines.base import Engine, Handle

EXAMPLE = "airust chat --model runs/tiny --engine mistralrs"
HELP = """\
/reset   forget the conversation
/stats   tokens, time to the first token, tokens/s
/help    this list
/quit    leave (Ctrl+D too)
Ctrl+C stops an answer; at the prompt, twice leaves."""


def run(
    model: SourceOption = None,
    engine: EngineOption = "torch",
    temperature: TemperatureOption = 0.0,
    max_tokens: MaxTokensOption = 256,
    seed: SeedOption = None,
    system: SystemOption = None,
) -> None:
    """Talk with a model. Ctrl+C stops the answer, not the program; /help lists commands."""
    params = SamplingParams(temperature=temperature, max_tokens=max_tokens, seed=seed)
    with open_engine(engine, model) as loaded:
        # An option that the engine does not have is refused now and not at every turn.
        loaded.check(Request(messages=(Message("user", "?"),), params=params))
        talk = Conversation(params, system, Window.of(Path(model) if model else None))
        say(f"Talking with {model or 'no model'} in {engine}. /help lists commands.")
        for line in _lines():
            if line.startswith("/"):
                if not _command(line, talk):
                    break
            else:
                _turn(loaded, talk, line)


def _lines() -> Iterator[str]:
    """What the user types, until Ctrl+D or Ctrl+C twice."""
    prompt = "> " if sys.stdin.isatty() else ""
    if prompt:
        _edit_lines()
    warned = False
    while True:
        try:
            line = input(prompt).strip()
        except EOFError:
            break
        except KeyboardInterrupt:
            if warned:
                break
            warned = True
            say("\n(Ctrl+C again or Ctrl+D leaves)")
            continue
        warned = False
        if line:
            yield line
    if prompt:
        say("")


def _edit_lines() -> None:
    """Arrow keys and history at the prompt, where Python has them."""
    try:
        import readline  # noqa: F401
    except ImportError:  # Windows: the console edits lines itself
        return


def _command(line: str, talk: Conversation) -> bool:
    """Obey a slash command; False to leave."""
    name = line.split()[0]
    if name in ("/quit", "/exit"):
        return False
    if name == "/reset":
        talk.reset()
        say("(forgotten)")
    elif name == "/stats":
        typer.echo(_stats(talk))
    elif name == "/help":
        typer.echo(HELP)
    else:
        say(f"There is no command {name}; /help lists them.")
    return True


def _stats(talk: Conversation) -> str:
    if talk.totals.answers == 0:
        return "No answer yet."
    totals = talk.totals
    last = f"last answer: {describe(talk.last)}\n" if talk.last else ""
    return (
        f"{last}session: {totals.answers} answers, {totals.prompt_tokens} prompt tokens "
        f"({totals.cached_tokens} cached), {totals.new_tokens} new"
    )


def _turn(engine: Engine, talk: Conversation, line: str) -> None:
    """One question and its streamed answer. A refused question leaves the conversation as it was.

    The window is only known for our own folders, so an engine may still find a prompt too long.
    """
    talk.ask(line)
    dropped = talk.make_room()
    while True:
        if dropped:
            say(f"(the context is full: forgot the {_oldest(dropped)})")
        try:
            text, done = _stream(engine, talk, lambda piece: typer.echo(piece, nl=False))
        except ContextOverflowError as error:
            if talk.drop_oldest():
                dropped = 1
                continue
            _refuse(talk, error)
            return
        except AirustError as error:
            _refuse(talk, error)
            return
        break
    typer.echo()
    if done.finish_reason == "length":
        say(f"(cut after {done.usage.completion_tokens} tokens)")
    elif done.finish_reason == "cancelled":
        say("(stopped)")
    talk.answered(text, done)


def _oldest(dropped: int) -> str:
    return "oldest turn" if dropped == 1 else f"{dropped} oldest turns"


def _refuse(talk: Conversation, error: AirustError) -> None:
    talk.forget_question()
    say(f"Error: {error}")


def _stream(
    engine: Engine, talk: Conversation, write: Callable[[str], None]
) -> tuple[str, DoneEvent]:
    """Write an answer as it comes; Ctrl+C cancels it and its last event still arrives."""
    inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
    handle = engine.submit(talk.request(), inbox.put)
    pieces: list[str] = []
    with _interrupt_cancels(handle):
        while True:
            event = inbox.get()
            if isinstance(event, DoneEvent):
                return "".join(pieces), event
            if isinstance(event, ErrorEvent):
                if pieces:
                    write("\n")
                raise event.error
            pieces.append(event.text)
            write(event.text)


@contextmanager
def _interrupt_cancels(handle: Handle) -> Iterator[None]:
    """Let Ctrl+C cancel a request; pressed again, it ends the program after all.

    A handler rather than ``except KeyboardInterrupt``: the exception could strike between taking
    an event from the queue and looking at it, and the last event would be lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = False

    def on_interrupt(_signal: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        handle.cancel()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
