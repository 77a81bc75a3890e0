"""Who owns this memory, and how does Rust read a model's weights?

Checks of notebook R1.
"""

from __future__ import annotations

from typing import Any

from airust.lessons.checker import digest, require
from airust.lessons.rust_answers import is_refused, passes_tests, prints, without


def ex1(answer: Any) -> None:
    """The code of the error for a use after a move."""
    hint = "It stands in brackets behind `error` in the first refusal of this notebook."
    require(digest("r1.ex1", answer) == "a177182bcfc5", hint)


def ex2(answer: Any) -> None:
    """Repair a move without a copy of the heap."""
    without(answer, ".clone()", ".to_string()", ".to_owned()", "String::from(name)")
    prints(answer, "weights 7 weights", "Print the length, and then the name once more.")


def ex3(answer: Any) -> None:
    """A program that the compiler refuses because a reference would outlive its value."""
    is_refused(answer, "E0597", "Let a reference outlive the block in which its value is declared.")


def ex4(answer: Any) -> None:
    """A lifetime that ties a result to one of two arguments."""
    tests = """
#[test]
fn finds() {
    let text = String::from("ab,cd");
    let head = { let mark = String::from(","); before(&text, &mark) };
    assert_eq!(head, "ab");
    assert_eq!(before("none", ";"), "none");
}
"""
    hint = "Without the mark in the text the whole text comes back; the result borrows from `text`."
    passes_tests(answer, tests, hint)


def ex5(answer: Any) -> None:
    """A trait of one's own for one more dtype."""
    tests = """
#[test]
fn reads_bf16() {
    assert_eq!(Bf16::SIZE, 2);
    assert_eq!(Bf16::read(&[0x80, 0x3f]), 1.0);
    assert_eq!(Bf16::read(&[0x49, 0xc0]), -3.140625);
    assert_eq!(total::<Bf16>(&[0x80, 0x3f, 0x00, 0x40]), 3.0);
}
trait Dtype { const SIZE: usize; fn read(bytes: &[u8]) -> f32; }
fn total<T: Dtype>(data: &[u8]) -> f32 { data.chunks_exact(T::SIZE).map(T::read).sum() }
"""
    hint = "bfloat16 is the upper half of a float32: f32::from_bits((bits as u32) << 16)."
    passes_tests(answer, tests, hint)


def ex6(answer: Any) -> None:
    """A reader that does not trust the file."""
    tests = """
#[test]
fn reads() {
    let mut file = 5u64.to_le_bytes().to_vec();
    file.extend(b"{ }  data");
    assert_eq!(split(&file).unwrap(), (&b"{ }  "[..], &b"data"[..]));
}
#[test]
fn refuses() {
    assert!(split(b"").is_err());
    assert!(split(&[1, 0, 0]).is_err());
    assert!(split(&9u64.to_le_bytes()).is_err());
    assert!(split(&u64::MAX.to_le_bytes()).is_err());
}
"""
    hint = "A length that is larger than the file, even u64::MAX, gives an Err and never a panic."
    without(answer, "unwrap()", "catch_unwind")
    passes_tests(answer, tests, hint)
