"""Keep an answer in a capsule, and see later whether the same answer comes again."""

COMMANDS = ("save", "run")
