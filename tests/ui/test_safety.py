"""No model's output runs; failures say what to do next; everybody can use it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.serving.conftest import ServerProcess
from tests.ui.audit import PAYLOADS, check_nothing_ran, serious
from tests.ui.conftest import PHONE, NewPanel, Panel, Served

pytestmark = pytest.mark.full

ROOT = Path(__file__).parent.parent.parent


def test_no_payload_runs(panel: Panel, served: Served):
    messages = [text for payload in PAYLOADS for text in (payload, payload)]
    for start in range(0, len(messages), 40):
        served.chat(*messages[start : start + 40], title=f"part {start}")
    panel.reload()
    for start in range(0, len(messages), 40):
        panel.open_chat(f"part {start}", len(messages[start : start + 40]))
        for message in panel.page.locator("[data-message]").all():
            message.evaluate("e => e.scrollIntoView()")
        expect(panel.page.locator(".markdown.bare")).to_have_count(0)
        check_nothing_ran(panel.host)


def test_a_streamed_payload_does_not_run_at_any_length(panel: Panel):
    for payload in [*PAYLOADS[:3], '```"><img src=x onerror=window.pwned=1>\nx\n```']:
        panel.ask(payload)
    check_nothing_ran(panel.host)


def test_titles_and_search_are_no_html(panel: Panel, served: Served):
    served.chat(
        "<img src=x onerror=window.pwned=1> needle", title="<img src=x onerror=window.pwned=1>"
    )
    panel.reload()
    expect(panel.page.locator(".session .title")).to_contain_text("<img")
    panel.page.get_by_label("Search chats").fill("needle")
    expect(panel.page.locator(".hit")).to_contain_text("<img")
    assert panel.page.evaluate("window.pwned ?? null") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(panels: NewPanel, scheme: str):
    panel = panels(color_scheme=scheme).open()
    page = panel.page
    assert serious(page) == []
    panel.ask("# Title\n\nSome **bold** and `code`, [a link](https://x.invalid), $x^2$\n\n"
              "> quote\n\n- [x] task\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```rust\n// a comment\n"
              'fn main() { let x: u8 = 1; println!("{}", x); }\n```')  # fmt: skip
    panel.choose("small")
    panel.ask("Hi")
    for name in ("Tokens", "Branches", "Context", "Settings"):
        panel.button(name).click()
        expect(page.get_by_role("complementary", name=name)).to_be_visible()
        if name == "Tokens":
            panel.answers.last.locator("[data-token]").nth(2).click()
            expect(page.locator(".alternative").first).to_be_visible()
        assert serious(page) == [], name
    panel.questions.first.get_by_role("button", name="Edit").click()
    page.keyboard.press("Escape")
    panel.button("Race").click()
    panel.page.get_by_label("Question for the race").fill("Hi")
    panel.button("Start").click()
    expect(page.locator(".verdict")).to_contain_text("ifference")
    assert serious(page) == []
    page.get_by_role("button", name="Keyboard shortcuts").click()
    assert serious(page) == []
    panel.problems.clear()  # the first answer is too long for the small model to be inspected


def test_a_phone_has_room_for_everything(panels: NewPanel):
    panel = panels(viewport=PHONE, has_touch=True).open()
    page = panel.page
    panel.ask("A rather long question about " + "rivers " * 30 + "\n\n```\n" + "x" * 300 + "\n```")
    panel.choose("small")
    panel.ask("Hi")
    wider = """() => document.querySelector("body > div").shadowRoot
        .querySelector(".panel").scrollWidth > innerWidth"""
    assert not page.evaluate(wider)
    panel.button("Chats").click()
    expect(page.get_by_role("complementary", name="Chats")).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Search chats")).not_to_be_visible()
    for name in ("Settings", "Branches", "Context", "Tokens"):
        panel.button(name).click()
        expect(page.get_by_role("complementary", name=name)).to_be_in_viewport()
        assert not page.evaluate(wider)
        if name == "Tokens":
            panel.answers.last.locator("[data-token]").first.click()
            expect(page.locator(".token-card")).to_be_in_viewport()
        panel.button("Close").click()
    panel.button("Race").click()
    assert not page.evaluate(wider)
    assert serious(page) == []
    panel.problems.clear()  # the first answer is too long for the small model to be inspected


def test_replies_are_announced_once_and_whole(panel: Panel):
    panel.ask("hello there")
    expect(panel.page.get_by_role("status")).to_have_text("Answer complete: hello there")
    assert panel.page.locator('[aria-live="polite"]').count() == 1


def test_a_server_that_goes_away_comes_back(panels: NewPanel, tmp_path: Path):
    database = {"AIRUST_SESSIONS__DATABASE_URL": f"sqlite:///{tmp_path / 'a.db'}"}
    server = ServerProcess("--engine", "dummy", "--port", "0", cwd=tmp_path, environment=database)
    port = server.url.rsplit(":", 1)[1]
    panel = panels()
    panel.url = server.url
    panel.page.goto(server.url)
    panel.until_loaded()
    panel.ask("hello")
    server.stop()
    alert = panel.page.get_by_role("alert")
    expect(alert).to_contain_text("The service cannot be reached.")
    panel.field.fill("not lost")
    panel.field.press("Enter")
    expect(panel.field).to_have_value("not lost")
    again = ServerProcess("--engine", "dummy", "--port", port, cwd=tmp_path, environment=database)
    try:
        # It comes back by itself; "Try now" is for the impatient.
        expect(panel.page.get_by_role("alert").filter(has_text="cannot be reached")).to_have_count(
            0
        )
        expect(panel.field).to_have_value("not lost")
        panel.field.press("Enter")
        expect(panel.answers).to_have_count(2)
        panel.rest()
        panel.reload()
        expect(panel.answers.last).to_contain_text("not lost")
    finally:
        panel.page.goto("about:blank")
        again.stop()
    panel.problems.clear()  # the browser's own lines about refused connections
    panel.requests = [url for url in panel.requests if port not in url]


def test_a_key_is_asked_for(panels: NewPanel, tmp_path: Path):
    settings = {
        "AIRUST_SESSIONS__DATABASE_URL": f"sqlite:///{tmp_path / 'a.db'}",
        "AIRUST_KEYS__REQUIRED": "true",
    }
    server = ServerProcess("--engine", "dummy", "--port", "0", cwd=tmp_path, environment=settings)
    try:
        made = subprocess.run(
            [sys.executable, "-m", "airust", "keys", "create", "test"], cwd=tmp_path,
            env=os.environ | settings | {"PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        key = next(w for w in (made.stdout + made.stderr).split() if len(w) > 30)
        panel = panels()
        panel.url = server.url
        panel.page.goto(server.url)
        dialog = panel.page.get_by_role("dialog")
        expect(dialog).to_contain_text("asks for an API key")
        dialog.get_by_label("API key").fill("wrong")
        dialog.get_by_role("button", name="Use this key").click()
        expect(dialog).to_contain_text("was refused")
        dialog.get_by_label("API key").fill(key)
        dialog.get_by_role("button", name="Use this key").click()
        expect(dialog).to_have_count(0)
        panel.ask("hello")
        panel.reload()
        expect(panel.answers.last).to_contain_text("hello")
        panel.page.goto("about:blank")
    finally:
        server.stop()
    panel.problems.clear()  # the browser's own lines about 401
    panel.requests.clear()


def test_refusals_keep_what_was_typed(panel: Panel, served: Served):
    panel.choose("small")
    too_long = "Rust has one owner. " * 300
    panel.type(too_long)
    alert = panel.page.get_by_role("alert")
    expect(alert).to_contain_text("does not fit into the model's context")
    expect(panel.field).to_have_value(too_long.strip())
    alert.get_by_role("button", name="Dismiss").click()
    expect(alert).to_have_count(0)
    panel.problems.clear()


def test_a_limit_is_told_and_what_was_typed_stays(panels: NewPanel, tmp_path: Path):
    settings = {
        "AIRUST_SESSIONS__DATABASE_URL": f"sqlite:///{tmp_path / 'a.db'}",
        "AIRUST_LIMITS__PER_IP__TOKENS_PER_MINUTE": "12",
    }
    server = ServerProcess("--engine", "dummy", "--port", "0", cwd=tmp_path, environment=settings)
    try:
        panel = panels()
        panel.url = server.url
        panel.page.goto(server.url)
        panel.until_loaded()
        alert = panel.page.get_by_role("alert")
        for number in range(10):
            panel.type(f"question {number}")
            expect(alert.or_(panel.answers.nth(number))).to_be_visible()
            if alert.is_visible():
                break
            panel.rest()
        expect(alert).to_contain_text("A limit is reached.")
        expect(alert).to_contain_text("12 tokens")
        expect(panel.field).to_have_value(f"question {number}")
        panel.page.goto("about:blank")
    finally:
        server.stop()
    panel.problems.clear()
    panel.requests.clear()
