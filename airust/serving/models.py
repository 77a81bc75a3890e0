"""The models that are served, by name, and how much each has to do.

>>> from airust.engines.dummy import DummyEngine
>>> models = Models({"echo": DummyEngine()}, most_pending=8)
>>> models.find("echo").engine.name, models.find(None).name, models.names
('dummy', 'echo', ['echo'])
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from airust.engines.base import Engine
from airust.serving.errors import ApiError, overloaded


class ServedModel:
    """An engine under a name, with a cap on the answers in progress."""

    def __init__(self, name: str, engine: Engine, most_pending: int) -> None:
        self.name, self.engine = name, engine
        self.created = int(time.time())
        self.pending = 0  # answers in progress, waiting ones too
        self._most_pending = most_pending

    def admit(self, answers: int) -> None:
        """Make room for so many answers.

        Raises:
            ApiError: there are too many.
        """
        if self.pending + answers > self._most_pending:
            raise overloaded(
                f"The model '{self.name}' has {self.pending} answers in progress; try again soon."
            )
        self.pending += answers


class Models:
    """All of them. The first is what a request without a model gets."""

    def __init__(self, engines: Mapping[str, Engine], most_pending: int) -> None:
        self._models = {n: ServedModel(n, e, most_pending) for n, e in engines.items()}

    @property
    def names(self) -> list[str]:
        """What clients call them."""
        return list(self._models)

    @property
    def pending(self) -> int:
        """Answers in progress, of all."""
        return sum(model.pending for model in self)

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    def find(self, name: str | None) -> ServedModel:
        """The model of that name, or the first.

        Raises:
            ApiError: there is none of that name.
        """
        if name is None:
            return next(iter(self))
        if name not in self._models:
            known = ", ".join(self.names)
            message = f"There is no model '{name[:100]}' here; the models are: {known}."
            raise ApiError(404, message, "model_not_found", "model")
        return self._models[name]
