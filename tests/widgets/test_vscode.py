"""The widgets in the widget manager of Visual Studio Code's Jupyter extension.

VS Code itself is not needed: the manager that its notebooks use is a library,
@vscode/jupyter-ipywidgets8 1.0.9 (in ``vscode/``), and any kernel connection will do for it. Here
it is JupyterLab's, whose page lends its place; JupyterLab's own widget manager takes no part. As in
VS Code, anywidget comes by RequireJS (2.3.8), as an nbextension.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.widgets.conftest import Lab, ask, composer
from tests.widgets.test_notebook import ATTENTION, CHAT, TRAINING
from tests.widgets.waiting import WAIT_S, eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

FOLDER = Path(__file__).parent / "vscode"
KNOWN = {
    "ipywidgets.js": "a76235308552fc3ef3fe3e6d801422172ac7252a89498df7d2b8f35276b92120",
    "require.js": "c1fc6b1d53af7522f78d664922abb32acac64ed0ecccb8f907f1e6fc7262563a",
}
ANYWIDGET = Path(sys.prefix) / "share" / "jupyter" / "nbextensions" / "anywidget" / "index.js"

BEGIN = """async () => {
    await jupyterapp.serviceManager.ready;
    const place = document.createElement("div");
    place.id = "cells";
    place.style = "position: fixed; inset: 0; z-index: 100000; overflow: auto; background: white";
    document.body.append(place);
    const { activate } = await import("/vscode/ipywidgets.js");
    activate();
    window.vscIPyWidgets8.load();
    requirejs.config({ paths: { anywidget: "/vscode/anywidget" }, waitSeconds: 0 });
    const loader = {
        widgetsRegisteredInRequireJs: new Set(), async loadWidgetScript() {},
        successHandler() {}, errorHandler() {},
    };
    window.kernel = await jupyterapp.serviceManager.kernels.startNew({ name: "python3" });
    setInterval(() => kernel.requestKernelInfo().catch(() => null), 10_000); // see conftest.NUDGE
    window.manager = new window.vscIPyWidgets.WidgetManager(kernel, place, loader, () => {});
}"""
RUN = """async (code) => {
    const node = document.createElement("div");
    node.className = "cell";
    document.getElementById("cells").append(node);
    const texts = [];
    const shown = [];
    const future = kernel.requestExecute({ code });
    const show = async (id) => {
        const view = await manager.create_view(await manager.get_model(id));
        await manager.display_view(undefined, view, { node });
    };
    future.onIOPub = ({ header, content }) => {
        if (header.msg_type === "error") texts.push(content.traceback.join("\\n"));
        if (content.data === undefined) return;
        const widget = content.data["application/vnd.jupyter.widget-view+json"];
        if (widget) shown.push(show(widget.model_id));
        texts.push(content.data["text/plain"]);
    };
    await future.done;
    await Promise.all(shown);
    return texts.join("\\n");
}"""


class Editor:
    """Cells and their outputs, as VS Code runs and shows them."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def run(self, code: str) -> tuple[str, Locator]:
        """What a cell says, and its output."""
        cells = self.page.locator(".cell")
        number = cells.count()
        told: str = self.page.evaluate(RUN, code)
        return " ".join(told.split()), cells.nth(number)


@pytest.fixture
def editor(lab: Lab, browser: Browser) -> Iterator[Editor]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.set_default_timeout(WAIT_S * 1000)
    page = context.new_page()
    errors: list[str] = []  # their stacks
    page.on("pageerror", lambda error: errors.append(str(error.stack)))
    files = {f"{lab.url}/vscode/{name}": FOLDER / name for name in KNOWN}
    files[f"{lab.url}/vscode/anywidget.js"] = ANYWIDGET

    def answer(route: Any) -> None:
        route.fulfill(path=files[route.request.url], content_type="text/javascript")

    page.route("**/vscode/*", answer)
    page.goto(f"{lab.url}/lab/workspaces/vscode?reset")
    page.wait_for_function("!!window.jupyterapp?.serviceManager")
    page.add_script_tag(url="/vscode/require.js")
    page.evaluate(BEGIN)
    yield Editor(page)
    page.evaluate("kernel.shutdown()")
    context.close()
    # Our modules come from blob addresses; the page is JupyterLab's, which has errors of its own.
    assert [stack for stack in errors if "blob:" in stack or "/vscode/" in stack] == []


@pytest.mark.parametrize("name", KNOWN)
def test_libraries_are_as_they_came(name: str):
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == KNOWN[name]


@pytest.mark.full
def test_the_widgets_are_alive(editor: Editor, model_dir: Path):
    _, panel = editor.run(CHAT)
    composer(panel).wait_for()
    ask(panel, "hello **bold**")
    panel.locator("strong", has_text="bold").first.wait_for()
    panel.get_by_role("button", name="Send", exact=True).wait_for()
    told, _ = editor.run("panel.ask('from a cell'), [m.content for m in panel.messages][::2]")
    assert told == "('from a cell', ['hello **bold**', 'from a cell'])"
    panel.get_by_text("from a cell").first.wait_for()

    _, view = editor.run(ATTENTION.replace("MODEL", repr(str(model_dir))))
    view.get_by_role("button", name="Layer 2, head 3").click()
    eventually(lambda: editor.run("view.layer, view.head")[0] == "(1, 2)", "it never knew")

    _, monitor = editor.run(TRAINING)
    monitor.locator("td", has_text="To be").first.wait_for()  # a sample: it has trained 50 steps
    monitor.get_by_role("button", name="Stop").click()
    monitor.get_by_text("Stopped", exact=True).wait_for()
    assert editor.run("monitor.state, monitor.trainer.step >= 50")[0] == "('stopped', True)"
