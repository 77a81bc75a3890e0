"""The widgets in JupyterLab: no model's output runs, and everybody can use them."""

from __future__ import annotations

import json

import pytest

from tests.ui.audit import PAYLOADS, check_nothing_ran, serious
from tests.widgets.conftest import Lab, Open, answered, ask

pytestmark = pytest.mark.full

CHAT = """\
import json
import airust
from airust.engines.dummy import DummyEngine

panel = airust.ChatPanel(DummyEngine(), language="en")
panel"""
ASK_ALL = """\
for payload in json.load(open("payloads.json")):
    panel.ask(payload)
len(panel.messages)"""
RICH = (
    "# Title\n\nSome **bold** and `code`, [a link](https://x.invalid), $x^2$\n\n> quote\n\n"
    "- [x] task\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```rust\nfn main() {} // a comment\n```"
)
OTHERS = """\
from pathlib import Path
from airust.gpt.presets import preset
from airust.gpt.run import prepare

Path("short.txt").write_text("To be, or not to be, that is the question.\\n" * 200)
config = preset("shakespeare-char", steps=4, rows=4, length=16, precision="float32",
                validation=0.2, validate_every=2)
run = prepare(config, Path("short"), data="short.txt", force=True)
monitor = airust.TrainingMonitor(run, prompts=["To be"]).start().wait()
display(monitor, airust.AttentionView(run, "To be"))"""
HOST = ".airust-chat > div"


def test_no_payload_runs_in_a_notebook(open_notebook: Open, lab: Lab):
    (lab.folder / "payloads.json").write_text(json.dumps(PAYLOADS), "utf-8")
    notebook = open_notebook("payloads.ipynb", CHAT, ASK_ALL)
    page, output = notebook.page, notebook.run(0)
    ask(output, PAYLOADS[0])  # typed in the panel; the others come from a cell
    answered(output, PAYLOADS[0].split()[0])
    count = 2 * (len(PAYLOADS) + 1)
    assert str(count) in notebook.run(1).inner_text()
    messages = output.locator("[data-message]")
    notebook.until(lambda: messages.count() == count, "the panel does not show them all")
    for message in messages.all():
        message.evaluate("e => e.scrollIntoView()")
    bare = output.locator(".markdown.bare")
    notebook.until(lambda: bare.count() == 0, "some were never rendered")
    check_nothing_ran(page.locator(HOST))
    # Nor in the still below it, which a saved notebook shows.
    still = page.locator("[class^=airust-still-]")
    notebook.until(lambda: PAYLOADS[-1].split()[0] in (still.text_content() or ""), "no still")
    tags = "e => [...new Set([...e.querySelectorAll('*')].map((node) => node.localName))].sort()"
    assert still.evaluate(tags) == ["h4", "p", "pre", "strong"]
    assert page.evaluate("window.pwned ?? null") is None


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_notebook: Open, theme: str):
    notebook = open_notebook(f"axe-{theme}.ipynb", CHAT, OTHERS, theme=theme)
    page, output = notebook.page, notebook.run(0)
    ask(output, RICH)
    answered(output, "Title")
    assert output.locator(".panel").get_attribute("data-theme") == theme
    assert serious(page, ".airust-chat") == []
    for name in ("Branches", "Context", "Settings", "Race"):
        output.get_by_role("button", name=name, exact=True).click()
        assert serious(page, ".airust-chat") == [], name
    notebook.run(1)
    for widget in (".airust-monitor", ".airust-attention"):
        page.locator(widget).wait_for()
        assert serious(page, widget) == []
