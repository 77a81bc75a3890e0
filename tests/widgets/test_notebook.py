"""The widgets in a real JupyterLab, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airust.gpt.train import read_checkpoint
from tests.widgets.conftest import Lab, Notebook, Open, ask, composer
from tests.widgets.waiting import eventually

pytestmark = pytest.mark.full

CHAT = """\
import airust
from airust.engines.dummy import DummyEngine

engine = DummyEngine(["word" + " word" * 5000] * 2, delay_s=0.02)
panel = airust.ChatPanel({"echo": DummyEngine(), "slow": engine}, language="en")
panel"""
FAILING = """\
import airust
from airust.engines.dummy import DummyEngine


class FailsOnce(DummyEngine):
    failed = False

    def answer(self, prepared, job):
        if not self.failed:
            self.failed = True
            raise RuntimeError("out of memory")
        return super().answer(prepared, job)


panel = airust.ChatPanel(FailsOnce(), language="en")
panel"""
TRAINING = """\
from pathlib import Path

import airust
from airust.gpt.presets import preset
from airust.gpt.run import prepare

Path("text.txt").write_text("To be, or not to be, that is the question.\\n" * 200)


def make():
    config = preset("shakespeare-char", steps=4000, rows=4, length=16, precision="float32",
                    validation=0.2, validate_every=20)
    return prepare(config, Path("run"), data="text.txt", resume=True)


monitor = airust.TrainingMonitor(make(), prompts=["To be"], sample_every=50)
monitor.start()
monitor"""
ATTENTION = """\
import airust

view = airust.AttentionView(MODEL, "What is the capital of France? 水")
view"""

SLIDER = """\
import ipywidgets

slider = ipywidgets.IntSlider(view.layer, min=0, max=1, description="layer")
ipywidgets.jslink((slider, "value"), (view, "layer"))
ipywidgets.VBox([slider, view])"""


def test_chat(open_notebook: Open):
    notebook = open_notebook(
        "chat.ipynb",
        CHAT,
        "panel.ask('from a cell')",
        "[m.content for m in panel.messages], len(panel.tokens), list(panel.race('a b').agreed)",
        "import time\nfor _ in range(600):\n    time.sleep(0.1)\n    print(len(panel.messages))\n"
        "    if len(panel.messages) > 4: break",
        "for _ in range(600):\n    if panel._tunnel.open_exchanges: break\n    time.sleep(0.1)\n"
        "panel._tunnel.open_exchanges, panel.close(), engine.stats().running",
    )
    output = notebook.run(0)
    ask(output, "hello **bold**")
    output.locator("strong", has_text="bold").first.wait_for()
    shown = notebook.run(1)
    assert "from a cell" in shown.inner_text()
    output.get_by_text("from a cell").first.wait_for()  # the panel shows it
    told = notebook.run(2).inner_text()
    assert "'hello **bold**', 'hello **bold**', 'from a cell', 'from a cell'" in told
    assert "3, [2, 0]" in told

    # While a cell runs, the panel answers: its messages come through a subshell.
    notebook.start(3)
    ask(output, "in the meantime")
    output.get_by_text("in the meantime").nth(1).wait_for()
    notebook.until(lambda: "6" in notebook.printed(3), "the cell never saw it")

    # The notebook's own keys do nothing while one types.
    cells = notebook.page.locator(".jp-Notebook .jp-Cell").count()
    composer(output).press_sequentially("ddaabb")
    assert notebook.page.locator(".jp-Notebook .jp-Cell").count() == cells
    composer(output).fill("")

    # A page that is loaded again finds the panel as it was: the kernel still runs.
    notebook.save()
    notebook.open()
    output = notebook.cell(0).locator(".jp-Cell-outputArea")
    output.get_by_text("in the meantime").first.wait_for()
    composer(output).wait_for()  # the panel itself, no still of it
    # One socket: the page that left has said so.
    assert "(1, None, 0)" in notebook.run(4).inner_text()


def test_chat_stops_and_branches(open_notebook: Open):
    notebook = open_notebook(
        "branches.ipynb", CHAT, "engine.stats().running, [m.content[:11] for m in panel.messages]",
        "[m.content[:11] for m in panel.messages]",
        "panel.ask('from a cell', model='slow', max_output_tokens=5000)[:11]",
    )  # fmt: skip
    output = notebook.run(0)
    output.get_by_role("combobox", name="Model").select_option("slow")
    ask(output, "a long one")
    output.get_by_text("word word word").first.wait_for()
    output.get_by_role("button", name="Stop", exact=True).click()
    composer(output).wait_for()
    output.get_by_role("button", name="Send", exact=True).wait_for()
    told = notebook.run(1).inner_text()
    assert "(0, ['a long one', 'word word w'])" in told
    output.get_by_role("combobox", name="Model").select_option("echo")
    question = output.locator("li.message.user").first
    question.hover()
    question.get_by_role("button", name="Edit").click()
    output.get_by_role("textbox", name="Edit message").fill("a short one")
    output.get_by_role("button", name="Ask again").click()
    output.locator("li.message.assistant", has_text="a short one").wait_for()
    assert "['a short one', 'a short one']" in notebook.run(2).inner_text()
    output.locator("li.message.user").first.hover()
    output.get_by_role("button", name="Previous branch").first.click()
    output.locator("li.message.user", has_text="a long one").wait_for()
    assert "['a long one', 'word word w']" in notebook.run(2).inner_text()

    # The cell that asks blocks the kernel; the button works all the same.
    notebook.start(3)
    output.locator("li.message.user", has_text="from a cell").wait_for()
    output.get_by_role("button", name="Stop", exact=True).click()
    notebook.until(lambda: "word word w" in notebook.output(3).inner_text(), "the cell goes on")


def test_an_engine_that_fails_is_told(open_notebook: Open):
    notebook = open_notebook("fails.ipynb", FAILING)
    output = notebook.run(0)
    ask(output, "one two three")
    alert = output.get_by_role("alert")
    alert.get_by_text("The engine failed.").wait_for()
    alert.get_by_role("button", name="Try again").click()
    output.locator("li.message.assistant", has_text="one two three").wait_for()
    assert alert.count() == 0


def test_training_stops_by_its_button_and_resumes(open_notebook: Open, lab: Lab):
    notebook = open_notebook(
        "training.ipynb",
        TRAINING,
        "before = monitor.wait().trainer.step; monitor.state, before",
        "again = make(); again.trainer.step == before",
    )
    output = notebook.run(0)
    output.locator("td", has_text="To be").first.wait_for()  # a sample: it has trained 50 steps
    assert output.locator("polyline.line.first").first.get_attribute("points")
    # The cell that waits blocks the kernel; the button works all the same.
    notebook.start(1)
    output.get_by_role("button", name="Stop").click()
    output.get_by_text("Stopped", exact=True).wait_for()
    notebook.until(lambda: "stopped" in notebook.output(1).inner_text(), "the cell goes on")
    assert read_checkpoint(lab.folder / "run")["step"] >= 50
    assert "True" in notebook.run(2).inner_text()
    saved = notebook.save()
    (still,) = stills(saved, 0)
    assert "<img alt=" in still["text/html"]
    assert "stopped at step" in still["text/plain"]


def test_attention(open_notebook: Open, model_dir: Path):
    notebook = open_notebook(
        "attention.ipynb", ATTENTION.replace("MODEL", repr(str(model_dir))), "view.head, view.text",
        SLIDER,
    )  # fmt: skip
    output = notebook.run(0)
    output.get_by_role("button", name="Layer 2, head 3").click()
    box = output.get_by_role("textbox", name="Text that the model reads")
    box.fill("Rust has one owner")
    box.press("Enter")
    output.get_by_text("Layer 2, head 3: ").wait_for()
    output.locator(".tokens button", has_text="owner").last.wait_for()
    assert "(2, 'Rust has one owner')" in notebook.run(1).inner_text()
    # A control of ipywidgets moves it.
    composed = notebook.run(2)
    composed.get_by_text("Layer 2, head 3: ").wait_for()
    composed.locator(".noUi-handle").press("ArrowLeft")
    composed.get_by_text("Layer 1, head 3: ").wait_for()


def test_the_last_state_is_in_the_saved_notebook(open_notebook: Open, model_dir: Path):
    notebook = open_notebook(
        "saved.ipynb", CHAT, "panel.ask('keep this')",
        ATTENTION.replace("MODEL", repr(str(model_dir))),
    )  # fmt: skip
    for index in range(3):
        notebook.run(index)
    eventually(
        lambda: any("keep this" in s["text/html"] for s in stills(notebook.save(), 0)),
        "the still never came",
    )
    (picture,) = stills(notebook.save(), 2)
    assert "Attention maps of 2 layers" in picture["text/plain"]
    size = (notebook.lab.folder / "saved.ipynb").stat().st_size
    assert size < 1_000_000
    page = notebook.page
    still = page.locator("[class^=airust-still-]")
    chat, figure = still.get_by_text("keep this"), still.get_by_role("img", name="Attention maps")

    # In a new kernel, which knows nothing of them, the widgets are drawn from the saved state.
    end_kernels(notebook)
    notebook.open()
    page.locator(".airust-chat .last-state").get_by_text("keep this").first.wait_for()
    page.locator(".airust-attention canvas").first.wait_for()
    assert not chat.first.is_visible()
    assert not figure.is_visible()


def end_kernels(notebook: Notebook) -> None:
    """End the kernels, and leave the page before it misses them."""
    notebook.page.evaluate("jupyterapp.serviceManager.sessions.shutdownAll()")
    notebook.page.goto("about:blank")


def stills(notebook: dict[str, Any], index: int) -> list[dict[str, str]]:
    """The stills that a saved notebook has in a cell."""
    found = []
    for output in notebook["cells"][index]["outputs"]:
        data = {kind: "".join(text) for kind, text in output.get("data", {}).items()
                if kind.startswith("text/")}  # fmt: skip
        if "airust-still" in data.get("text/html", ""):
            found.append(data)
    return found
