"""The chat panel in Notebook 7."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.widgets.conftest import Lab, Notebook, answered, ask

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.full

CHAT = """\
import airust
from airust.engines.dummy import DummyEngine

panel = airust.ChatPanel(DummyEngine(), language="en")
panel"""


@pytest.fixture
def classic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    started = Lab(tmp_path_factory.mktemp("notebook7"), "notebook")
    yield started
    started.close()


def test_the_panel_answers_also_while_a_cell_runs(classic: Lab, browser: Browser):
    classic.write(
        "chat.ipynb", CHAT, "panel.ask('from a cell')",
        "import time\nwhile len(panel.messages) < 6: time.sleep(0.1)",
    )  # fmt: skip
    notebook = Notebook(classic, browser, "chat.ipynb")
    output = notebook.run(0)
    ask(output, "hello **bold**")
    output.locator("strong", has_text="bold").first.wait_for()
    assert "from a cell" in notebook.run(1).inner_text()
    output.get_by_text("from a cell").first.wait_for()
    notebook.start(2)
    ask(output, "in the meantime")
    answered(output, "in the meantime")
    notebook.close()
