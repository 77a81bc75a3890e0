"""Models behind an HTTP API in OpenAI's form, run by somebody else."""

from airust.engines.openai.engine import OpenAIEngine

__all__ = ["OpenAIEngine"]
