"""The chat panel's Python side, without a browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import airust
from airust.engines.base import Engine
from airust.engines.dummy import DummyEngine
from airust.engines.registry import load_engine
from airust.types import Message, UserError
from airust.widgets.chat import ChatPanel
from tests.widgets.waiting import eventually


@pytest.fixture
def panel() -> Iterator[ChatPanel]:
    with DummyEngine() as engine:
        made = ChatPanel(engine)
        yield made
        made.close()


@pytest.fixture(scope="module")
def reciter(reciter_dir: Path) -> Iterator[Engine]:
    with load_engine("torch", reciter_dir, threads=1) as engine:
        yield engine


def test_it_is_a_name_of_airust():
    assert airust.ChatPanel is ChatPanel
    with pytest.raises(AttributeError, match="nothing"):
        _ = airust.nothing


def test_ask_and_messages(panel: ChatPanel):
    assert panel.messages == []
    assert panel.ask("hello") == "hello"
    assert panel.ask("again") == "again"
    assert panel.messages == [
        Message("user", "hello"), Message("assistant", "hello"),
        Message("user", "again"), Message("assistant", "again"),
    ]  # fmt: skip
    assert panel.session


def test_the_last_state_is_kept_for_a_notebook_without_a_kernel(panel: ChatPanel):
    panel.ask("<b>not bold</b>")
    eventually(lambda: len(panel._transcript) == 2, "the transcript never came")
    markup, text = panel.still()
    assert "&lt;b&gt;not bold" in markup
    assert "<b>" not in markup
    assert text.startswith("Chat with dummy")
    assert len(panel._esm) < 30_000  # it is saved with every notebook; the front end is not


def test_what_the_service_refuses_is_said(panel: ChatPanel):
    with pytest.raises(UserError, match="no model 'other'"):
        panel.ask("hello", model="other")
    with pytest.raises(UserError, match="temperature"):
        panel.ask("hello", temperature=9)
    assert panel.ask("still here") == "still here"


def test_another_session_is_shown(panel: ChatPanel):
    panel.ask("one")
    panel.session = ""
    assert panel.messages == []
    panel.ask("two")
    assert [message.content for message in panel.messages] == ["two", "two"]


def test_tokens(reciter: Engine):
    panel = ChatPanel(reciter)
    assert panel.tokens.empty
    panel.ask("go", max_output_tokens=6)
    frame = panel.tokens
    assert len(frame) == 6
    assert frame.token.str.cat() in panel.messages[-1].content + "\ufffd"
    assert frame.probability.between(0, 1).all()
    assert (frame.entropy >= 0).all()
    assert frame.top.map(len).eq(5).all()
    assert frame.top.map(lambda top: top[0][1]).equals(frame.logprob)  # greedy
    assert frame.time_s.is_monotonic_increasing
    panel.close()
    assert reciter.generate(_request("go")).text  # a given engine stays open


def _request(text: str) -> Any:
    from airust.types import Request, SamplingParams

    return Request(messages=(Message("user", text),), params=SamplingParams(max_tokens=4))


def test_race():
    with DummyEngine(["one two three"]) as left, DummyEngine(["one two four five"]) as right:
        panel = ChatPanel({"left": left, "right": right})
        frame = panel.race("go")
        assert list(frame.index) == ["left", "right"]
        assert list(frame.text) == ["one two three", "one two four five"]
        assert list(frame.tokens) == [3, 4]
        assert list(frame.agreed) == [3, 2]
        assert list(frame.first_difference) == [None, (" three", " four")]
        assert panel.race("x", models=["right"]).loc["right", "finish_reason"] == "stop"
        with pytest.raises(UserError, match="middle"):
            panel.race("go", models=["middle"])
        panel.close()


def test_the_panels_own_race_as_a_frame(panel: ChatPanel):
    assert panel.last_race.empty
    row = {"model": "dummy", "engine": "dummy", "ttft_s": 0.1, "tokens_per_s": 9.0, "tokens": 2,
           "finish_reason": "stop", "text": "a b"}  # fmt: skip
    panel._race = {"prompt": "go", "in_turn": False, "first_difference": None, "rows": [row]}
    assert panel.last_race.loc["dummy", "text"] == "a b"
    assert panel.last_race.attrs["prompt"] == "go"


def test_a_folder_is_loaded_and_closed(reciter_dir: Path):
    panel = ChatPanel(reciter_dir, engines=["torch:threads=1", "dummy"])
    assert panel.models == [f"{reciter_dir.name}@torch", f"{reciter_dir.name}@dummy"]
    engine = panel._recorders[panel.models[0]].engine
    assert panel.ask("go", max_output_tokens=3)
    panel.close()
    panel.close()
    with pytest.raises(Exception, match="closed"):
        engine.generate(_request("go"))


@pytest.mark.parametrize("models", [[], {}])
def test_no_model(models: Any):
    with pytest.raises(UserError, match="at least one"):
        ChatPanel(models)


def test_two_of_one_name():
    with (
        DummyEngine() as first,
        DummyEngine() as second,
        pytest.raises(UserError, match="Two models are called 'dummy'"),
    ):
        ChatPanel([first, second])


def test_sessions_in_a_file_are_there_again(tmp_path: Path):
    with DummyEngine() as engine:
        first = ChatPanel(engine, sessions=tmp_path / "chats.db")
        first.ask("remember me")
        first.close()
        second = ChatPanel(engine, sessions=tmp_path / "chats.db", session=first.session)
        assert second.messages[0].content == "remember me"
        second.close()


def test_closing_while_answering_frees_the_engine():
    with DummyEngine(["word " * 5000], delay_s=0.01) as engine:
        panel = ChatPanel(engine)
        failed: list[BaseException] = []

        def ask() -> None:
            try:
                panel.ask("go", max_output_tokens=5000)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        eventually(lambda: engine.stats().running == 1, "it never ran")
        panel.close()
        thread.join(60)
        assert not thread.is_alive()
        assert len(failed) == 1
        eventually(lambda: engine.stats().running == 0, "the engine goes on")


def test_two_panels_on_one_engine():
    with DummyEngine() as engine:
        one, two = ChatPanel(engine), ChatPanel(engine)
        one.ask("first")
        two.ask("second")
        assert [m.content for m in one.messages] == ["first", "first"]
        assert [m.content for m in two.messages] == ["second", "second"]
        one.close()
        assert two.ask("third") == "third"
        two.close()
