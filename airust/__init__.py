"""airust: train a small GPT, take it apart, and run the same weights in Rust engines."""

__version__ = "0.1.0"
