"""airust: train a small GPT, take it apart, and run the same weights in Rust engines."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airust.lessons.checker import check
    from airust.widgets.attention import AttentionView
    from airust.widgets.chat import ChatPanel
    from airust.widgets.training import TrainingMonitor

__version__ = "0.1.0"
__all__ = ["AttentionView", "ChatPanel", "TrainingMonitor", "check"]

# What notebooks use, loaded when first asked for (PEP 562): name -> module and attribute.
_LAZY = {
    "AttentionView": ("airust.widgets.attention", "AttentionView"),
    "ChatPanel": ("airust.widgets.chat", "ChatPanel"),
    "TrainingMonitor": ("airust.widgets.training", "TrainingMonitor"),
    "check": ("airust.lessons.checker", "check"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'airust' has no attribute '{name}'")
    from importlib import import_module

    module, attribute = _LAZY[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
