"""A real JupyterLab, and notebooks in it in a real Chromium."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from tests.widgets.waiting import WAIT_S, eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

ROOT = Path(__file__).resolve().parent.parent.parent
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]

SETTINGS = {
    "@jupyter-widgets/jupyterlab-manager/plugin": {"saveState": True},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


APPS = {
    "lab": [
        "--LabApp.news_url=", "--LabApp.expose_app_in_browser=True",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ],
    "notebook": ["--JupyterNotebookApp.expose_app_in_browser=True"],
}  # fmt: skip
KERNEL = "jupyterapp.shell.currentWidget?.sessionContext.session?.kernel"
# Seen with ipykernel 7.4 on a crowded machine: the kernel idles over a request that it has not
# noticed, until any other message comes.
NUDGE = f"setInterval(() => {KERNEL}?.requestKernelInfo().catch(() => null), 10_000)"


class Lab:
    """JupyterLab, or Notebook 7, on a free port, with its notebooks in a folder of the test."""

    def __init__(self, folder: Path, app: str = "lab", *options: str) -> None:
        self.folder, self.app = folder, app
        home = folder / ".home"
        for name, values in SETTINGS.items():
            file = home / "settings" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values), "utf-8")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")}
        environment |= {
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_DATA_DIR": str(home / "data"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
            "IPYTHONDIR": str(home / "ipython"),
            "MPLCONFIGDIR": str(home / "matplotlib"),
            "AIRUST_PROGRESS": str(home / "progress.json"),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        self.log = (folder / ".lab.log").open("w+")
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "jupyter", app, "--no-browser", "--allow-root",
                "--ServerApp.port=0", "--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=",
                "--ServerApp.password=", f"--ServerApp.root_dir={folder}", *APPS[app], *options,
            ],
            cwd=folder, env=environment, stdout=self.log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        eventually(lambda: self._url() is not None, f"jupyter {app} never said its address")
        self.url = self._url()

    def _url(self) -> str | None:
        text = (self.folder / ".lab.log").read_text("utf-8")
        assert self.process.poll() is None, text
        found = re.search(r"(http://127\.0\.0\.1:\d+)/(?:lab|tree)", text)
        return found[1] if found else None

    def page_of(self, name: str) -> str:
        """The address of a notebook, with nothing else open."""
        if self.app == "notebook":
            return f"{self.url}/notebooks/{name}"
        workspace = Path(name).stem
        return f"{self.url}/lab/workspaces/{workspace}/tree/{name}?reset"

    def write(self, name: str, *cells: str) -> None:
        """A notebook to open."""
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, self.folder / name)

    def read(self, name: str) -> dict[str, Any]:
        """A notebook as it is on disk."""
        return json.loads((self.folder / name).read_text("utf-8"))

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self.log.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    started = Lab(tmp_path_factory.mktemp("lab"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "these tests need Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


class Notebook:
    """A notebook that is open in a browser."""

    def __init__(self, lab: Lab, browser: Browser, name: str, theme: str = "light") -> None:
        self.lab, self.name = lab, name
        context = browser.new_context(viewport={"width": 1320, "height": 1000})
        context.set_default_timeout(WAIT_S * 1000)
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", self._heard)
        self.strangers: set[str] = set()  # hosts that were asked beside our own
        self.page.on("request", self._note)
        self.open()
        if theme == "dark":
            self.page.evaluate(
                "jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' })"
            )
            self.page.wait_for_selector("body[data-jp-theme-light=false]", state="attached")

    def _heard(self, error: Any) -> None:
        # Modules of a widget come from blob addresses. What has none of them, nor of anywidget,
        # in its stack is the host's own, such as its complaint about a kernel that has ended.
        stack = str(error.stack)
        if "/static/" not in stack or "blob:" in stack or "/anywidget/" in stack:
            self.errors.append(stack)

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.lab.url, "data:", "blob:", "ws://127.0.0.1")):
            self.strangers.add(request.url)

    def open(self) -> None:
        """Open it, or load the page again, and wait for the kernel."""
        self.show()
        self.until(lambda: self.page.evaluate(f"{KERNEL}?.supportsSubshells"), "no kernel")

    def show(self) -> None:
        """Open it, or load the page again."""
        self.page.goto(self.lab.page_of(self.name))
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext")
        self.page.evaluate(NUDGE)
        if self.lab.app == "lab":
            self.page.evaluate(
                "jupyterapp.commands.execute('application:set-mode', { mode: 'single-document' })"
            )
            self.page.evaluate("jupyterapp.shell.collapseLeft()")

    def cell(self, index: int) -> Locator:
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def output(self, index: int) -> Locator:
        return self.cell(index).locator(".jp-Cell-outputArea")

    def printed(self, index: int) -> str:
        """What a cell has printed, drawn or not: JupyterLab draws only what is in view."""
        text: str = self.page.evaluate(
            """index => jupyterapp.shell.currentWidget.content.widgets[index].model.outputs.toJSON()
                .map((output) => [output.text ?? ""].flat().join("")).join("")""",
            index,
        )
        return text

    def until(self, check: Callable[[], object], what: str) -> None:
        """Wait for something in the page."""
        end = time.monotonic() + WAIT_S
        while not check():
            assert time.monotonic() < end, what
            self.page.wait_for_timeout(50)

    def start(self, index: int) -> None:
        """Begin to run a cell, when the kernel is ready."""
        self.until(lambda: self.page.evaluate(f"{KERNEL}?.status") == "idle", "it is never idle")
        # By the command itself: keys may be lost while JupyterLab moves the focus about.
        self.page.evaluate(
            """index => {
                jupyterapp.shell.currentWidget.content.activeCellIndex = index;
                void jupyterapp.commands.execute("notebook:run-cell");
            }""",
            index,
        )

    def run(self, index: int) -> Locator:
        """Run a cell and wait for its end; the cell's output."""
        count = self.cell(index).locator(".jp-InputPrompt")
        before = count.inner_text()
        self.start(index)
        self.until(
            lambda: (now := count.inner_text()) != before and "*" not in now,
            f"cell {index} never ended",
        )
        return self.output(index)

    def save(self) -> dict[str, Any]:
        """Save it; what is then on disk."""
        self.page.evaluate("jupyterapp.commands.execute('docmanager:save')")
        return self.lab.read(self.name)

    def close(self) -> None:
        errors = list(self.errors)  # ending the kernel makes JupyterLab's own
        self.page.evaluate("jupyterapp.serviceManager.sessions.shutdownAll()")
        self.page.context.close()
        assert errors == []
        assert self.strangers == set()


Open = Callable[..., Notebook]


@pytest.fixture
def open_notebook(lab: Lab, browser: Browser) -> Iterator[Open]:
    """Write a notebook of some cells and open it; the kernels end with the test."""
    opened: list[Notebook] = []

    def start(name: str, *cells: str, theme: str = "light") -> Notebook:
        lab.write(name, *cells)
        opened.append(Notebook(lab, browser, name, theme))
        return opened[-1]

    yield start
    for notebook in opened:
        notebook.close()


def composer(output: Locator) -> Locator:
    """Where one writes in a chat panel."""
    return output.get_by_role("textbox", name="Message", exact=True)


def ask(output: Locator, text: str) -> None:
    """Ask in a chat panel."""
    composer(output).fill(text)
    composer(output).press("Enter")


def answered(output: Locator, text: str) -> None:
    """Wait for an answer with these words, to its end."""
    output.locator("li.message.assistant", has_text=text).last.wait_for()
    output.get_by_role("button", name="Send", exact=True).wait_for()
