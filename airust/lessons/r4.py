"""How much faster is Rust than Python, and when is that the wrong question?

Checks of notebook R4.
"""

from __future__ import annotations

from typing import Any

from airust.lessons.checker import close, digest, require
from airust.lessons.rust_answers import passes_tests, without


def ex1(answer: Any) -> None:
    """The option that a timing must not go without."""
    require(digest("r4.ex1", answer) == "838bc771c7e6", "Which option makes rustc optimise?")


def ex2(answer: Any) -> None:
    """What is wrong with three benchmarks?"""
    hint = "A: is the result used? B: which build? C: is the same work done on both sides?"
    require(isinstance(answer, dict) and set(answer) == set("ABC"), "Give a dict of A, B and C.")
    wanted = ("6f3d2ec3adee", "b6feeeb396e9", "ff6b149c861a")
    found = tuple(digest("r4.ex2", f"{name} {answer[name]}") for name in "ABC")
    require(found == wanted, hint)


def ex3(answer: Any) -> None:
    """Speed-up of a program of which only a part gets faster."""
    for share, factor in ((0.5, 2.0), (0.9, 100.0), (0.0, 50.0), (1.0, 8.0)):
        hint = "What is not moved takes as long as before: (1 - share) + share / factor."
        close(answer(share, factor), 1 / ((1 - share) + share / factor), 1e-9, hint)


def ex4(answer: Any) -> None:
    """From how many items on does a faster program with a slower start pay?"""
    cases = ((0.5, 0.0, 1e-6, 1e-4, 5051), (0.0, 0.0, 1.0, 2.0, 1), (1.0, 0.0, 2.0, 2.0, None))
    for start_a, start_b, item_a, item_b, expected in cases:
        found = answer(start_a, item_a, start_b, item_b)
        if expected is None:
            require(found == -1, "If it never pays, give -1.")
        else:
            hint = "The smallest whole n with start_a + n item_a < start_b + n item_b."
            close(found, expected, 0, hint)


def ex5(answer: Any) -> None:
    """A table in place of a hash map."""
    tests = """
#[test]
fn counts_pairs() {
    let bytes = b"abababac";
    let table = pairs(bytes);
    assert_eq!(table.len(), 65536);
    assert_eq!(table[usize::from(b'a') * 256 + usize::from(b'b')], 3);
    assert_eq!(table[usize::from(b'b') * 256 + usize::from(b'a')], 3);
    assert_eq!(table[usize::from(b'a') * 256 + usize::from(b'c')], 1);
    assert_eq!(table.iter().sum::<u32>(), 7);
    assert_eq!(pairs(b"x").iter().sum::<u32>(), 0);
    assert_eq!(pairs(b"").iter().sum::<u32>(), 0);
}
"""
    without(answer, "HashMap", "unsafe")
    passes_tests(answer, tests, "bytes.windows(2) gives the pairs; a pair's place is 256 a + b.")
