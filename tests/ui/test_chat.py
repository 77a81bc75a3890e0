"""Chatting in the page: stream, stop, edit, branch, go on, settings, languages, themes."""

from __future__ import annotations

import re

import httpx2
import pytest
from playwright.sync_api import expect

from tests.serving.conftest import eventually
from tests.ui.conftest import LONG, NewPanel, Panel, Served

pytestmark = pytest.mark.full


def session_of(served: Served) -> str:
    (session,) = served.call("GET", "/v1/sessions")["data"]
    return str(session["id"])


def test_a_question_is_answered_as_markdown(panel: Panel):
    panel.ask(
        "Some **bold**, $x^2$ and\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "```rust\nfn main() {}\n```\n\n\\[\\frac{1}{2}\\]"
    )
    answer = panel.answers.last
    expect(answer.locator("strong")).to_have_text("bold")
    expect(answer.locator("table td").first).to_have_text("1")
    expect(answer.locator("pre .hljs-keyword")).to_have_text("fn")
    expect(answer.locator(".katex")).to_have_count(2)
    # The stylesheet and the fonts of formulas are there, in spite of CSP and shadow root.
    assert (
        answer.locator(".katex-mathml").first.evaluate("e => getComputedStyle(e).position")
        == "absolute"
    )
    assert panel.page.evaluate("document.fonts.check('16px KaTeX_Main')")
    strut = answer.locator(".katex-strut").first
    assert strut.evaluate("e => e.style.height") != ""


def test_code_and_messages_are_copied(panels: NewPanel):
    panel = panels(permissions=["clipboard-read", "clipboard-write"]).open()
    panel.ask("```python\nprint(1)\n```")
    read = "navigator.clipboard.readText()"
    panel.answers.last.get_by_role("button", name="Copy", exact=True).first.click()
    expect(panel.answers.last.locator(".copy-code")).to_have_text("Copied")
    assert panel.page.evaluate(read) == "print(1)"
    panel.answers.last.locator('[data-action="copy"]').click()
    expect(panel.page.get_by_role("status")).to_have_text("Copied")
    assert panel.page.evaluate(read) == "```python\nprint(1)\n```"


def test_an_answer_streams_and_stop_stops_the_engine(panel: Panel, served: Served):
    panel.choose("slow")
    panel.type(LONG)
    expect(panel.answers.last).to_contain_text("one two three four")
    panel.button("Stop").click()
    panel.rest()
    expect(panel.answers.last.locator(".end")).to_have_text("stopped")
    expect(panel.page.get_by_role("status")).to_have_text("Stopped")
    kept = served.messages(session_of(served))[-1]
    assert kept["details"]["finish_reason"] == "cancelled"
    assert 4 <= len(kept["content"].split()) < 300
    idle = 'airust_num_requests_running{engine="dummy",model_name="slow"} 0.0'
    metrics = served.url + "/metrics"
    eventually(lambda: idle in httpx2.get(metrics, trust_env=False).text, "the engine goes on")


def test_regenerate_edit_and_arrows(panel: Panel, served: Served):
    panel.ask("first")
    panel.answers.last.get_by_role("button", name="Regenerate").click()
    expect(panel.answers.last.locator(".branches")).to_contain_text("2/2")
    panel.rest()
    panel.answers.last.get_by_role("button", name="Previous branch").click()
    expect(panel.answers.last.locator(".branches")).to_contain_text("1/2")
    panel.ask("follow-up")
    panel.questions.first.get_by_role("button", name="Edit").click()
    panel.page.get_by_label("Edit message").fill("edited")
    panel.button("Ask again").click()
    expect(panel.questions).to_have_count(1)
    expect(panel.questions.first).to_contain_text("edited")
    expect(panel.answers.last).to_contain_text("edited")
    panel.rest()
    panel.questions.first.get_by_role("button", name="Previous branch").click()
    expect(panel.questions).to_have_count(2)
    expect(panel.answers.last).to_contain_text("follow-up")
    tree = served.messages(session_of(served))
    assert [m["content"] for m in tree] == [
        "first", "first", "first", "follow-up", "follow-up", "edited", "edited",
    ]  # fmt: skip
    panel.button("Branches").click()
    outline = panel.page.locator(".outline button")
    expect(outline).to_have_count(7)
    outline.filter(has_text="edited").first.click()
    expect(panel.questions.first).to_contain_text("edited")


def test_an_answer_is_edited_and_gone_on_from(panel: Panel, served: Served):
    panel.choose_briefly("small")
    panel.ask("Hi")
    panel.answers.last.get_by_role("button", name="Edit").click()
    panel.page.get_by_label("Edit message").fill("The capital")
    panel.button("Save").click()
    expect(panel.answers.last.locator(".markdown")).to_have_text("The capital")
    panel.answers.last.get_by_role("button", name="Continue this answer").click()
    expect(panel.answers.last.locator(".branches")).to_contain_text("3/3")
    panel.rest()
    kept = served.messages(session_of(served))
    assert kept[-1]["content"].startswith("The capital")
    assert len(kept[-1]["content"]) > len("The capital")
    assert kept[-1]["parent_id"] == kept[0]["id"]
    # One that ended at its limit goes on from its own tokens.
    panel.answers.last.get_by_role("button", name="Continue this answer").click()
    expect(panel.answers.last.locator(".branches")).to_contain_text("4/4")
    panel.rest()
    longer = served.messages(session_of(served))[-1]
    ids = kept[-1]["details"]["token_ids"]
    assert longer["details"]["token_ids"][: len(ids)] == ids
    assert longer["details"]["prefix_tokens"] == len(ids)


def test_delete_and_undo(panel: Panel, served: Served):
    panel.ask("one")
    panel.ask("two")
    panel.questions.last.get_by_role("button", name="Delete").click()
    expect(panel.questions).to_have_count(1)
    assert len(served.messages(session_of(served))) == 2
    panel.button("Undo").click()
    expect(panel.questions).to_have_count(2)
    expect(panel.answers.last).to_contain_text("two")
    assert len(served.messages(session_of(served))) == 4


def test_system_prompt_and_sampling_reach_the_engine(panel: Panel, served: Served):
    panel.choose("small")
    panel.button("Settings").click()
    panel.page.get_by_label("System prompt").fill("Be brief.")
    panel.page.get_by_label("Preset").select_option("creative")
    panel.page.get_by_label("Seed").fill("7")
    panel.page.get_by_label("Answer length").fill("5")
    panel.page.get_by_label("Answer length").blur()
    panel.ask("Hi")
    session = session_of(served)
    assert served.call("GET", f"/v1/sessions/{session}")["system"] == "Be brief."
    details = served.messages(session)[-1]["details"]
    assert details["completion_tokens"] == 5
    assert details["sampling"] == {
        "max_tokens": 5, "temperature": 1.1, "top_p": 0.98, "min_p": 0.02, "seed": 7,
    }  # fmt: skip
    panel.page.get_by_label("Top-k").fill("3")
    panel.page.get_by_label("Top-k").blur()
    expect(panel.page.get_by_role("combobox", name="Preset")).to_have_value("custom")
    panel.page.get_by_label("Name of the preset").fill("mine")
    panel.button("Save as preset").click()
    panel.reload()
    panel.button("Settings").click()
    expect(panel.page.get_by_role("combobox", name="Preset")).to_have_value("mine")
    expect(panel.page.get_by_label("System prompt")).to_have_value("Be brief.")
    panel.choose("echo")
    expect(panel.page.get_by_label("Seed")).to_be_enabled()
    expect(panel.page.get_by_label("Top-p")).to_be_enabled()


def test_the_model_changes_in_mid_conversation(panel: Panel):
    panel.ask("Hi")
    panel.choose("small")
    panel.ask("And you?")
    expect(panel.answers.first.locator(".who")).to_have_text("echo")
    expect(panel.answers.last.locator(".who")).to_have_text("small")


def test_themes_and_languages(panels: NewPanel):
    panel = panels(color_scheme="dark").open()
    ground = """getComputedStyle(document.querySelector("body > div").shadowRoot
        .querySelector(".panel")).backgroundColor"""
    dark = panel.page.evaluate(ground)
    panel.button("Settings").click()
    panel.page.get_by_label("Theme").select_option("light")
    expect(panel.page.locator(".panel")).to_have_attribute("data-theme", "light")
    assert panel.page.evaluate(ground) != dark
    panel.page.get_by_label("Language").select_option("zh")
    expect(panel.page.get_by_role("button", name="新对话", exact=True)).to_be_visible()
    panel.reload()
    expect(panel.page.get_by_role("button", name="发送", exact=True)).to_be_visible()
    assert panel.page.evaluate("document.documentElement.lang") == "zh"
    expect(panel.page.locator(".panel")).to_have_attribute("data-theme", "light")
    chinese = panels(locale="zh-CN")
    chinese.page.goto(chinese.url)
    expect(chinese.page.get_by_label("消息", exact=True)).to_be_visible()


def test_the_keyboard_does_everything(panel: Panel):
    page = panel.page
    panel.field.press("Shift+Enter")
    panel.field.type("x")
    assert panel.field.input_value() == "\nx"
    panel.ask("first")
    panel.field.press("ArrowUp")
    editor = page.get_by_label("Edit message")
    panel.has_focus(editor)
    editor.press("Escape")
    expect(editor).to_have_count(0)
    page.locator(".thread").focus()
    page.keyboard.press("k")
    panel.has_focus(panel.answers.last)
    page.keyboard.press("r")
    expect(panel.answers.last.locator(".branches")).to_contain_text("2/2")
    panel.rest()
    panel.answers.last.focus()
    page.keyboard.press("ArrowLeft")
    expect(panel.answers.last.locator(".branches")).to_contain_text("1/2")
    page.keyboard.press("3")
    expect(page.get_by_role("complementary", name="Branches")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("complementary", name="Branches")).to_have_count(0)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("/")
    panel.has_focus(panel.field)
    page.keyboard.press("Control+k")
    panel.has_focus(page.get_by_label("Search chats"))
    page.keyboard.press("Alt+n")
    expect(panel.questions).to_have_count(0)
    panel.has_focus(panel.field)
    panel.choose("slow")
    panel.type(LONG)
    expect(panel.answers.last).to_contain_text("one two")
    page.keyboard.press("Escape")
    expect(panel.answers.last.locator(".end")).to_have_text("stopped")


def test_a_thousand_messages_stay_smooth(panel: Panel, served: Served):
    """Most of them are not laid out, and an answer draws frames, not tokens."""
    parts = [f"message {i} with **bold** and `code`" for i in range(1000)]
    document = [{"title": "long", "messages": [
        {"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(parts)
    ]}]  # fmt: skip
    served.call("POST", "/v1/sessions/import", document)
    panel.reload()
    panel.button("long").click()
    expect(panel.page.locator("[data-message]")).to_have_count(1000)
    expect(panel.answers.last).to_be_in_viewport()
    assert panel.page.locator(".markdown.bare").count() > 900
    panel.page.evaluate("""() => {
        const root = document.querySelector("body > div").shadowRoot;
        window.drawn = 0;
        const count = new MutationObserver(() => window.drawn++);
        count.observe(root, { subtree: true, childList: true, characterData: true });
        window.frames_ = 0;
        const frame = () => { window.frames_++; requestAnimationFrame(frame); };
        requestAnimationFrame(frame);
    }""")
    panel.ask(LONG)
    drawn, frames = panel.page.evaluate("[window.drawn, window.frames_]")
    # A mutation observer is called at most once a task: far fewer than the 24 x 300 changes.
    assert drawn < 3 * frames + 60
    panel.page.locator(".thread").evaluate("e => { e.scrollTop = e.scrollHeight / 2 }")
    expect(panel.button("To the latest message")).to_be_visible()
    panel.button("To the latest message").click()
    expect(panel.answers.last).to_be_in_viewport()


def test_the_title_follows(panel: Panel):
    panel.ask("A question about rivers")
    expect(panel.page).to_have_title(re.compile("A question about rivers"))
