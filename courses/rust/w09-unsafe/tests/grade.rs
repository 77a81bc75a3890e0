use std::panic::catch_unwind;

use kernel::*;

/// Numbers that look random, and are the same each time.
fn numbers(length: usize, seed: usize) -> Vec<f32> {
    (0..length).map(|n| ((n * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0).collect()
}

fn exact(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[test]
fn buffers_are_aligned_and_zero() {
    for length in [1, 3, 64, 1000] {
        let buffer = Buffer::zeros(length);
        assert_eq!(buffer.len(), length, "its length");
        assert_eq!(buffer.as_ptr() as usize % ALIGNMENT, 0, "the address of {length} numbers");
        assert!(buffer.iter().all(|number| *number == 0.0), "all are 0");
    }
}

#[test]
fn buffers_can_be_written_and_dropped() {
    assert!(Buffer::zeros(0).is_empty(), "an empty one");
    for round in 0..2000 {
        let mut buffer = Buffer::zeros(100_000); // 0.8 GB in all, if none were given back
        buffer[round] = 1.0;
        assert_eq!(buffer.iter().sum::<f32>(), 1.0, "what was written is there");
    }
    let source = include_str!("../src/lib.rs");
    assert!(source.contains("impl Drop for Buffer"), "nobody gives the memory back");
    assert!(catch_unwind(|| Buffer::zeros(usize::MAX / 2)).is_err(), "2^63 numbers: panic");
}

#[test]
fn one_slice_becomes_two() {
    let mut items = [1, 2, 3, 4];
    let (left, right) = split(&mut items, 1);
    std::mem::swap(&mut left[0], &mut right[2]);
    assert_eq!(items, [4, 2, 3, 1], "first and last have changed places");
    assert_eq!(split(&mut items, 4).1.len(), 0, "the end is allowed");
    assert!(catch_unwind(|| split(&mut [1], 2).0.len()).is_err(), "beyond the end: panic");
    let source = include_str!("../src/lib.rs").replace("library's `split_at_mut`", "");
    assert!(!source.contains("split_at_mut"), "write it yourself");
}

#[test]
fn dot_products_of_every_length() {
    for length in 0..200 {
        let (a, b) = (numbers(length, 1), numbers(length, 2));
        let (found, wanted) = (dot(&a, &b), exact(&a, &b));
        let error = (f64::from(found) - wanted).abs();
        assert!(error < 1e-4, "{length} numbers: {wanted} wanted, {found} found");
    }
    assert!(catch_unwind(|| dot(&[1.0; 40], &[1.0; 8])).is_err(), "unequal lengths: panic");
}

#[test]
fn the_fast_one_is_used_where_it_can_be() {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        assert_eq!(kernel(), "avx2", "this processor has avx2 and fma");
        let (a, b) = (numbers(1000, 3), numbers(1000, 4));
        // SAFETY: asked one line above.
        let fast = unsafe { dot_avx2(&a, &b) };
        assert_eq!(fast.to_bits(), dot(&a, &b).to_bits(), "`dot` gives what `dot_avx2` gives");
        return;
    }
    assert_eq!(kernel(), "plain", "this processor has no avx2");
}

#[test]
fn a_matrix_times_a_vector() {
    let (matrix, x) = (numbers(7 * 45, 5), numbers(45, 6));
    let mut out = [9.0; 7];
    matvec(&matrix, &x, &mut out);
    for (row, found) in matrix.chunks_exact(45).zip(out) {
        let error = (f64::from(found) - exact(row, &x)).abs();
        assert!(error < 1e-4, "a row of 45 numbers is off by {error}");
    }
    matvec(&[], &[], &mut out);
    assert_eq!(out, [0.0; 7], "seven empty sums");
    assert!(
        catch_unwind(|| matvec(&[1.0; 5], &[1.0; 2], &mut [0.0; 2])).is_err(),
        "5 is not 2 * 2"
    );
}

#[test]
fn every_unsafe_block_says_why() {
    let lines: Vec<&str> = include_str!("../src/lib.rs").lines().map(str::trim).collect();
    let mut blocks = 0;
    for (number, line) in lines.iter().enumerate() {
        if line.contains("unsafe {") && !line.starts_with("//") {
            blocks += 1;
            let above = lines[..number].iter().rev().take(4);
            let why =
                above.take_while(|line| !line.is_empty()).any(|l| l.starts_with("// SAFETY:"));
            assert!(why, "line {}: no `// SAFETY:` comment above", number + 1);
        }
    }
    assert!(blocks >= 4, "only {blocks} unsafe blocks: is everything written?");
}
