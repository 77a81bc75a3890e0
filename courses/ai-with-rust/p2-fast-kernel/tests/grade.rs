use std::hint::black_box;
use std::time::{Duration, Instant};

use kernels::*;

/// Numbers from -1 to 1 that look random, and are the same each time.
fn numbers(length: usize, seed: usize) -> Vec<f32> {
    (0..length).map(|n| ((n * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0).collect()
}

fn exact(matrix: &[f32], x: &[f32]) -> Vec<f32> {
    let product = |row: &[f32]| -> f64 {
        row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum()
    };
    matrix.chunks_exact(x.len()).map(|row| product(row) as f32).collect()
}

fn near(found: &[f32], wanted: &[f32], what: &str) {
    for (row, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let error = (found - wanted).abs();
        assert!(error < 1e-3, "{what}, row {row}: {wanted} wanted, {found} found");
    }
}

const SHAPES: [(usize, usize); 6] = [(16, 1), (1, 7), (17, 33), (48, 64), (5, 100), (100, 3)];

#[test]
fn packing_keeps_every_number() {
    let packed = Packed::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2);
    assert_eq!((packed.rows, packed.columns, packed.data.len()), (3, 2, 32), "rows, columns, room");
    assert_eq!(packed.data[..4], [1.0, 3.0, 5.0, 0.0], "the weights of input 0 of three rows");
    assert_eq!(packed.data[16..20], [2.0, 4.0, 6.0, 0.0], "those of input 1");
    let two = Packed::new(&numbers(17, 1), 1);
    assert_eq!(two.data[16], numbers(17, 1)[16], "row 16 begins a second panel");
}

#[test]
fn packed_products_are_right() {
    for (rows, columns) in SHAPES {
        let (matrix, x) = (numbers(rows * columns, 1), numbers(columns, 2));
        let mut out = vec![9.0; rows];
        Packed::new(&matrix, columns).matvec(&x, &mut out);
        near(&out, &exact(&matrix, &x), &format!("{rows} x {columns}"));
    }
}

#[test]
fn several_rows_share_a_reading() {
    for (rows, columns) in SHAPES {
        let (matrix, x) = (numbers(rows * columns, 1), numbers(3 * columns, 2));
        let mut out = vec![9.0; 3 * rows];
        Packed::new(&matrix, columns).matmul::<3>(&x, &mut out);
        for (found, x) in out.chunks_exact(rows).zip(x.chunks_exact(columns)) {
            near(found, &exact(&matrix, x), &format!("three vectors, {rows} x {columns}"));
        }
    }
}

#[test]
fn eight_bits_stay_within_their_bound() {
    let mut matrix = numbers(20 * 50, 3);
    matrix[..50].fill(0.0);
    let small = Int8::new(&matrix, 50);
    assert_eq!((small.data.len(), small.scales.len()), (1000, 20), "numbers and scales");
    for (row, weights) in matrix.chunks_exact(50).enumerate() {
        let largest = weights.iter().fold(0f32, |m, w| m.max(w.abs()));
        for (column, weight) in weights.iter().enumerate() {
            let kept = f32::from(small.data[row * 50 + column]) * small.scales[row];
            let (error, bound) = ((kept - weight).abs(), largest / 254.0 + 1e-6);
            assert!(
                error <= bound,
                "row {row}: {weight} became {kept}; at most {bound} is allowed"
            );
        }
    }
    assert!(small.data.iter().all(|number| *number != -128), "from -127 to 127");
}

#[test]
fn eight_bit_products_are_right() {
    for (rows, columns) in SHAPES {
        let (matrix, x) = (numbers(rows * columns, 1), numbers(columns, 2));
        let (small, mut out) = (Int8::new(&matrix, columns), vec![9.0; rows]);
        small.matvec(&x, &mut out);
        let kept: Vec<f32> = (0..rows * columns)
            .map(|n| f32::from(small.data[n]) * small.scales[n / columns])
            .collect();
        near(&out, &exact(&kept, &x), &format!("{rows} x {columns}"));
    }
}

/// How many times faster than row by row, each at its best of many short turns: other programs
/// cannot spoil all of them.
fn times_faster() -> f64 {
    let (rows, columns) = (64, 512);
    let (matrix, x) = (numbers(rows * columns, 1), numbers(columns, 2));
    let (packed, mut out) = (Packed::new(&matrix, columns), vec![0.0; rows]);
    let (mut plain, mut fast) = (Duration::MAX, Duration::MAX);
    for _ in 0..400 {
        let begin = Instant::now();
        matvec_rows(black_box(&matrix), black_box(&x), &mut out);
        black_box(&mut out);
        plain = plain.min(begin.elapsed());
        let begin = Instant::now();
        packed.matvec(black_box(&x), &mut out);
        black_box(&mut out);
        fast = fast.min(begin.elapsed());
    }
    near(&out, &exact(&matrix, &x), "what was timed");
    plain.as_secs_f64() / fast.as_secs_f64()
}

#[test]
fn packed_is_twice_as_fast() {
    let times = times_faster();
    assert!(times >= 2.0, "{times:.1} times as fast as row by row, 2 are asked for");
}

#[test]
fn packed_is_four_times_as_fast() {
    let times = times_faster();
    assert!(times >= 4.0, "{times:.1} times as fast as row by row, 4 are asked for");
}
