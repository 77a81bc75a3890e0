"""What holds for the page and for the panel in a notebook: no script runs, everybody can use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

HERE = Path(__file__).parent
PAYLOADS: list[str] = json.loads((HERE / "payloads.json").read_text("utf-8"))
AXE = (HERE / "axe" / "axe.min.js").read_text("utf-8")


def check_nothing_ran(host: Locator) -> None:
    """Press whatever could be pressed by mistake; then nothing has run, and nothing could.

    Args:
        host: the element whose shadow root is the chat.
    """
    found = host.evaluate("""(host) => {
        const inside = [...host.shadowRoot.querySelectorAll(".message .bubble *")];
        for (const node of inside) {
            for (const kind of ["mouseover", "focus", "toggle", "load", "error"])
                node.dispatchEvent(new Event(kind));
        }
        const bad = inside.filter((node) =>
            ["SCRIPT", "IFRAME", "OBJECT", "EMBED", "STYLE", "LINK", "META", "BASE", "FORM"]
                .includes(node.tagName) ||
            [...node.attributes].some((a) => /^on/i.test(a.name)) ||
            /^\\s*(javascript|vbscript|data:text)/i.test(node.getAttribute("href") ?? "") ||
            (node.tagName === "IMG" && !node.src.startsWith("data:image/")));
        return {
            pwned: window.pwned ?? null, some: inside.length > 0,
            bad: bad.map((node) => node.outerHTML),
        };
    }""")
    assert found == {"pwned": None, "some": True, "bad": []}


def serious(page: Page, within: str | None = None) -> list[Any]:
    """What axe finds serious, with its reasons, in the page or in what a selector finds."""
    page.evaluate(AXE)  # page.evaluate is not subject to the page's CSP
    result = page.evaluate(
        "within => axe.run(within ?? document, { resultTypes: ['violations'] })", within
    )
    return [
        (v["id"], [(n["target"], n["failureSummary"]) for n in v["nodes"][:3]])
        for v in result["violations"]
        if v["impact"] in ("serious", "critical")
    ]
