"""Conversations through a pipe, and Ctrl+C in a real process."""

import signal
import subprocess
import sys
import time

import pytest

from airust.cli import chat as chat_command
from airust.cli.conversation import Conversation, Window
from airust.engines.dummy import DummyEngine
from airust.types import (
    ContextOverflowError,
    DoneEvent,
    EngineError,
    Message,
    SamplingParams,
    Timings,
    Usage,
)

DONE = DoneEvent("stop", Usage(3, 2, 1), Timings(0.0, 0.1, 0.2))


def talk_to(monkeypatch, engine):
    monkeypatch.setattr(chat_command, "open_engine", lambda name, model: engine)


def test_turns_are_answered_in_order(airust):
    done = airust("chat", "--engine", "dummy", stdin="hello\n\n你好\n")
    assert (done.exit_code, done.stdout) == (0, "hello\n你好\n")


def test_the_engine_sees_the_whole_conversation_until_reset(airust, monkeypatch):
    seen = []

    class Recorder(DummyEngine):
        def prepare(self, request):
            seen.append([m.content for m in request.messages])
            return super().prepare(request)

    talk_to(monkeypatch, Recorder())
    airust("chat", "--system", "S", stdin="a\nb\n/reset\nc\n")
    assert seen == [["S", "a"], ["S", "a", "a", "b"], ["S", "c"]]


def test_commands(airust):
    lines = ("/stats", "hi you", "/stats", "/help", "/x", "/quit", "no")
    done = airust("chat", "--engine", "dummy", stdin="\n".join(lines))
    assert done.exit_code == 0
    assert done.stdout.startswith("No answer yet.\nhi you\nlast answer: 2 prompt tokens")
    assert "session: 1 answers, 2 prompt tokens (0 cached), 2 new" in done.stdout
    assert "/reset   forget the conversation" in done.stdout
    assert "There is no command /x" in done.stderr
    assert "\nno\n" not in done.stdout


def test_an_answer_that_was_cut_says_so(airust):
    done = airust("chat", "--engine", "dummy", "--max-tokens", "1", stdin="one two\n")
    assert (done.stdout, "cut after 1 tokens" in done.stderr) == ("one\n", True)


def test_a_turn_that_no_longer_fits_drops_the_oldest(airust, monkeypatch):
    class Short(DummyEngine):
        def prepare(self, request):
            if len(request.messages) > 3 or "long" in request.messages[-1].content:
                raise ContextOverflowError("Too many tokens.")
            return super().prepare(request)

    talk_to(monkeypatch, Short())
    done = airust("chat", stdin="a\nb\nc\nlong\nd\n")
    assert done.stdout == "a\nb\nc\nd\n"
    assert done.stderr.count("forgot the oldest turn") == 3
    assert done.stderr.count("Error: Too many tokens.") == 1


def test_an_engine_error_does_not_end_the_chat(airust, monkeypatch):
    class Sometimes(DummyEngine):
        def answer(self, prepared, job):
            if prepared == ["bad"]:
                raise EngineError("It broke.")
            return super().answer(prepared, job)

    talk_to(monkeypatch, Sometimes())
    done = airust("chat", stdin="bad\ngood\n")
    assert (done.exit_code, done.stdout) == (0, "good\n")
    assert "Error: It broke." in done.stderr


def test_an_option_that_the_engine_lacks_is_refused_at_the_start(airust, monkeypatch):
    class NoSeed(DummyEngine):
        capabilities = type(DummyEngine.capabilities)(seed=False)

    talk_to(monkeypatch, NoSeed())
    done = airust("chat", "--seed", "1", stdin="hello\n")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "does not support a seed" in done.stderr


def test_room_is_made_for_the_answer():
    window = Window(context=12, count=lambda turns: sum(len(m.content) for m in turns))
    talk = Conversation(SamplingParams(max_tokens=100), system="s", window=window)
    for text in ("aaa", "bbb"):
        talk.ask(text)
        assert talk.make_room() == 0
        talk.answered("x", DONE)
    talk.ask("ccc")  # 1 + 4 + 4 + 3 tokens and a third of 12 for the answer
    assert talk.make_room() == 1
    assert [m.content for m in talk.messages] == ["s", "bbb", "x", "ccc"]


def test_the_newest_question_is_never_dropped():
    window = Window(context=2, count=lambda turns: 100)
    talk = Conversation(SamplingParams(), window=window)
    talk.ask("too long")
    assert talk.make_room() == 0
    assert talk.messages == (Message("user", "too long"),)


def test_the_window_of_a_model_folder(model_dir):
    window = Window.of(model_dir)
    assert window is not None
    short, long = ((Message("user", text),) for text in ("hello", "hello " * 50))
    assert 0 < window.count(short) < window.count(long)
    assert Window.of(model_dir / "config.json") is None


SLOW_CHAT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
from airust.cli import build_app, chat
from airust.engines.dummy import DummyEngine
chat.open_engine = lambda name, model: DummyEngine(delay_s=0.05)
build_app()(["chat"])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a console event instead of a signal")
def test_ctrl_c_stops_the_answer_and_twice_at_the_prompt_leaves():
    with subprocess.Popen(
        [sys.executable, "-uc", SLOW_CHAT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            child.stdin.write("word " * 400 + "\n")
            child.stdin.flush()
            start = child.stdout.read(len("word word "))
            child.send_signal(signal.SIGINT)
            child.stdin.write("short\n")
            child.stdin.flush()
            assert start == "word word "
            assert child.stdout.readline().count("word") < 300
            assert child.stdout.readline() == "short\n"
            time.sleep(0.3)  # until it waits for the next line
            for _ in range(2):
                child.send_signal(signal.SIGINT)
                time.sleep(0.3)
            assert child.wait(timeout=20) == 0
            notes = child.stderr.read()
            assert "(stopped)" in notes and "Ctrl+C again" in notes
        finally:
            child.kill()
