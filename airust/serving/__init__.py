"""The inference service: engines behind OpenAI's HTTP API.

    from airust.serving import create_app
    app = create_app(engine)            # an ASGI application; any engine, or several by name

The way of a request, from the outside in: ``middleware/`` (ids, caps, keys, limits), ``api/``
(what it means), ``generation`` (n answers from an engine), ``relay`` (from the engine's thread to
the event loop), and back out through ``sse`` or as JSON. ``sessions/`` keeps conversations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airust.serving.app import create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> object:
    # The framework is loaded when an app is made, not when a part of the package is imported.
    if name == "create_app":
        from airust.serving.app import create_app

        return create_app
    raise AttributeError(name)
