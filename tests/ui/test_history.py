"""Chats that are kept: the list, search, in and out, reload in mid-answer, two tabs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.serving.conftest import eventually
from tests.ui.conftest import LONG, NewPanel, Panel, Served

pytestmark = pytest.mark.full


def row(panel: Panel, title: str):
    return panel.page.locator(".session").filter(has_text=title)


def test_create_rename_switch_delete_and_undo(panel: Panel, served: Served):
    panel.ask("about rivers")
    expect(row(panel, "about rivers")).to_have_count(1)  # never called "New chat"
    panel.button("New chat").click()
    expect(panel.answers).to_have_count(0)
    panel.ask("about mountains")
    expect(panel.page.locator(".session")).to_have_count(2)
    row(panel, "rivers").hover()
    panel.button("Rename: about rivers").click()
    panel.page.get_by_label("Rename", exact=True).fill("Water")
    panel.page.keyboard.press("Enter")
    row(panel, "Water").get_by_role("button", name="Water", exact=True).click()
    expect(panel.questions.first).to_contain_text("about rivers")
    before = {s["id"]: served.messages(s["id"]) for s in served.call("GET", "/v1/sessions")["data"]}
    row(panel, "Water").hover()
    panel.button("Delete: Water").click()
    expect(row(panel, "Water")).to_have_count(0)
    expect(panel.questions.first).to_contain_text("about mountains")
    assert len(served.call("GET", "/v1/sessions")["data"]) == 1
    panel.button("Undo").click()
    expect(row(panel, "Water")).to_have_count(1)
    expect(panel.questions.first).to_contain_text("about rivers")
    after = {s["id"]: served.messages(s["id"]) for s in served.call("GET", "/v1/sessions")["data"]}
    assert set(after) == set(before)


def test_a_name_is_typed_while_the_list_changes(panel: Panel, served: Served):
    panel.ask("about rivers")
    row(panel, "rivers").hover()
    panel.button("Rename: about rivers").click()
    field = panel.page.get_by_label("Rename", exact=True)
    expect(field).to_have_value("about rivers")
    field.fill("Wat")
    served.chat("about mountains", title="Mountains")  # another tab's
    expect(row(panel, "Mountains")).to_have_count(1)
    expect(field).to_have_value("Wat")
    field.press("End")
    field.press_sequentially("er")
    field.press("Enter")
    expect(row(panel, "Water")).to_have_count(1)


def test_search_lands_on_the_message_and_its_branch(panel: Panel, served: Served):
    session = served.chat("What flows?", "Water flows downhill.", title="Rivers")
    question = served.messages(session)[0]["id"]
    body = {"parent_id": question, "role": "assistant", "content": "Lava, when it is hot."}
    served.call("POST", f"/v1/sessions/{session}/messages", body)
    served.chat(*[f"filler {i}" for i in range(60)], title="Other")
    panel.reload()
    expect(panel.answers.last).to_contain_text("filler")
    panel.page.get_by_label("Search chats").fill("downhill")
    hit = panel.page.locator(".hit")
    expect(hit).to_have_count(1)
    expect(hit.locator("mark")).to_have_text("downhill")
    hit.click()
    expect(panel.answers.last).to_contain_text("Water flows downhill.")
    expect(panel.answers.last).to_have_class(re.compile(r"\bfound\b"))
    expect(panel.answers.last).to_be_in_viewport()
    expect(panel.answers.last.locator(".branches")).to_contain_text("1/2")
    panel.page.get_by_label("Search chats").fill("no such words")
    expect(panel.page.get_by_text("No chat holds these words.")).to_be_visible()
    panel.page.get_by_label("Search chats").fill("filler 3")
    panel.page.locator(".hit").last.click()
    expect(panel.page.locator(".message").get_by_text("filler 3", exact=True)).to_be_in_viewport()


def test_export_and_import(panel: Panel, served: Served, tmp_path: Path):
    panel.ask("about rivers")
    row(panel, "rivers").hover()
    panel.page.get_by_label("Export: about rivers").click()
    with panel.page.expect_download() as markdown:
        panel.button("Export as Markdown").click()
    assert markdown.value.suggested_filename == "about rivers.md"
    assert "about rivers" in Path(markdown.value.path()).read_text("utf-8")
    with panel.page.expect_download() as everything:
        panel.button("Export all").click()
    saved = tmp_path / "sessions.json"
    saved.write_bytes(Path(everything.value.path()).read_bytes())
    assert json.loads(saved.read_text("utf-8"))["format"] == "airust-sessions"
    served.forget_everything()
    expect(panel.page.locator(".session")).to_have_count(0)
    field = panel.page.locator('input[type="file"]')
    field.set_input_files(saved)
    expect(panel.page.locator(".toast").get_by_text("Chats imported: 1")).to_be_visible()
    expect(panel.answers.last).to_contain_text("about rivers")
    old = tmp_path / "old.json"
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "An old answer"},
    ]
    old.write_text(json.dumps({"s1": {"title": "Old", "messages": messages}}), "utf-8")
    field.set_input_files(old)
    expect(panel.answers.last).to_contain_text("An old answer")
    bad = tmp_path / "bad.json"
    bad.write_text('[{"messages": [{"role": "nobody", "content": "x"}]}]', "utf-8")
    panel.problems.clear()
    field.set_input_files(bad)
    expect(panel.page.get_by_role("alert")).to_contain_text("role is 'nobody'")
    panel.problems.clear()  # the browser's own line about the 400


def test_a_reload_in_mid_answer_goes_on(panel: Panel, served: Served):
    panel.choose("slow")
    panel.type(LONG)
    expect(panel.answers.last).to_contain_text("one two three")
    panel.reload()
    answer = panel.answers.last.locator(".markdown")
    expect(answer).to_contain_text("one two three four")
    before = answer.inner_text()
    expect(answer).not_to_have_text(before)  # it goes on
    panel.stop()
    shown = answer.inner_text()
    assert shown.startswith(before)
    (session,) = served.call("GET", "/v1/sessions")["data"]
    assert served.messages(session["id"])[-1]["content"].split() == shown.split()


def test_two_tabs_agree(panel: Panel, panels: NewPanel, served: Served):
    panel.ask("hello")
    other = panels(beside=panel).open()
    expect(other.answers.last).to_contain_text("hello")
    panel.choose("slow")
    panel.type(LONG)
    expect(other.questions.last).to_contain_text("one two")
    expect(other.answers.last).to_contain_text("one two three")
    other.button("Stop").click()
    for tab in (panel, other):
        tab.rest()
        expect(tab.answers.last.locator(".end")).to_have_text("stopped")
    shown = [tab.answers.last.locator(".markdown").inner_text() for tab in (panel, other)]
    assert shown[0] == shown[1]
    panel.answers.first.get_by_role("button", name="Regenerate").click()
    expect(other.answers.last.locator(".branches")).to_contain_text("2/2")
    panel.rest()
    row(panel, "hello").hover()
    panel.button("Rename: hello").click()
    panel.page.get_by_label("Rename", exact=True).fill("Greetings")
    panel.page.keyboard.press("Enter")
    expect(row(other, "Greetings")).to_have_count(1)
    other.page.locator(".session").hover()
    other.button("Delete: Greetings").click()
    expect(panel.page.locator(".session")).to_have_count(0)
    expect(panel.questions).to_have_count(0)


def test_an_answer_goes_on_while_another_chat_is_open(panel: Panel, served: Served):
    panel.choose("slow")
    panel.type(LONG)
    expect(panel.answers.last).to_contain_text("one two")
    panel.button("New chat").click()
    expect(panel.answers).to_have_count(0)
    expect(panel.page.get_by_role("img", name="answering")).to_be_visible()
    row(panel, "one two").get_by_role("button").first.click()
    answer = panel.answers.last.locator(".markdown")
    expect(answer).to_contain_text("one two three")
    before = answer.inner_text()
    expect(answer).not_to_have_text(before)
    panel.stop()
    assert answer.inner_text().startswith(before)


def test_an_answer_is_whole_when_one_comes_back_after_its_end(panel: Panel, served: Served):
    panel.choose("slow")
    panel.type("one two three four five")
    panel.button("New chat").click()
    expect(panel.answers).to_have_count(0)
    expect(row(panel, "one two")).to_have_count(1)
    (session,) = served.call("GET", "/v1/sessions")["data"]
    eventually(lambda: len(served.messages(session["id"])) == 2, "it never ended")
    row(panel, "one two").get_by_role("button").first.click()
    expect(panel.answers.last.locator(".markdown")).to_have_text("one two three four five")


def test_two_questions_before_the_page_is_ready_make_one_chat(panels: NewPanel, served: Served):
    panel, held = panels(), []
    panel.page.route("**/v1/models", lambda route: held.append(route))
    panel.page.goto(panel.url)
    panel.type("the first")
    expect(panel.field).to_have_value("")
    panel.type("the second")
    while not held:
        panel.page.wait_for_timeout(20)
    held[0].continue_()
    expect(panel.answers).to_have_count(1)
    panel.rest()
    expect(panel.field).to_have_value("the second")  # as while an answer comes in
    assert len(served.call("GET", "/v1/sessions")["data"]) == 1
