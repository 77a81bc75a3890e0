"""A real `airust serve`, and a real Chromium that looks at it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from tests.serving.conftest import ServerProcess

PATIENCE_MS = 60_000  # a busy machine is no failure
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--no-first-run",
]  # fmt: skip
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}

CONFIG = """
[sessions]
database_url = "sqlite:///{folder}/airust.db"
[[models]]
name = "small"
path = "{model}"
engine = "torch"
options = {{ threads = 1 }}
[[models]]
name = "reciter"
path = "{reciter}"
engine = "torch"
options = {{ threads = 1 }}
[[models]]
name = "echo"
path = "dummy"
engine = "dummy"
[[models]]
name = "slow"
path = "dummy"
engine = "dummy"
options = {{ delay_s = 0.1 }}
"""
# What "slow" needs half a minute for, unless it is stopped: longer than a busy machine takes to get
# from one look at the page to the next. (256 words are the page's own limit of an answer.)
LONG = "one two three four five six seven eight nine ten " * 30


class Served:
    """The service, and its API for what is not done with the mouse."""

    def __init__(self, process: ServerProcess) -> None:
        self.process, self.url = process, process.url

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The parsed answer."""
        answer = httpx2.request(method, self.url + path, json=body, trust_env=False, timeout=60)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def forget_everything(self) -> None:
        """No chats."""
        for session in self.call("GET", "/v1/sessions?limit=500")["data"]:
            self.call("DELETE", f"/v1/sessions/{session['id']}")

    def chat(self, *texts: str, title: str = "", system: str | None = None) -> str:
        """A conversation of questions and answers by turns."""
        made = self.call("POST", "/v1/sessions", {"title": title, "system": system})["id"]
        parent = None
        for place, text in enumerate(texts):
            role = "assistant" if place % 2 else "user"
            body = {"parent_id": parent, "role": role, "content": text}
            parent = self.call("POST", f"/v1/sessions/{made}/messages", body)["id"]
        return made

    def messages(self, session: str) -> list[dict[str, Any]]:
        """Its tree."""
        found: list[dict[str, Any]] = self.call("GET", f"/v1/sessions/{session}/messages")["data"]
        return found


@pytest.fixture(scope="session")
def service(
    tmp_path_factory: pytest.TempPathFactory, model_dir: Path, reciter_dir: Path
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    text = CONFIG.format(
        folder=folder.as_posix(), model=model_dir.as_posix(), reciter=reciter_dir.as_posix()
    )
    (folder / "config.toml").write_text(text, "utf-8")
    process = ServerProcess("--config", "config.toml", "--port", "0", cwd=folder)
    yield Served(process)
    process.stop()


@pytest.fixture
def served(service: Served) -> Served:
    service.forget_everything()
    return service


@pytest.fixture(scope="module")  # Playwright's loop would be in the way of other modules' asyncio
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert found, "These tests need Chromium: apt-get install chromium"
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=QUIET)
        yield running
        running.close()


class Panel:
    """The page as a user sees it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.problems: list[str] = []
        self.requests: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._heard)
        page.on("request", lambda request: self.requests.append(request.url))

    def _heard(self, message: Any) -> None:
        url = message.location.get("url", "")
        # Chromium notes the 404 of a context asked for while its message was being deleted.
        gone = "status of 404" in message.text and "/context?" in url
        if message.type == "error" and not gone:
            self.problems.append(f"{message.text} {url}")

    def has_focus(self, element: Locator) -> None:
        """Wait until the element has the focus in its page, be the page in front or not."""
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while not element.evaluate("node => node.getRootNode().activeElement === node"):
            assert time.monotonic() < deadline, "it never had the focus"
            self.page.wait_for_timeout(50)

    def open(self, model: str = "echo") -> Panel:
        """Load the page and choose a model."""
        self.page.goto(self.url)
        self.until_loaded()
        self.choose(model)
        return self

    def reload(self) -> None:
        """Load the page again."""
        self.page.reload()
        self.until_loaded()

    def until_loaded(self) -> None:
        """Until the models and the last chat are there."""
        expect(self.page.locator("main")).to_have_attribute("aria-busy", "false")

    def choose(self, model: str) -> None:
        """A model."""
        self.page.get_by_label("Model", exact=True).select_option(model)

    def choose_briefly(self, model: str) -> None:
        """A model, for answers of 24 tokens."""
        self.choose(model)
        self.button("Settings").click()
        self.page.get_by_label("Answer length").fill("24")
        self.button("Close").click()

    @property
    def field(self) -> Locator:
        """Where one writes."""
        return self.page.get_by_label("Message", exact=True)

    def button(self, name: str) -> Locator:
        """By its whole name."""
        return self.page.get_by_role("button", name=name, exact=True)

    @property
    def host(self) -> Locator:
        """The element with the panel's shadow root."""
        return self.page.locator("body > div")

    @property
    def answers(self) -> Locator:
        """The model's messages."""
        return self.page.locator(".message.assistant[data-message]")

    @property
    def questions(self) -> Locator:
        """One's own."""
        return self.page.locator(".message.user[data-message]")

    def type(self, text: str) -> None:
        """Write and send."""
        self.field.fill(text)
        self.field.press("Enter")

    def rest(self) -> None:
        """Until no answer comes in."""
        expect(self.button("Send")).to_be_visible()
        expect(self.page.locator(".message .dots, .incoming")).to_have_count(0)

    def stop(self) -> None:
        """Stop the answer that comes in, and wait for its end."""
        self.button("Stop").click()
        self.rest()
        expect(self.answers.last.locator(".end")).to_have_text("stopped")

    def open_chat(self, title: str, messages: int) -> None:
        """A chat of the list, until all its messages are there."""
        self.button(title).click()
        expect(self.button(title)).to_have_attribute("aria-current", "true")
        expect(self.page.locator("[data-message]")).to_have_count(messages)

    def ask(self, text: str) -> None:
        """Write, send, and wait for the answer."""
        before = self.answers.count()
        self.type(text)
        expect(self.answers).to_have_count(before + 1)
        self.rest()


NewPanel = Callable[..., Panel]


@pytest.fixture
def panels(browser: Browser, served: Served) -> Iterator[NewPanel]:
    """Open pages, each with a browser profile of its own or in a given one; all must stay
    without errors and ask nobody but their own host."""
    contexts: list[BrowserContext] = []
    made: list[Panel] = []

    def new(beside: Panel | None = None, **options: Any) -> Panel:
        if beside is None:
            settings = {"viewport": WIDE, "locale": "en-US", "reduced_motion": "reduce"} | options
            contexts.append(browser.new_context(**settings))
            page = contexts[-1].new_page()
        else:
            page = beside.page.context.new_page()
        made.append(Panel(page, served.url))
        return made[-1]

    yield new
    for context in contexts:
        context.close()
    for panel in made:
        assert not panel.problems
        host = served.url.split("//")[1]
        others = [
            u for u in panel.requests if host not in u and not u.startswith(("data:", "blob:"))
        ]
        assert not others


@pytest.fixture
def panel(panels: NewPanel) -> Panel:
    return panels().open()
