"""The field of AI as data: branches, topics, founding works; and the layers of a system of 2025.

Notebook 01 and docs/taxonomy_2025.md show the same data, as figures and as tables. The branches
order the keyword groups of the AAAI conference; the years are those of the works.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from airust.lessons.figure import COLOURS, GREY, new_figure


@dataclass(frozen=True, slots=True)
class Topic:
    """A part of a branch."""

    name: str
    chinese: str
    year: int
    work: str  # the founding work, as one would cite it


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of the field."""

    key: str  # one word, as exercises and figures use it
    name: str
    chinese: str
    topics: tuple[Topic, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of a system as it was built in 2025, with what it borrows from which branches."""

    name: str
    parts: str
    branches: tuple[str, ...]  # keys of FIELD
    notebooks: str


FIELD = (
    Branch("search", "Search and planning", "搜索与规划", (
        Topic("heuristic search", "启发式搜索", 1968, "Hart, Nilsson, Raphael, A*"),
        Topic("constraints", "约束求解", 1974, "Montanari, networks of constraints"),
        Topic("planning", "规划", 1971, "Fikes, Nilsson, STRIPS"),
        Topic("game playing", "博弈", 1950, "Shannon, a computer for playing chess"),
    )),
    Branch("logic", "Knowledge and logic", "知识与逻辑", (
        Topic("theorem proving", "定理证明", 1956, "Newell, Simon, the Logic Theorist"),
        Topic("knowledge bases", "知识库", 1976, "Shortliffe, MYCIN"),
        Topic("argumentation", "论辩", 1995, "Dung, acceptability of arguments"),
        Topic("formal verification", "形式化验证", 1969, "Hoare, an axiomatic basis"),
    )),
    Branch("uncertainty", "Uncertainty", "不确定性", (
        Topic("Bayesian networks", "贝叶斯网络", 1985, "Pearl, Bayesian networks"),
        Topic("Markov decisions", "马尔可夫决策", 1957, "Bellman, a Markovian decision process"),
        Topic("causality", "因果", 2000, "Pearl, *Causality*"),
    )),
    Branch("learning", "Learning from data", "机器学习", (
        Topic("supervised", "监督学习", 1958, "Rosenblatt, the perceptron"),
        Topic("clustering", "聚类", 1957, "Lloyd, k-means (printed 1982)"),
        Topic("deep learning", "深度学习", 1986, "Rumelhart, Hinton, Williams, back-propagation"),
        Topic("reinforcement", "强化学习", 1988, "Sutton, temporal differences"),
        Topic("generative", "生成模型", 2013, "Kingma, Welling, variational autoencoder"),
    )),
    Branch("language", "Language", "语言", (
        Topic("n-grams", "n 元语法", 1948, "Shannon, a mathematical theory of communication"),
        Topic("translation", "机器翻译", 1954, "Georgetown-IBM experiment"),
        Topic("language models", "语言模型", 2003, "Bengio and others, a neural language model"),
        Topic("tool use and agents", "工具与智能体", 2021, "Nakano and others, WebGPT"),
    )),
    Branch("perception", "Perception and robots", "感知与机器人", (
        Topic("vision", "视觉", 1966, "Papert, the Summer Vision Project"),
        Topic("speech", "语音", 1971, "ARPA, Speech Understanding Research"),
        Topic("robotics", "机器人", 1966, "SRI, Shakey"),
    )),
    Branch("society", "People and society", "人与社会", (
        Topic("multi-agent", "多智能体", 1980, "Smith, the contract net"),
        Topic("fairness and safety", "公平与安全", 2016, "Amodei and others, concrete problems"),
        Topic("interpretability", "可解释性", 2017, "Doshi-Velez, Kim, a rigorous science"),
    )),
)  # fmt: skip

SYSTEM = (
    Layer("People and rules", "purpose, evaluation, law", ("society",), "01, 15"),
    Layer("Checks", "tests, compilers, provers, argumentation", ("logic",), "01, R3, R5"),
    Layer("Agent loop", "plan, tools, memory, retrieval", ("search", "language"), "R5"),
    Layer("Service", "API, batching, sessions, limits", ("society",), "16, 17"),
    Layer("Engine", "kernels, KV cache, bits, sampling", ("search", "uncertainty"), "11-14, R2"),
    Layer("Model", "tokenizer, transformer", ("language", "perception"), "06, 07"),
    Layer("Post-training", "instructions, preferences, rewards", ("learning", "society"), "10"),
    Layer("Pretraining", "text, gradients, scale", ("learning", "uncertainty"), "03-05, 08, 09"),
)

FIELD_ALT = (
    "Sunburst of the field: an inner ring of seven branches, search, knowledge, uncertainty, "
    "machine learning, language, perception, people; an outer ring with their topics and founding "
    "years from 1948 to 2021."
)
SYSTEM_ALT = (
    "Eight layers of an AI system of 2025, from bottom to top: pretraining, post-training, model, "
    "engine, service, agent loop, checks, people and rules; beside each the branches of the field "
    "that it borrows from, as coloured dots, and the notebooks about it. An arrow leads from the "
    "checks back to post-training: what is verified becomes a reward."
)
COLOUR = dict(zip((branch.key for branch in FIELD), COLOURS, strict=True))


def field_map(until: int = 2025, branch: str = "") -> Figure:
    """A sunburst; topics younger than `until` and all but one `branch` (a key) can be faded."""
    figure = new_figure(6.6, 5.6)
    axes = _whole(figure, projection="polar")
    total, at = sum(len(each.topics) for each in FIELD), 0.0
    for each in FIELD:
        wide = len(each.topics) / total * 2 * math.pi
        shown = 0.15 if branch and branch != each.key else 0.9
        axes.bar(at + wide / 2, 1, wide * 0.97, bottom=0.9, color=COLOUR[each.key], alpha=shown)
        axes.text(
            at + wide / 2, 1.4, each.name.split()[0], ha="center", va="center", fontsize=7,
            color="white" if shown > 0.5 else "black",
        )  # fmt: skip
        for number, topic in enumerate(each.topics):
            angle = at + (number + 0.5) * wide / len(each.topics)
            there = 0.45 if topic.year <= until else 0.06
            _ray(axes, angle, wide / len(each.topics), COLOUR[each.key], there * (shown + 0.1))
            turn = math.degrees(angle) + (0 if math.cos(angle) > 0 else 180)
            axes.text(
                angle, 2.7, f"{topic.name}\n{topic.year}", ha="center", va="center", fontsize=5.8,
                rotation=turn,
            )  # fmt: skip
        at += wide
    axes.set_ylim(0, 3.5)
    return figure


def _whole(figure: Figure, projection: str | None = None) -> Axes:
    """Axes without a frame that fill the figure; there is nothing to lay out."""
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1), projection=projection)
    axes.axis("off")
    return axes


def _ray(axes: Axes, angle: float, wide: float, colour: str, alpha: float) -> None:
    axes.bar(angle, 1.5, wide * 0.94, bottom=1.95, color=colour, alpha=alpha)


def system_map() -> Figure:
    """The layers as boxes, the branches as dots, the notebooks at the right."""
    figure = new_figure(8.4, 4.6)
    axes = _whole(figure)
    axes.set(xlim=(0, 10.6), ylim=(-0.9, len(SYSTEM)))
    heights = {layer.name: len(SYSTEM) - 1 - row for row, layer in enumerate(SYSTEM)}
    for layer in SYSTEM:
        y = heights[layer.name]
        axes.add_patch(
            FancyBboxPatch(
                (0.05, y + 0.08), 6.5, 0.76, boxstyle="round,pad=0,rounding_size=0.08",
                facecolor="white", edgecolor=COLOUR[layer.branches[0]], lw=1.6,
            )
        )  # fmt: skip
        axes.text(0.25, y + 0.46, layer.name, va="center", fontsize=9, weight="bold")
        axes.text(2.3, y + 0.46, layer.parts, va="center", fontsize=8.5)
        for number, key in enumerate(layer.branches):
            axes.plot(7.75 + 0.3 * number, y + 0.46, "o", color=COLOUR[key], ms=8)
        axes.text(8.6, y + 0.46, layer.notebooks, va="center", fontsize=8.5)
    axes.add_patch(
        FancyArrowPatch(
            (6.6, heights["Checks"] + 0.46), (6.6, heights["Post-training"] + 0.46),
            connectionstyle="arc3,rad=-0.22", arrowstyle="-|>", mutation_scale=12, color=GREY,
        )
    )  # fmt: skip
    axes.text(7.3, 4.0, "rewards", rotation=270, va="center", fontsize=8, color=GREY)
    for number, each in enumerate(FIELD):
        axes.plot(0.2 + 1.5 * number, -0.5, "o", color=COLOUR[each.key], ms=7)
        axes.text(0.38 + 1.5 * number, -0.5, each.name.split()[0], va="center", fontsize=8)
    return figure


def field_table() -> str:
    """FIELD as a Markdown table."""
    lines = ["| Branch | Topic | Founding work |", "|---|---|---|"]
    for branch in FIELD:
        for topic in branch.topics:
            first = f"{branch.name} {branch.chinese}" if topic is branch.topics[0] else ""
            lines.append(f"| {first} | {topic.name} {topic.chinese} | {topic.work}, {topic.year} |")
    return "\n".join(lines)
