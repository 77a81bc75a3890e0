"""What does the compiler refuse between threads, and what is behind dyn?

Checks of notebook R3.
"""

from __future__ import annotations

from typing import Any

from airust.lessons.checker import close, digest, require
from airust.lessons.rust_answers import is_refused, passes_tests, without


def ex1(answer: Any) -> None:
    """The marker trait of types that may move to another thread."""
    hint = "The refusal of Rc names it: the trait `...` is not implemented for `Rc`."
    require(digest("r3.ex1", answer) == "83a10a52d75f", hint)


def ex2(answer: Any) -> None:
    """Bytes of a fat pointer."""
    close(answer, 16, 0, "Two pointers on a 64-bit machine: to the data and to the vtable.")


def ex3(answer: Any) -> None:
    """A trait that cannot be made into an object."""
    hint = "A method that gives back Self, or is generic, cannot stand in a vtable."
    is_refused(answer, "E0038", hint)


def ex4(answer: Any) -> None:
    """A histogram by several threads."""
    tests = """
#[test]
fn counts() {
    let bytes: Vec<u8> = (0..10_000u32).map(|i| (i * i % 251) as u8).collect();
    let mut expected = [0u64; 256];
    bytes.iter().for_each(|b| expected[*b as usize] += 1);
    for threads in [1, 2, 3, 7] {
        assert_eq!(histogram(&bytes, threads), expected);
    }
    assert_eq!(histogram(&[], 4), [0; 256]);
}
"""
    without(answer, "unsafe", "static mut")
    require("spawn" in str(answer), "Share the bytes among threads with scope.spawn.")
    hint = "Every byte counts once; chunks(0) panics, so that an empty slice needs care."
    passes_tests(answer, tests, hint)


def ex5(answer: Any) -> None:
    """A pipeline over a channel."""
    tests = """
#[test]
fn all_squares_once() {
    let mut found = squares(vec![1, 2, 3, 40], 3);
    found.sort();
    assert_eq!(found, [1, 4, 9, 1600]);
    assert!(squares(vec![], 2).is_empty());
}
"""
    without(answer, "unsafe", "Mutex")
    require("channel" in str(answer), "Send the results through std::sync::mpsc::channel().")
    hint = "Does the receiver ever stop waiting? The first sender has to be dropped, too."
    passes_tests(answer, tests, hint)


def ex6(answer: Any) -> None:
    """Engines behind one trait object."""
    tests = """
struct Loud;
impl Engine for Loud {
    fn name(&self) -> String { "loud".into() }
    fn answer(&self, prompt: &str) -> String { prompt.to_uppercase() }
}
struct Twice;
impl Engine for Twice {
    fn name(&self) -> String { "twice".into() }
    fn answer(&self, prompt: &str) -> String { format!("{prompt}{prompt}") }
}
#[test]
fn registry_finds_engines() {
    let mut registry = Registry::default();
    registry.add(Box::new(Loud));
    registry.add(Box::new(Twice));
    assert_eq!(registry.ask("twice", "ab"), Some("abab".to_string()));
    assert_eq!(registry.ask("loud", "ab"), Some("AB".to_string()));
    assert_eq!(registry.ask("none", "ab"), None);
}
"""
    require("dyn Engine" in str(answer), "The registry keeps Box<dyn Engine>.")
    passes_tests(answer, tests, "Look for the engine by its name; None if there is no such engine.")
