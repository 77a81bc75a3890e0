"""Measure engines against each other, and what the machine can do at best."""

COMMANDS = ("engines", "serve", "train", "ceilings", "compare")
