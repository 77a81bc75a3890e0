"""How fast can plain Rust run the model, and how do you know that it is right?

Checks of notebook R2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from airust.lessons.checker import close, digest, require
from airust.lessons.rust_answers import passes_tests, without


def ex1(answer: Any) -> None:
    """Floating-point operations of a product of a matrix with a vector."""
    close(answer, 2 * 512 * 192, 0, "For each weight one multiplication and one addition.")


def ex2(answer: Any) -> None:
    """What bounds the product of a matrix with a vector?"""
    hint = "Each weight is used once: 2 operations for 4 bytes. Compare with what the core can do."
    require(digest("r2.ex2", answer) in ("c5795de8876e", "9e000a5b00fd"), hint)


def ex3(answer: Any) -> None:
    """RMSNorm in Rust."""
    tests = """
#[test]
fn normalises() {
    let y = rms_norm(&[3.0, 4.0], &[1.0, 2.0]);
    assert!((y[0] - 0.848528).abs() < 1e-5 && (y[1] - 2.262742).abs() < 1e-5, "{y:?}");
    let zero = rms_norm(&[0.0; 4], &[1.0; 4]);
    assert!(zero.iter().all(|x| *x == 0.0));
}
"""
    hint = "Divide by the root of the mean square plus 1e-6, then multiply by the gain."
    passes_tests(answer, tests, hint)


def ex4(answer: Any) -> None:
    """A softmax that does not overflow."""
    tests = """
#[test]
fn sums_to_one() {
    for scores in [vec![1.0, 2.0, 3.0], vec![1000.0, 1000.0], vec![-1000.0, 0.0], vec![5.0]] {
        let mut p: Vec<f32> = scores.clone();
        softmax(&mut p);
        assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{scores:?} -> {p:?}");
    }
    let mut p = [1.0, 2.0];
    softmax(&mut p);
    assert!((p[1] - 0.731059).abs() < 1e-5);
}
"""
    passes_tests(answer, tests, "Take the largest score off all of them before exp.")


def ex5(answer: Any) -> None:
    """Rows of a product shared among scoped threads."""
    tests = """
#[test]
fn same_as_one_thread() {
    let w: Vec<f32> = (0..37 * 5).map(|i| i as f32 * 0.25).collect();
    let x = [1.0, -2.0, 0.5, 3.0, 1.5];
    let expected: Vec<f32> =
        w.chunks(5).map(|row| row.iter().zip(&x).map(|(a, b)| a * b).sum()).collect();
    for threads in [1, 2, 3, 8, 64] {
        let mut y = vec![0.0; 37];
        product(&w, &x, &mut y, threads);
        assert_eq!(y, expected, "{threads} threads");
    }
}
"""
    require("scope" in str(answer), "Use std::thread::scope and spawn a thread for each part.")
    without(answer, "unsafe")
    hint = "Every row has to be computed, also when the rows cannot be divided evenly."
    passes_tests(answer, tests, hint)


def ex6(answer: Any) -> None:
    """The largest share of the work that may stay serial: Amdahl turned round."""
    require(callable(answer), "Give a function of threads and speed-up.")
    serial: Callable[[int, float], float] = answer
    cases: Sequence[tuple[int, float]] = ((2, 2.0), (2, 1.0), (4, 2.5), (64, 20.0))
    for threads, speedup in cases:
        expected = (threads / speedup - 1) / (threads - 1)
        close(serial(threads, speedup), expected, 1e-9, "Solve S = 1 / (s + (1 - s) / n) for s.")
