"""Tokens, forks, the context ruler, and races."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.ui.conftest import Panel, Served

pytestmark = pytest.mark.full


def test_tokens_are_coloured_and_explained(panel: Panel, served: Served):
    panel.choose_briefly("small")
    panel.ask("Hi")
    expect(panel.page.locator(".answer-tokens")).to_have_count(0)
    panel.button("Tokens").click()
    tokens = panel.answers.last.locator("[data-token]")
    (session,) = served.call("GET", "/v1/sessions")["data"]
    details = served.messages(session["id"])[-1]["details"]
    expect(tokens).to_have_count(len(details["token_ids"]))
    card = panel.page.locator(".token-card")
    tokens.nth(3).hover()
    expect(card).to_contain_text(str(details["token_ids"][3]))
    for word in ("Probability", "Entropy", "bits", "Time", "ms"):
        expect(card).to_contain_text(word)
    expect(panel.page.locator(".alternative")).to_have_count(10)
    tokens.nth(3).focus()
    panel.page.keyboard.press("ArrowRight")
    panel.has_focus(tokens.nth(4))
    expect(card).to_contain_text(str(details["token_ids"][4]))
    for by in ("entropy", "time", "probability"):
        panel.page.get_by_label("Colour by").select_option(by)
        expect(tokens.nth(4)).to_have_class(re.compile(r"level-\d"))
    # Live answers tell theirs as they come, and a reload asks for them again.
    panel.ask("And now?")
    expect(panel.page.locator(".answer-tokens")).to_have_count(2)
    live = panel.answers.last.locator("[data-token]").all_inner_texts()
    panel.reload()
    expect(panel.page.locator(".answer-tokens")).to_have_count(2)
    assert panel.answers.last.locator("[data-token]").all_inner_texts() == live


def test_only_what_is_near_is_inspected(panel: Panel, served: Served):
    served.chat(*[f"m {i}" for i in range(400)], title="long")
    panel.reload()
    panel.choose("small")
    panel.button("Tokens").click()
    expect(panel.answers.last.locator("[data-token]")).not_to_have_count(0)
    panel.page.locator(".thread").evaluate("e => { e.scrollTop = 0 }")
    expect(panel.answers.first.locator("[data-token]")).not_to_have_count(0)
    assert sum(url.endswith("/v1/inspect") for url in panel.requests) < 150


def test_another_token_forks_the_conversation(panel: Panel, served: Served):
    panel.choose_briefly("small")
    panel.ask("Hi")
    panel.button("Tokens").click()
    panel.answers.last.locator("[data-token]").nth(5).click()
    panel.page.keyboard.press("Enter")
    other = panel.page.locator(".alternative:not(:disabled)").first
    other.click()
    expect(panel.answers.last.locator(".branches")).to_contain_text("2/2")
    panel.rest()
    (session,) = served.call("GET", "/v1/sessions")["data"]
    _, first, fork = served.messages(session["id"])
    old, new = first["details"]["token_ids"], fork["details"]["token_ids"]
    assert new[:5] == old[:5]
    assert new[5] != old[5]
    assert fork["details"]["prefix_tokens"] == 6
    assert len(new) == 6 + 24


def test_characters_in_parts_are_no_trouble(panel: Panel, served: Served):
    panel.choose_briefly("reciter")
    panel.button("Tokens").click()
    panel.ask("Hi")
    tokens = panel.answers.last.locator("[data-token]")
    expect(tokens).to_have_count(24)
    expect(tokens.first).to_have_text("▯")
    panel.page.get_by_label("Colour the tokens of answers").uncheck()
    expect(panel.answers.last.locator(".markdown")).to_contain_text("水🦀abc")


def test_engines_that_cannot_say_so(panel: Panel):
    panel.ask("Hi")
    panel.button("Tokens").click()
    expect(panel.page.get_by_text("This engine does not tell probabilities.")).to_be_visible()
    expect(panel.answers.last.locator(".markdown")).to_have_text("Hi")
    expect(panel.answers.last.get_by_role("button", name="Continue this answer")).to_have_count(0)


def test_the_ruler(panel: Panel, served: Served):
    texts = [f"message {i} " + "Rust has one owner. " * 3 for i in range(12)]
    served.chat(*texts, title="long", system="Be brief.")
    panel.reload()
    panel.choose_briefly("small")
    panel.ask("Hi")
    panel.button("Context").click()
    side = panel.page.get_by_role("complementary", name="Context")
    expect(side).to_contain_text("of 256 tokens")
    expect(side).to_contain_text("left out")
    expect(side).to_contain_text("prefix cache")
    expect(side.locator(".costs li")).to_have_count(14)
    assert side.locator(".costs li.left").count() > 0
    expect(panel.answers.last.locator(".end").last).to_contain_text("left out")
    expect(panel.page.locator("button.meter")).to_contain_text("of 256 tokens")


def test_a_race(panel: Panel, served: Served):
    panel.button("Race").click()
    for name in ("small", "reciter", "echo"):
        panel.page.get_by_role("checkbox", name=name).set_checked(name == "echo")
    expect(panel.page.get_by_text("Choose at least two engines.")).to_be_visible()
    panel.page.get_by_role("checkbox", name="slow").check()
    panel.page.get_by_label("Question for the race").fill("one two three four five")
    panel.button("Start").click()
    expect(panel.page.locator(".verdict")).to_contain_text("All answers are the same")
    for name in ("echo", "slow"):
        lane = panel.page.get_by_role("article", name=name)
        expect(lane.locator(".same")).to_have_text("one two three four five")
        expect(lane.locator("dd").nth(2)).to_have_text("5")
        expect(lane.locator("dd").nth(1)).to_contain_text("ms")
    panel.page.get_by_role("checkbox", name="slow").uncheck()
    panel.page.get_by_role("checkbox", name="small").check()
    panel.page.get_by_label("Order").select_option("turn")
    panel.button("Start").click()
    expect(panel.page.locator(".verdict")).to_contain_text("First difference at")
    expect(panel.page.locator(".lane mark")).to_have_count(2)
    echo = panel.page.get_by_role("article", name="echo")
    echo.get_by_role("button", name="Keep in chat").click()
    expect(panel.answers.last).to_contain_text("one two three four five")
    expect(panel.answers.last.locator(".who")).to_have_text("echo")  # whose answer it was
    (session,) = served.call("GET", "/v1/sessions")["data"]
    assert len(served.messages(session["id"])) == 2


def test_two_engines_race_on_the_same_weights(panel: Panel):
    panel.button("Settings").click()
    panel.page.get_by_label("Answer length").fill("24")
    panel.button("Race").click()
    for name in ("small", "reciter", "echo", "rust"):
        panel.page.get_by_role("checkbox", name=name).set_checked(name in ("small", "rust"))
    panel.page.get_by_label("Question for the race").fill("Why does water flow downhill?")
    panel.button("Start").click()
    verdict = panel.page.locator(".verdict")
    expect(verdict).to_contain_text(re.compile("All answers are the same|First difference"))
    for name in ("small", "rust"):
        lane = panel.page.get_by_role("article", name=name)
        expect(lane.locator("dd").nth(0)).to_have_text(re.compile(r"\d"))  # tokens/s
        expect(lane.locator("dd").nth(1)).to_contain_text("ms")
        expect(lane.locator("dd").nth(2)).to_have_text(re.compile(r"[1-9]"))
        assert lane.locator(".same").inner_text()  # the first tokens at least are the same
