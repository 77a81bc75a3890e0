//! What is done to each row of a matrix by itself: normalising, gating, softmax.
//!
//! candle has these operations too, but computes some of them on threads of its own, which would
//! wait for cores that [`crate::threads`] keeps busy, and calls a library for every exponential.

use candle_core::{CpuStorage, Device, Result, Storage, Tensor, bail};

use crate::product::fused;
use crate::threads::Threads;

/// Look at the numbers of a contiguous float32 tensor where they lie.
pub fn look<T>(x: &Tensor, at: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = x.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(numbers)), Some((start, end))) => {
            Ok(at(&numbers[start..end]))
        }
        _ => bail!("a contiguous float32 tensor on the CPU is needed"),
    }
}

/// (N, I) -> (N, O), each row by itself.
pub fn each_row(
    x: &Tensor,
    outputs: usize,
    threads: &Threads,
    change: impl Fn(&[f32], &mut [f32]) + Sync,
) -> Result<Tensor> {
    let (n, inputs) = x.dims2()?;
    let mut y = vec![0f32; n * outputs];
    look(x, |x| {
        threads.fill_chunks(&mut y, outputs, n * inputs, |i, y| {
            change(&x[i * inputs..(i + 1) * inputs], y);
        });
    })?;
    Tensor::from_vec(y, (n, outputs), &Device::Cpu)
}

/// Divides by the root mean square and scales by a learned gain (Zhang and Sennrich 2019).
pub struct RmsNorm {
    pub gain: Vec<f32>,
    pub eps: f32,
}

impl RmsNorm {
    /// (N, C) -> (N, C)
    pub fn forward(&self, x: &Tensor, threads: &Threads) -> Result<Tensor> {
        each_row(x, self.gain.len(), threads, |x, y| {
            y.copy_from_slice(x);
            self.normalise(y);
        })
    }

    /// One row, in place.
    pub fn normalise(&self, row: &mut [f32]) {
        let scale = 1.0 / (sum_of(row, |x| x * x) / row.len() as f32 + self.eps).sqrt();
        row.iter_mut().zip(&self.gain).for_each(|(x, gain)| *x = *x * scale * gain);
    }
}

/// The activation of SwiGLU (Shazeer 2020): rows (gate, up) -> silu(gate) * up.
pub fn gate(x: &[f32], y: &mut [f32]) {
    let (gates, ups) = x.split_at(y.len());
    for ((y, gate), up) in y.iter_mut().zip(gates).zip(ups) {
        *y = gate / (1.0 + exp(-gate)) * up;
    }
}

/// The first of the largest logits; none if one is not a number.
pub fn likeliest(logits: &[f32]) -> Option<u32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sound = largest.is_finite() && !logits.iter().any(|logit| logit.is_nan());
    let place = logits.iter().position(|logit| *logit == largest);
    place.filter(|_| sound).map(|place| place as u32)
}

/// The largest is taken off first, so that no exponential overflows.
pub fn softmax(scores: &mut [f32], scale: f32) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|x| *x = exp((*x - largest) * scale));
    let share = 1.0 / sum_of(scores, |x| x);
    scores.iter_mut().for_each(|x| *x *= share);
}

/// The sum of f(x), in 16 parts that a processor adds up side by side.
fn sum_of(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (parts, rest) = row.as_chunks::<16>();
    let mut sums = [0f32; 16];
    for part in parts {
        sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += f(*x));
    }
    sums.iter().sum::<f32>() + rest.iter().map(|x| f(*x)).sum::<f32>()
}

/// e^x without a branch, so that a processor computes several at once. With n the whole number
/// nearest to x / ln 2 and r = x - n ln 2, it is 2^n e^r; |r| is at most 0.35, where the Taylor
/// series to the seventh power is as exact as float32 is.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: a sum with it has no digits behind the point
    const LN_2_HIGH: f32 = 355.0 / 512.0; // times n without any error
    const LN_2_LOW: f32 = -2.121_944_4e-4; // what is missing to ln 2
    let x = x.clamp(-87.0, 88.0); // 2^n is a normal number; NaN stays NaN
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = fused(n, -LN_2_LOW, fused(n, -LN_2_HIGH, x));
    let series = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let e = series.iter().fold(1.0 / 5040.0, |sum, term| fused(sum, r, *term));
    e * f32::from_bits(((n as i32 + 127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_those_of_the_library() {
        for i in -8700..=8800 {
            let x = i as f32 / 100.0;
            let right = f64::from(x).exp();
            assert!((f64::from(exp(x)) / right - 1.0).abs() < 3e-7, "exp({x}) = {}", exp(x));
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1000.0) < 1e-37 && exp(f32::NEG_INFINITY) < 1e-37);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn rows_are_normalised() {
        let norm = RmsNorm { gain: vec![1.0, 2.0], eps: 0.0 };
        let mut row = [3.0, 4.0]; // their mean square is 12.5
        norm.normalise(&mut row);
        let rms = 12.5f32.sqrt();
        assert!((row[0] - 3.0 / rms).abs() < 1e-6 && (row[1] - 8.0 / rms).abs() < 1e-6);
    }

    #[test]
    fn gates_open_and_shut() {
        let mut y = [0f32; 3];
        gate(&[20.0, 0.0, -20.0, 5.0, 5.0, 5.0], &mut y);
        assert!((y[0] - 100.0).abs() < 1e-4 && y[1] == 0.0 && y[2].abs() < 1e-6);
    }

    #[test]
    fn a_softmax_adds_up_to_one() {
        for n in [1, 15, 16, 100] {
            let mut scores: Vec<f32> = (0..n).map(|i| (i * 37 % 11) as f32 * 100.0).collect();
            softmax(&mut scores, 0.01);
            assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
        let mut scores = [0.0, f32::ln(3.0)];
        softmax(&mut scores, 1.0);
        assert!((scores[0] - 0.25).abs() < 1e-6);
    }

    #[test]
    fn the_first_of_the_largest_is_the_likeliest() {
        assert_eq!(likeliest(&[1.0, 3.0, 3.0, f32::NEG_INFINITY]), Some(1));
        assert_eq!(likeliest(&[f32::NEG_INFINITY, -5.0]), Some(1));
        for broken in [f32::NAN, f32::INFINITY] {
            assert_eq!(likeliest(&[1.0, broken, 2.0]), None);
        }
        assert_eq!(likeliest(&[f32::NEG_INFINITY; 2]), None);
        assert_eq!(likeliest(&[]), None);
    }

    #[test]
    fn a_tensor_of_another_kind_is_an_error() -> Result<()> {
        let x = Tensor::zeros((2, 3), candle_core::DType::BF16, &Device::Cpu)?;
        assert!(look(&x, |_| ()).is_err());
        assert!(look(&x.to_dtype(candle_core::DType::F32)?.t()?, |_| ()).is_err());
        Ok(())
    }
}
