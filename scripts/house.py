"""Draw docs/images/house.svg: the parts of airust as the floors of a house.

    python scripts/house.py

Each floor stands on those below it and imports from nowhere else. The test of this script holds
the floors equal to the levels that ``tests/test_imports.py`` checks.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images" / "house.svg"

# From the ground up: part, what it is, colour. Okabe and Ito's (2008), as in the notebooks.
GREY, BLUE, SKY, GREEN, ORANGE, PURPLE, RED = (
    "#6B6B6B", "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#CC79A7", "#D55E00",
)  # fmt: skip
FLOORS: tuple[tuple[tuple[str, str, str], ...], ...] = (
    (("types", "messages, requests, events, errors", GREY),),
    (
        ("files", "written whole", GREY),
        ("settings", "TOML, environment, command line", GREY),
        ("corpus", "facts, curriculum, exam", GREY),
    ),
    (("gpt", "the model, its training, its files: one readable file a part", BLUE),),
    (
        ("engines", "one contract: torch, transformers, mistral.rs, candle, ...", GREEN),
        ("ui", "the chat front end", SKY),
    ),
    (
        ("serving", "HTTP, sessions, limits", ORANGE),
        ("bench", "measure, compare, report", ORANGE),
        ("rust", "compile, run, repair", RED),
    ),
    (
        ("widgets", "chat, training, attention in a notebook", PURPLE),
        ("watch", "what is new in the field", SKY),
    ),
    (("lessons", "what the notebooks check and draw", PURPLE),),
    (("cli", "train  ask  chat  export  parity  bench  report  serve  watch", GREY),),
)
# Who comes in from outside, and on which floor.
VISITORS = (
    ("a terminal", "cli"),
    ("a notebook", "lessons"),
    ("a browser, an OpenAI client", "serving"),
    ("weights, GGUF, hub names", "engines"),
    ("your own text", "gpt"),
)
ALT = (
    "The parts of airust as a house. Ground: types, then files, settings and corpus. Above them "
    "gpt, the model; then engines and the chat front end ui; then serving, bench and rust; then "
    "widgets and watch; then lessons; under the roof the command line, cli. Each floor imports "
    "from floors below it only. From the left a terminal enters at cli, a notebook at lessons, a "
    "browser or an OpenAI client at serving, model files at engines, and text to train on at gpt."
)

WIDTH, FLOOR, GAP = 960, 62, 8
LEFT, RIGHT, ROOF = 250, 930, 84


def draw() -> str:
    """The picture as SVG."""
    height = ROOF + len(FLOORS) * (FLOOR + GAP) + 34
    body = [
        f'<rect width="{WIDTH}" height="{height}" fill="#FFFFFF"/>',
        f'<path d="M {LEFT - 24} {ROOF} L {(LEFT + RIGHT) / 2:g} 14 L {RIGHT + 24} {ROOF} Z" '
        'fill="#F2F2F2" stroke="#6B6B6B" stroke-width="1.5"/>',
        _text((LEFT + RIGHT) / 2, ROOF - 22, "airust", 22, bold=True),
    ]
    for level, parts in enumerate(reversed(FLOORS)):
        top = ROOF + GAP + level * (FLOOR + GAP)
        body += _floor(parts, top)
    body.append(
        _text((LEFT + RIGHT) / 2, height - 12, "each floor imports from floors below it", 13)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-labelledby="title" font-family="Helvetica, Arial, sans-serif">\n'
        f'<title id="title">{escape(ALT)}</title>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _floor(parts: tuple[tuple[str, str, str], ...], top: float) -> list[str]:
    lines = []
    # A room is as wide as its words need.
    weights = [max(len(what), 16) for _, what, _ in parts]
    free = RIGHT - LEFT - GAP * (len(parts) - 1)
    x = float(LEFT)
    for (name, what, colour), weight in zip(parts, weights, strict=True):
        wide = free * weight / sum(weights)
        lines.append(
            f'<rect x="{x:.1f}" y="{top}" width="{wide:.1f}" height="{FLOOR}" rx="6" '
            f'fill="{colour}" fill-opacity="0.13" stroke="{colour}" stroke-width="1.5"/>'
        )
        lines.append(_text(x + wide / 2, top + 26, name, 17, bold=True))
        lines.append(_text(x + wide / 2, top + 47, what, 12.5))
        x += wide + GAP
    for visitor, part in VISITORS:
        if part in (name for name, _, _ in parts):
            middle = top + FLOOR / 2
            lines.append(_text(LEFT - 48, middle + 4, visitor, 13, anchor="end"))
            lines.append(
                f'<path d="M {LEFT - 42} {middle:g} H {LEFT - 8} m -7 -5 l 7 5 l -7 5" fill="none" '
                'stroke="#6B6B6B" stroke-width="1.5"/>'
            )
    return lines


def _text(
    x: float, y: float, words: str, size: float, *, bold: bool = False, anchor: str = "middle"
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:g}" font-size="{size:g}" text-anchor="{anchor}"{weight} '
        f'fill="#222222">{escape(words)}</text>'
    )


if __name__ == "__main__":
    TARGET.write_text(draw(), encoding="utf-8", newline="\n")
    print(TARGET)
