"""The still picture of attention maps and the logit lens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from airust.bench.plot_style import DPI, VERMILLION, title

COLOURS = "viridis"  # even in lightness, also for the colour-blind
LENS_COLUMNS = 12  # positions of the lens that are drawn, from the end
LONGEST = 9  # characters of a token in a cell
MOST_LABELS = 24  # tokens beside a map
# The first installed one that has a character draws it.
FONTS = [
    "DejaVu Sans", "Noto Sans CJK SC", "Noto Sans SC", "WenQuanYi Micro Hei", "Microsoft YaHei",
    "PingFang SC", "Hiragino Sans GB",
]  # fmt: skip

Lens = Sequence[Sequence[Sequence[Any]]]


def draw(attention: Tensor, tokens: Sequence[str], lens: Lens, chosen: tuple[int, int]) -> Figure:
    """A map for every head, the chosen one framed, above the end of the logit lens."""
    layers, heads = attention.shape[:2]
    height = 2.0 * layers + 0.36 * len(lens) + 1.2
    figure = Figure(figsize=(10.0, height), dpi=DPI, layout="constrained")
    heights = (2.0 * layers, 0.36 * len(lens) + 1.0)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    grid = upper.subplots(layers, heads, squeeze=False)
    for layer in range(layers):
        for head in range(heads):
            axes = grid[layer][head]
            image = _map(axes, attention[layer, head], tokens, (layer, head) == chosen)
            title(axes, f"layer {layer + 1}, head {head + 1}")
    upper.colorbar(image, ax=grid, label="attention weight", shrink=0.6)
    _lens(lower.subplots(), tokens, lens)
    _settle_fonts(figure)
    return figure


def _map(axes: Axes, weights: Tensor, tokens: Sequence[str], chosen: bool) -> Any:
    image = axes.imshow(weights.cpu().numpy(), cmap=COLOURS, vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    if len(tokens) <= MOST_LABELS and axes.get_subplotspec().is_first_col():  # type: ignore[union-attr]
        axes.set_yticks(range(len(tokens)), [_short(t) for t in tokens], fontsize=5.5)
        axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(chosen)
        spine.set_color(VERMILLION)
        spine.set_linewidth(2.5)
    return image


def _lens(axes: Axes, tokens: Sequence[str], lens: Lens) -> None:
    first = max(0, len(tokens) - LENS_COLUMNS)
    shown = [[positions[t][0] for t in range(first, len(tokens))] for positions in lens]
    axes.imshow(
        [[probability for _, probability in row] for row in shown],
        cmap=COLOURS, vmin=0, vmax=1, aspect="auto",
    )  # fmt: skip
    for y, row in enumerate(shown):
        for x, (token, probability) in enumerate(row):
            colour = "black" if probability > 0.6 else "white"
            axes.text(x, y, _short(token), ha="center", va="center", fontsize=7.5, color=colour)
    names = ["embedding", *(f"layer {n}" for n in range(1, len(lens)))]
    axes.set_yticks(range(len(lens)), names, fontsize=8)
    axes.set_xticks(range(len(tokens) - first), [_short(t) for t in tokens[first:]], fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("after reading this token; brighter is more probable")
    title(axes, "Logit lens: the likeliest next token after each layer")


def _short(token: str) -> str:
    text = token.replace("$", r"\$")  # else matplotlib reads formulas
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _settle_fonts(figure: Figure) -> None:
    """Draw all text in the fonts above."""
    installed = {entry.name for entry in matplotlib.font_manager.fontManager.ttflist}
    chosen = [name for name in FONTS if name in installed] or ["sans-serif"]
    for text in figure.findobj(matplotlib.text.Text):
        text.set_fontfamily(chosen)


def describe(attention: Tensor, tokens: Sequence[str], lens: Lens) -> str:
    """The same in words: the last token's strongest head, and what the layers predict after it."""
    layers, heads = attention.shape[:2]
    last = attention[:, :, -1]  # (L, H, T)
    best = int(last.reshape(-1).argmax())
    layer, rest = divmod(best, heads * len(tokens))
    head, target = divmod(rest, len(tokens))
    told = ", ".join(f"'{positions[-1][0][0]}' ({positions[-1][0][1]:.0%})" for positions in lens)
    return (
        f"Attention maps of {layers} layers with {heads} heads over {len(tokens)} tokens. "
        f"At the last token '{tokens[-1]}', layer {layer + 1} head {head + 1} looks most strongly: "
        f"{float(last.max()):.0%} at '{tokens[target]}'. Predicted after it by the embedding and "
        f"then each layer: {told}."
    )
