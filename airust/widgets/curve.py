"""A training curve that stays short however long the run is, for drawing it live.

>>> curve = Curve(most=4)
>>> for step in range(1, 7):
...     curve.add(step, loss=10.0 - step, lr=1.0, tokens_per_s=100.0)
>>> curve.columns["step"], curve.columns["loss"]
([2, 4, 6], [8.5, 6.5, 4.5])
"""

from __future__ import annotations

NAMES = ("step", "loss", "lr", "tokens_per_s")


class Curve:
    """Points, each the mean of ``stride`` steps; the stride doubles when there are too many.

    Args:
        most: points to keep at most.
    """

    def __init__(self, most: int = 600) -> None:
        self._most = most
        self.stride = 1
        self.columns: dict[str, list[float]] = {name: [] for name in NAMES}
        self.validation: list[tuple[int, float]] = []  # (step, loss), all of them
        self._gathered: list[tuple[float, float, float]] = []

    def add(self, step: int, *, loss: float, lr: float, tokens_per_s: float) -> None:
        """One step more."""
        self._gathered.append((loss, lr, tokens_per_s))
        if len(self._gathered) < self.stride:
            return
        means = [sum(values) / self.stride for values in zip(*self._gathered, strict=True)]
        self._gathered.clear()
        for name, value in zip(NAMES, (step, *means), strict=True):
            self.columns[name].append(value)
        if len(self.columns["step"]) >= self._most:
            self._halve()

    def _halve(self) -> None:
        self.stride *= 2
        for name, values in self.columns.items():
            pairs = zip(values[::2], values[1::2], strict=False)
            self.columns[name] = [b if name == "step" else (a + b) / 2 for a, b in pairs]
