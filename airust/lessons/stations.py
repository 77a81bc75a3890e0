"""The notebooks of the path, and which needs which.

>>> needs("07")
('03', '02')
"""

from __future__ import annotations

# id -> short name, column, row, group
STATIONS: dict[str, tuple[str, float, float, str]] = {
    "00": ("start here", 0, 2, "start"),
    "01": ("map of AI", 1, 4, "foundations"),
    "02": ("linear algebra", 1, 3, "foundations"),
    "03": ("probability", 1, 2, "foundations"),
    "04": ("autograd", 2, 3, "training"),
    "05": ("optimisers", 3, 3, "training"),
    "06": ("tokenizer", 3, 1, "training"),
    "07": ("attention", 3, 2, "training"),
    "08": ("pretraining", 4, 2.5, "training"),
    "09": ("scaling", 5, 4, "training"),
    "10": ("tuning", 5, 3, "training"),
    "11": ("KV cache", 5, 2, "inference"),
    "12": ("quantisation", 6, 3, "inference"),
    "13": ("roofline", 5, 1, "inference"),
    "14": ("all engines", 6, 2, "inference"),
    "15": ("statistics", 6, 1, "inference"),
    "16": ("serving", 7, 2, "serving"),
    "17": ("operation", 8, 2, "serving"),
    "R1": ("Rust", 1, 0, "rust"),
    "R2": ("forward pass", 4, 0, "rust"),
    "R3": ("concurrency", 5, 0, "rust"),
    "R4": ("Rust / Python", 6, 0, "rust"),
    "R5": ("repair", 7, 0, "rust"),
}
NEEDS = (
    ("00", "01"), ("00", "02"), ("00", "03"), ("00", "R1"), ("02", "04"), ("03", "06"),
    ("03", "07"), ("04", "05"), ("05", "08"), ("06", "08"), ("07", "08"), ("02", "07"),
    ("08", "09"), ("08", "10"), ("08", "11"), ("08", "13"), ("10", "12"), ("11", "14"),
    ("13", "15"), ("12", "16"), ("14", "16"), ("15", "16"), ("16", "17"), ("R1", "R2"),
    ("R2", "R3"), ("07", "R2"), ("R3", "R4"), ("R4", "R5"), ("15", "R4"),
)  # fmt: skip


def needs(number: str) -> tuple[str, ...]:
    """The notebooks whose subject should be known before this one."""
    return tuple(first for first, second in NEEDS if second == number)
