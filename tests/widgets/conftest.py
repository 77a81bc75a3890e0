"""A real JupyterLab, and notebooks in it in a real Chromium."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
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


class Lab:
    """``jupyter lab`` on a free port, with its notebooks in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
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
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        self.log = (folder / ".lab.log").open("w+")
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root",
                "--ServerApp.port=0", "--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=",
                "--ServerApp.password=", f"--ServerApp.root_dir={folder}",
                "--LabApp.news_url=", "--LabApp.check_for_updates_class="
                "jupyterlab.NeverCheckForUpdate", "--LabApp.expose_app_in_browser=True",
            ],
            cwd=folder, env=environment, stdout=self.log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        eventually(lambda: self._url() is not None, "JupyterLab never said its address")
        self.url = self._url()

    def _url(self) -> str | None:
        text = (self.folder / ".lab.log").read_text("utf-8")
        assert self.process.poll() is None, text
        found = re.search(r"(http://127\.0\.0\.1:\d+)/lab", text)
        return found[1] if found else None

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


@pytest.fixture(scope="module")
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
    """A notebook that is open in JupyterLab."""

    def __init__(self, lab: Lab, browser: Browser, name: str, theme: str = "light") -> None:
        self.lab, self.name = lab, name
        context = browser.new_context(viewport={"width": 1320, "height": 1000})
        context.set_default_timeout(WAIT_S * 1000)
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.strangers: set[str] = set()  # hosts that were asked beside our own
        self.page.on("request", self._note)
        self.open()
        if theme == "dark":
            self.page.evaluate(
                "jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' })"
            )
            self.page.wait_for_selector("body[data-jp-theme-light=false]", state="attached")

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.lab.url, "data:", "blob:", "ws://127.0.0.1")):
            self.strangers.add(request.url)

    def open(self, kernel: bool = True) -> None:
        """Open it, or load the page again; without a kernel none can be started."""
        if not kernel:
            self.page.route(
                "**/api/sessions**",
                lambda route: (
                    route.abort() if route.request.method == "POST" else route.continue_()
                ),
            )
        workspace = self.name.partition(".")[0]
        self.page.goto(f"{self.lab.url}/lab/workspaces/{workspace}/tree/{self.name}?reset")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.page.wait_for_function("window.jupyterapp !== undefined")
        self.page.evaluate(
            "jupyterapp.commands.execute('application:set-mode', { mode: 'single-document' })"
        )
        self.page.evaluate("jupyterapp.shell.collapseLeft()")
        if kernel:
            self.page.evaluate(
                "jupyterapp.shell.currentWidget.sessionContext.ready.then("
                "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.info"
                ").then(() => null)"
            )

    def cell(self, index: int) -> Locator:
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def start(self, index: int) -> None:
        """Begin to run a cell, when the kernel is ready."""
        self.page.wait_for_selector(".jp-NotebookPanel-toolbar [data-status=idle]")
        self.cell(index).locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")

    def run(self, index: int) -> Locator:
        """Run a cell and wait for its end; the cell's output."""
        count = self.cell(index).locator(".jp-InputPrompt")
        before = count.inner_text()
        self.start(index)
        end = time.monotonic() + WAIT_S
        while (now := count.inner_text()) == before or "*" in now:
            assert time.monotonic() < end, f"cell {index} never ended"
            self.page.wait_for_timeout(30)
        return self.cell(index).locator(".jp-Cell-outputArea")

    def save(self) -> dict[str, Any]:
        """Save it; what is then on disk."""
        self.page.evaluate("jupyterapp.commands.execute('docmanager:save')")
        return self.lab.read(self.name)

    def close(self) -> None:
        # Ending the kernel makes JupyterLab's own; a page that is loaded anew has lost its kernel.
        errors = [error for error in self.errors if error != "The kernel is gone."]
        self.page.evaluate("jupyterapp.serviceManager.sessions.shutdownAll()")
        self.page.context.close()
        assert errors == []
        assert self.strangers == set()
