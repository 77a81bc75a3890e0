"""Rust programs: repair compile errors with a language model."""

COMMANDS = ("fix",)
