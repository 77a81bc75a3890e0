"""The chat front end: plain ES modules for the page of ``airust serve`` and for notebooks.

There is no build step. ``main.js`` exports ``mount``; ``transport/README.md`` says what a host has
to give it. ``vendor/`` holds libraries as they come from npm, with their licences and hashes.

>>> (FOLDER / "main.js").is_file()
True
"""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
