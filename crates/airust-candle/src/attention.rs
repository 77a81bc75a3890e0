//! Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1), and the cache that it reads.
//!
//! ```text
//! attention = softmax(q k^T / sqrt(D)) v
//! ```
//!
//! Each group of H / K query heads shares one head of keys and values (Ainslie et al. 2023), and a
//! token sees those up to itself. Both products are those of [`crate::product`], because the cache
//! keeps keys and values as its panels: of the keys 64 positions are the outputs, of the values 64
//! numbers of a head. A new token is written to its place; nothing is moved for it.

use crate::product::{LANES, ROWS, multiply};
use crate::threads::Threads;

/// Keys and values of one layer and text.
pub struct KeyValues {
    keys: Vec<f32>,   // (K, positions / 64, D, 64)
    values: Vec<f32>, // (K, D / 64, positions, 64)
    heads: usize,     // K
    size: usize,      // D
    capacity: usize,  // positions, a multiple of 64
    length: usize,    // positions held
}

impl KeyValues {
    /// For `heads` of `size` numbers and texts of up to `capacity` tokens.
    pub fn new(heads: usize, size: usize, capacity: usize) -> Self {
        let capacity = capacity.next_multiple_of(LANES);
        let keys = vec![0f32; heads * capacity * size];
        let values = vec![0f32; heads * size.next_multiple_of(LANES) * capacity];
        Self { keys, values, heads, size, capacity, length: 0 }
    }

    /// Numbers of one head among the values.
    fn stride(&self) -> usize {
        self.size.next_multiple_of(LANES) * self.capacity
    }

    /// Add keys and values (T, K, D) of the next tokens.
    pub fn append(&mut self, keys: &[f32], values: &[f32]) {
        let (size, capacity, stride) = (self.size, self.capacity, self.stride());
        let rows = keys.chunks_exact(size).zip(values.chunks_exact(size));
        for (i, (key, value)) in rows.enumerate() {
            let (at, head) = (self.length + i / self.heads, i % self.heads);
            let panel = (head * capacity + at / LANES * LANES) * size;
            for (d, (key, value)) in key.iter().zip(value).enumerate() {
                self.keys[panel + d * LANES + at % LANES] = *key;
                let panel = head * stride + d / LANES * LANES * capacity;
                self.values[panel + at * LANES + d % LANES] = *value;
            }
        }
        self.length += keys.len() / (self.heads * size);
    }

    /// Attention of the last T tokens: queries (T, H, D) -> (T, H, D).
    pub fn attend(&self, queries: &[f32], query_heads: usize, threads: &Threads) -> Vec<f32> {
        let group = query_heads / self.heads;
        let tokens = queries.len() / (query_heads * self.size);
        let mut out = vec![0f32; queries.len()];
        let work = 2 * queries.len() * self.length;
        threads.fill_chunks(&mut out, group * self.size, work, |i, out| {
            let (token, head) = (i / self.heads, i % self.heads);
            let seen = self.length - tokens + token + 1;
            let queries = &queries[i * group * self.size..(i + 1) * group * self.size];
            let some = ROWS * self.size; // heads that are done together
            for (queries, out) in queries.chunks(some).zip(out.chunks_mut(some)) {
                self.attend_head(head, seen, queries, out);
            }
        });
        out
    }

    /// Up to four query heads of one token, which share a head and see its first positions.
    fn attend_head(&self, head: usize, seen: usize, queries: &[f32], out: &mut [f32]) {
        let (rows, width) = (queries.len() / self.size, seen.next_multiple_of(LANES));
        let mut weights = vec![0f32; rows * width];
        let mut sums = [0f32; ROWS * LANES];
        let sums = &mut sums[..rows * LANES];
        let first = head * self.capacity * self.size;
        let keys = self.keys[first..].chunks_exact(LANES * self.size);
        for (panel, keys) in keys.take(width / LANES).enumerate() {
            multiply(keys, queries, self.size, sums);
            for (row, sums) in weights.chunks_exact_mut(width).zip(sums.chunks_exact(LANES)) {
                row[panel * LANES..(panel + 1) * LANES].copy_from_slice(sums);
            }
        }
        for row in weights.chunks_exact_mut(width) {
            softmax(&mut row[..seen], 1.0 / (self.size as f32).sqrt());
        }
        let values = self.values[head * self.stride()..].chunks_exact(LANES * self.capacity);
        for (panel, values) in values.take(self.size.div_ceil(LANES)).enumerate() {
            multiply(&values[..seen * LANES], &weights, width, sums);
            let numbers = panel * LANES..self.size.min((panel + 1) * LANES);
            for (row, sums) in out.chunks_exact_mut(self.size).zip(sums.chunks_exact(LANES)) {
                row[numbers.clone()].copy_from_slice(&sums[..numbers.len()]);
            }
        }
    }
}

/// The largest is taken off first, so that no exponential overflows.
fn softmax(scores: &mut [f32], scale: f32) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|x| *x = ((*x - largest) * scale).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|x| *x /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Result, Tensor};
    use candle_nn::ops::softmax_last_dim;

    /// The same in candle's operations: (S, H, D) and (S, K, D) twice -> (S, H, D).
    fn textbook(q: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
        let (s, h, d) = q.dims3()?;
        let k = keys.dim(1)?;
        let by_head = |rows: &Tensor| rows.transpose(0, 1)?.contiguous(); // (heads, S, D)
        let repeated = |rows: &Tensor| {
            by_head(&rows.unsqueeze(2)?.expand((s, k, h / k, d))?.reshape((s, h, d))?)
        };
        let scores = (by_head(q)?.matmul(&repeated(keys)?.t()?)? / (d as f64).sqrt())?; // (H, S, S)
        let hidden = |at: usize| if at % s > at / s { f32::NEG_INFINITY } else { 0.0 };
        let mask = Tensor::from_vec((0..s * s).map(hidden).collect(), (s, s), &Device::Cpu)?;
        let weights = softmax_last_dim(&scores.broadcast_add(&mask)?)?;
        weights.matmul(&repeated(values)?)?.transpose(0, 1)?.contiguous()
    }

    #[test]
    fn attention_is_that_of_the_textbook() -> Result<()> {
        let threads = Threads::new(Some(2));
        for (h, k, d, s) in [(4, 2, 16, 1), (3, 3, 64, 70), (12, 2, 40, 64), (2, 1, 130, 129)] {
            let random = |heads| Tensor::randn(0f32, 1.0, (s, heads, d), &Device::Cpu);
            let (q, keys, values) = (random(h)?, random(k)?, random(k)?);
            let wanted = textbook(&q, &keys, &values)?.flatten_all()?.to_vec1::<f32>()?;
            let numbers = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
            let (q, keys, values) = (numbers(&q)?, numbers(&keys)?, numbers(&values)?);
            for parts in [vec![s], vec![1; s], vec![s / 2, s - s / 2]] {
                let (mut cache, mut out, mut at) = (KeyValues::new(k, d, s), Vec::new(), 0);
                for t in parts {
                    let new = |x: &[f32], heads| x[at * heads * d..(at + t) * heads * d].to_vec();
                    cache.append(&new(&keys, k), &new(&values, k));
                    out.extend(cache.attend(&new(&q, h), h, &threads));
                    at += t;
                }
                assert!(out.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-5));
            }
        }
        Ok(())
    }
}
