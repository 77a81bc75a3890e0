"""airust: train a small GPT, take it apart, and run the same weights in Rust engines."""

from typing import Any

__version__ = "0.1.0"

# What notebooks use, loaded when first asked for (PEP 562): name -> module and attribute.
_LAZY = {"check": ("airust.lessons.checker", "check")}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'airust' has no attribute '{name}'")
    from importlib import import_module

    module, attribute = _LAZY[name]
    return getattr(import_module(module), attribute)
