//! Scaled dot-product attention of the newest tokens of one text (Vaswani et al. 2017, 3.2.1).
//!
//! ```text
//! attention = softmax(q k^T / sqrt(D)) v
//! ```
//!
//! Each group of H / K query heads shares one head of keys and values (Ainslie et al. 2023). Two
//! versions, which a test holds equal: [`many`] in candle's operations, as a textbook writes it,
//! and [`one`] in plain loops for a single token, where calling operations takes longer than
//! what they compute.

use candle_core::{Device, Result, Storage, Tensor, bail};
use candle_nn::ops::softmax_last_dim;

use crate::threads::fill_chunks;

/// Numbers of a head that are summed up side by side, in registers.
const LANES: usize = 32;

/// Queries (1, T, H, D) of the last T of S tokens, keys and values (1, S, K, D) -> (T, H D).
pub fn attend(q: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
    if q.dim(1)? == 1 { one(q, keys, values) } else { many(q, keys, values) }
}

/// Attention of any number of tokens.
fn many(q: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
    let (_, t, h, d) = q.dims4()?;
    let (_, s, k, _) = keys.dims4()?;
    let group = h / k;
    let q = q.reshape((t, k, group, d))?.permute((1, 2, 0, 3))?.reshape((k, group * t, d))?;
    let keys = keys.squeeze(0)?.permute((1, 2, 0))?; // (K, D, S)
    let values = values.squeeze(0)?.permute((1, 0, 2))?; // (K, S, D)
    let scores = (q.matmul(&keys)? / (d as f64).sqrt())?.reshape((k, group, t, s))?;
    // Row i is about token s - t + i of the text, which sees the tokens up to itself.
    let hidden = |at: usize| if at % s > s - t + at / s { f32::NEG_INFINITY } else { 0.0 };
    let mask = Tensor::from_vec((0..t * s).map(hidden).collect(), (t, s), &Device::Cpu)?;
    let weights = softmax_last_dim(&scores.broadcast_add(&mask)?)?.reshape((k, group * t, s))?;
    let out = weights.matmul(&values)?.reshape((k, group, t, d))?;
    out.permute((2, 0, 1, 3))?.reshape((t, h * d))
}

/// Attention of a single token: the heads are shared out among threads.
fn one(q: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
    let (_, _, h, d) = q.dims4()?;
    let (_, s, k, _) = keys.dims4()?;
    let held = [q, keys, values].map(Tensor::storage_and_layout);
    let numbers = |i: usize| match (&*held[i].0, held[i].1.contiguous_offsets()) {
        (Storage::Cpu(storage), Some((start, end))) => Ok(&storage.as_slice()?[start..end]),
        _ => bail!("attention needs contiguous tensors on the CPU"),
    };
    let (q, keys, values): (&[f32], &[f32], &[f32]) = (numbers(0)?, numbers(1)?, numbers(2)?);
    let mut out = vec![0f32; h * d];
    fill_chunks(&mut out, d, 2 * h * s * d, |head, out| {
        let first = head / (h / k) * d; // column of the keys and values that it shares
        let q = &q[head * d..(head + 1) * d];
        let keys = keys.chunks_exact(k * d).map(|row| &row[first..first + d]);
        let mut weights: Vec<f32> = keys.map(|key| dot(q, key) / (d as f32).sqrt()).collect();
        softmax(&mut weights);
        weighted_sum(&weights, &values[first..], k * d, out);
    });
    Tensor::from_vec(out, (1, h * d), &Device::Cpu)
}

/// Largest first to 0, so that no exponential overflows.
fn softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|x| *x = (*x - largest).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|x| *x /= sum);
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        sums = std::array::from_fn(|i| a[i] * b[i] + sums[i]);
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2; // adding halves takes few steps
        for i in 0..width {
            sums[i] += sums[i + width];
        }
    }
    sums[0] + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// out = the sum of weights[i] * rows[i], where a row begins every `stride` numbers.
fn weighted_sum(weights: &[f32], rows: &[f32], stride: usize, out: &mut [f32]) {
    let (blocks, rest) = out.as_chunks_mut::<LANES>();
    let done = blocks.len() * LANES;
    for (b, block) in blocks.iter_mut().enumerate() {
        let mut sums = [0f32; LANES];
        for (weight, row) in weights.iter().zip(rows.chunks(stride)) {
            let row: &[f32; LANES] = row[b * LANES..].first_chunk().expect("a whole block");
            sums = std::array::from_fn(|i| weight * row[i] + sums[i]);
        }
        *block = sums;
    }
    for (i, sum) in rest.iter_mut().enumerate() {
        *sum = weights.iter().zip(rows.chunks(stride)).map(|(w, row)| w * row[done + i]).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_and_many_are_the_same_attention() -> Result<()> {
        for (h, k, d, s) in [(4, 2, 16, 1), (3, 3, 64, 40), (6, 2, 40, 300)] {
            let random = |heads| Tensor::randn(0f32, 1.0, (1, s, heads, d), &Device::Cpu);
            let (q, keys, values) = (random(h)?, random(k)?, random(k)?);
            let together = many(&q, &keys, &values)?;
            for i in [0, s / 2, s - 1] {
                let seen = |rows: &Tensor| rows.narrow(1, 0, i + 1);
                let alone = one(&q.narrow(1, i, 1)?, &seen(&keys)?, &seen(&values)?)?;
                let difference = (alone - together.narrow(0, i, 1)?)?.abs()?.max_all()?;
                assert!(difference.to_scalar::<f32>()? < 1e-5);
            }
        }
        Ok(())
    }

    #[test]
    fn a_text_in_two_parts_attends_as_in_one() -> Result<()> {
        let random = |heads| Tensor::randn(0f32, 1.0, (1, 30, heads, 16), &Device::Cpu);
        let (q, keys, values) = (random(4)?, random(2)?, random(2)?);
        let last = many(&q.narrow(1, 18, 12)?, &keys, &values)?;
        let whole = many(&q, &keys, &values)?.narrow(0, 18, 12)?;
        assert!((last - whole)?.abs()?.max_all()?.to_scalar::<f32>()? < 1e-6);
        Ok(())
    }
}
