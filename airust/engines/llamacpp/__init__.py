"""llama.cpp: an inference engine in C++, here with our own scheduler and sampler."""

from airust.engines.llamacpp.engine import LlamaCppEngine

__all__ = ["LlamaCppEngine"]
