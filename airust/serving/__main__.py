"""The smallest service: ``python -m airust.serving`` answers as an echo on PORT, or on 8080."""

from __future__ import annotations

import sys

from airust.engines.dummy import DummyEngine
from airust.serving.app import create_app
from airust.serving.server import serve
from airust.settings import load_settings


def main() -> None:
    """Serve until Ctrl+C or SIGTERM."""
    settings = load_settings(defaults={"server": {"port": 8080}})
    with DummyEngine() as engine:
        serve(
            create_app(engine, settings),
            settings,
            lambda url: print(f"Serving an echo at {url}  (Ctrl+C stops)", file=sys.stderr),
        )


if __name__ == "__main__":
    main()
