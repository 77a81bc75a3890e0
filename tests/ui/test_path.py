"""What a newcomer does with the page, on a model that was just trained, with two engines."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.serving.conftest import ServerProcess
from tests.ui.conftest import NewPanel, Panel

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("path")
    subprocess.run(
        [sys.executable, "-m", "airust", "train", "--preset", "smoke", "--out", str(folder / "m")],
        check=True, timeout=600,
    )  # fmt: skip
    return folder / "m"


@pytest.fixture
def page(panels: NewPanel, trained: Path, tmp_path: Path) -> Iterator[Panel]:
    database = {"AIRUST_SESSIONS__DATABASE_URL": f"sqlite:///{tmp_path / 'a.db'}"}
    engines = ("-e", "torch", "-e", "mistralrs")
    server = ServerProcess(
        "--model", str(trained), *engines, "--port", "0", cwd=tmp_path, environment=database
    )
    panel = panels()
    panel.url = server.url
    yield panel.open("m@torch")
    panel.page.goto("about:blank")
    server.stop()
    own = server.url.split("//")[1]
    panel.requests = [url for url in panel.requests if own not in url]


def test_chat_edit_branch_inspect_fork_and_race(page: Panel):
    page.ask("What is the capital of France?")
    page.choose("m@mistralrs")
    page.ask("What is the capital of Japan?")
    expect(page.answers.last.locator(".who")).to_have_text("m@mistralrs")

    # An earlier question in other words: a branch, and back by the arrow.
    page.choose("m@torch")
    first = page.questions.first
    first.hover()
    first.get_by_role("button", name="Edit").click()
    page.page.get_by_role("textbox", name="Edit message").fill("What is the capital of Italy?")
    page.button("Ask again").click()
    expect(page.answers).to_have_count(1)
    page.rest()
    page.questions.first.hover()
    page.page.get_by_role("button", name="Previous branch").first.click()
    expect(page.answers).to_have_count(2)

    # Its tokens, and another token in place of one of them.
    page.button("Tokens").click()
    page.answers.first.locator("[data-token]").first.click()
    page.page.keyboard.press("Enter")
    page.page.locator(".alternative:not(:disabled)").first.click()
    expect(page.answers.first.locator(".branches")).to_contain_text("2/2")
    page.rest()

    # The engines on the same weights, side by side. (In floating point two engines may part where
    # two tokens are almost equally likely.)
    page.button("Race").click()
    page.page.get_by_label("Question for the race").fill("Why is the sky blue?")
    page.button("Start").click()
    verdict = page.page.locator(".verdict")
    expect(verdict).to_have_text(re.compile("answers are the same|First difference"))
    for name in ("m@torch", "m@mistralrs"):
        lane = page.page.get_by_role("article", name=name)
        expect(lane.locator(".lane-text")).not_to_be_empty()
        expect(lane.locator("dd").nth(1)).to_contain_text("ms")
