"""``python -m airust`` is the same as ``airust``."""

from airust.cli import main

main()
