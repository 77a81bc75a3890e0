"""Notebooks of the learning path in a real JupyterLab: all cells run, and the widgets are alive.

tests/notebooks runs every notebook, but without a browser.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.widgets.conftest import KERNEL, ROOT, Lab, Notebook, answered, ask

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator

pytestmark = pytest.mark.full

CODE_CELLS = """() => jupyterapp.shell.currentWidget.content.widgets
    .filter((cell) => cell.model.type === "code" && cell.model.sharedModel.source.trim())
    .map((cell) => cell.model)"""
# Each cell's number, and what it failed with.
STATE = f"""() => ({CODE_CELLS})().map((model) => [
    model.executionCount,
    model.outputs.toJSON().filter((o) => o.output_type === "error").map((o) => o.evalue),
])"""


@pytest.fixture
def path(lab: Lab) -> Lab:
    """JupyterLab with the path in the folder ``notebooks``, and without a trained model."""
    shutil.copytree(ROOT / "notebooks", lab.folder / "notebooks", dirs_exist_ok=True)
    return lab


@pytest.fixture
def run_all(path: Lab, browser: Browser) -> Iterator[Any]:
    """Open a notebook, run all its cells, and see that none has failed."""
    opened: list[Notebook] = []

    def start(name: str) -> Notebook:
        notebook = Notebook(path, browser, f"notebooks/{name}")
        opened.append(notebook)
        page = notebook.page
        page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
        notebook.until(
            lambda: all(count for count, _ in page.evaluate(STATE)), "some cells never ran"
        )
        notebook.until(lambda: page.evaluate(f"{KERNEL}?.status") == "idle", "it is never idle")
        assert [errors for _, errors in page.evaluate(STATE) if errors] == []
        return notebook

    yield start
    for notebook in opened:
        notebook.close()


def cell_with(notebook: Notebook, text: str) -> Locator:
    """The output of the code cell that has this text, in view."""
    place = notebook.page.evaluate(
        """text => jupyterapp.shell.currentWidget.content.widgets
            .findIndex((cell) => cell.model.type === "code"
                       && cell.model.sharedModel.source.includes(text))""",
        text,
    )
    notebook.page.evaluate(
        "place => jupyterapp.shell.currentWidget.content.scrollToItem(place)", place
    )
    return notebook.page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{place}']")


def push(slider: Locator) -> None:
    """Move a slider by a step, with the keyboard."""
    handle = slider.locator(".noUi-handle")
    is_at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
    handle.press("ArrowLeft" if is_at_end else "ArrowRight")


def test_start_here(run_all: Any):
    notebook = run_all("00-start-here.ipynb")
    inspected = cell_with(notebook, "widgets.interact(alternatives")
    told = inspected.locator(".jp-OutputArea-output pre").last
    before = told.inner_text()
    push(inspected.locator(".widget-slider").first)
    notebook.until(lambda: told.inner_text() not in ("", before), "the slider moves nothing")

    # The two engines of the panel answer, and race on the same weights.
    panel = cell_with(notebook, "airust.ChatPanel(")
    for engine in ("torch", "mistralrs"):
        panel.get_by_role("combobox", name="Model").select_option(f"smoke@{engine}")
        ask(panel, f"What is the capital of France, {engine}?")
        answered(panel, f"smoke@{engine}")
    panel.get_by_role("button", name="Race", exact=True).click()
    panel.get_by_role("textbox", name="Question for the race").fill("Why is the sky blue?")
    panel.get_by_role("button", name="Start", exact=True).click()
    # (In floating point two engines may part where two tokens are almost equally likely.)
    panel.locator(
        ".verdict", has_text=re.compile("answers are the same|First difference")
    ).wait_for()
    for engine in ("torch", "mistralrs"):
        lane = panel.get_by_role("article", name=f"smoke@{engine}")
        assert lane.locator(".lane-text").inner_text().strip()
        assert "ms" in lane.locator("dd").nth(1).inner_text()


def test_assemble_attention(run_all: Any):
    notebook = run_all("07-assemble-attention.ipynb")
    cell = cell_with(notebook, "widgets.interact(lambda layer, head")
    figure = cell.locator(".jp-OutputArea-output img").first
    before = figure.get_attribute("src")
    push(cell.locator(".widget-slider").last)
    notebook.until(
        lambda: figure.get_attribute("src") != before, "another head, but the same picture"
    )
