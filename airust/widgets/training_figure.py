"""The still picture of a training run."""

from __future__ import annotations

from matplotlib.figure import Figure

from airust.bench.plot_style import (
    BLUE,
    DPI,
    GREEN,
    GREY,
    PURPLE,
    THOUSANDS,
    VERMILLION,
    tidy,
    title,
)
from airust.widgets.curve import Curve


def draw(curve: Curve, heading: str) -> Figure:
    """Loss at the left; learning rate and speed at the right."""
    figure = Figure(figsize=(10.0, 3.6), dpi=DPI, layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(2, 1))
    steps = curve.columns["step"]
    loss = figure.add_subplot(grid[:, 0])
    loss.plot(steps, curve.columns["loss"], color=BLUE, linewidth=1.4, label="training")
    if curve.validation:
        at, losses = zip(*curve.validation, strict=True)
        loss.plot(at, losses, "o-", color=VERMILLION, markersize=4, label="validation")
        loss.legend(frameon=False, fontsize=9)
    loss.set_ylabel("loss (nats per token)")
    loss.set_ylim(bottom=0)
    title(loss, heading)
    rate = figure.add_subplot(grid[0, 1])
    rate.plot(steps, curve.columns["lr"], color=PURPLE, linewidth=1.4)
    title(rate, "learning rate (share of peak)")
    speed = figure.add_subplot(grid[1, 1])
    speed.plot(steps, curve.columns["tokens_per_s"], color=GREEN, linewidth=1.4)
    speed.yaxis.set_major_formatter(THOUSANDS)
    title(speed, "tokens/s")
    for axes in (rate, speed):
        axes.set_ylim(bottom=0)
    for axes in (loss, rate, speed):
        tidy(axes, "y")
    for axes in (loss, speed):
        axes.set_xlabel("step")
        axes.xaxis.set_major_formatter(THOUSANDS)
    if not steps:
        loss.text(0.5, 0.5, "no step yet", transform=loss.transAxes, color=GREY, ha="center")
    return figure


def describe(curve: Curve, state: str, step: int, steps: int) -> str:
    """The same in words."""
    if not curve.columns["loss"]:
        return f"Training, {state}: no step of {steps} yet."
    first, last = curve.columns["loss"][0], curve.columns["loss"][-1]
    text = (
        f"Training, {state} at step {step} of {steps}. "
        f"The loss goes from {first:.3f} to {last:.3f} nats per token"
    )
    if curve.validation:
        text += f", the validation loss is {curve.validation[-1][1]:.3f}"
    return f"{text}. Speed at the end: {curve.columns['tokens_per_s'][-1]:,.0f} tokens/s."
