//! Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1), and the cache that it reads.
//!
//! ```text
//! attention = softmax(q k^T / sqrt(D)) v
//! ```
//!
//! Each group of H / K query heads shares one head of keys and values (Ainslie et al. 2023), and a
//! token sees those up to itself. Both products are those of [`crate::product`], because the cache
//! keeps keys and values as its panels: of the keys 64 positions are the outputs, of the values 64
//! numbers of a head. So it grows by blocks of 64 positions; a new token is written to its place,
//! and nothing is moved for it.

use crate::product::{LANES, ROWS, multiply_add};
use crate::rows::softmax;

/// Keys and values of one layer and text.
pub struct KeyValues {
    blocks: Vec<Block>,
    heads: usize,  // K
    size: usize,   // D
    length: usize, // positions held
}

/// Of 64 positions.
struct Block {
    keys: Vec<f32>,   // (K, D, 64)
    values: Vec<f32>, // (K, D / 64, 64, 64): head, part of it, position, number
}

impl KeyValues {
    /// An empty one, for `heads` of `size` numbers.
    pub fn new(heads: usize, size: usize) -> Self {
        Self { blocks: Vec::new(), heads, size, length: 0 }
    }

    /// Numbers of one head among the values of a block.
    fn stride(&self) -> usize {
        self.size.next_multiple_of(LANES) * LANES
    }

    /// Add keys and values (K, D) of the next token.
    pub fn append(&mut self, keys: &[f32], values: &[f32]) {
        let (size, stride, at) = (self.size, self.stride(), self.length % LANES);
        if at == 0 {
            let numbers = |width| vec![0f32; self.heads * width];
            self.blocks.push(Block { keys: numbers(size * LANES), values: numbers(stride) });
        }
        let block = self.blocks.last_mut().expect("there is room for another token");
        let rows = keys.chunks_exact(size).zip(values.chunks_exact(size));
        for (head, (key, value)) in rows.enumerate() {
            let keys = &mut block.keys[head * size * LANES..];
            for (d, number) in key.iter().enumerate() {
                keys[d * LANES + at] = *number;
            }
            let values = block.values[head * stride..].chunks_exact_mut(LANES * LANES);
            for (panel, numbers) in values.zip(value.chunks(LANES)) {
                panel[at * LANES..at * LANES + numbers.len()].copy_from_slice(numbers);
            }
        }
        self.length += 1;
    }

    /// Attention of one token to the first `seen` positions, by the query heads that share a head
    /// of keys and values: (H / K, D) -> (H / K, D).
    pub fn attend(&self, head: usize, seen: usize, queries: &[f32], out: &mut [f32]) {
        let some = ROWS * self.size; // heads that are done together
        for (queries, out) in queries.chunks(some).zip(out.chunks_mut(some)) {
            self.attend_some(head, seen, queries, out);
        }
    }

    fn attend_some(&self, head: usize, seen: usize, queries: &[f32], out: &mut [f32]) {
        let (size, width) = (self.size, seen.next_multiple_of(LANES));
        let rows = queries.len() / size;
        let mut sums = [0f32; ROWS * LANES];
        let sums = &mut sums[..rows * LANES];
        let mut weights = vec![0f32; rows * width]; // (rows, positions)
        let blocks = || self.blocks[..width / LANES].iter().enumerate();
        for (b, block) in blocks() {
            let keys = &block.keys[head * size * LANES..(head + 1) * size * LANES];
            sums.fill(0.0);
            multiply_add(keys, queries, size, sums);
            for (row, sums) in weights.chunks_exact_mut(width).zip(sums.chunks_exact(LANES)) {
                row[b * LANES..(b + 1) * LANES].copy_from_slice(sums);
            }
        }
        for row in weights.chunks_exact_mut(width) {
            softmax(&mut row[..seen], 1.0 / (size as f32).sqrt());
        }
        for first in (0..size).step_by(LANES) {
            sums.fill(0.0);
            for (b, block) in blocks() {
                let panel = &block.values[head * self.stride() + first * LANES..];
                let positions = LANES.min(seen - b * LANES);
                multiply_add(&panel[..positions * LANES], &weights[b * LANES..], width, sums);
            }
            let numbers = LANES.min(size - first);
            for (row, sums) in out.chunks_exact_mut(size).zip(sums.chunks_exact(LANES)) {
                row[first..first + numbers].copy_from_slice(&sums[..numbers]);
            }
        }
    }
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
        for (h, k, d, s) in [(4, 2, 16, 1), (3, 3, 64, 70), (12, 2, 40, 64), (2, 1, 130, 129)] {
            let random = |heads| Tensor::randn(0f32, 1.0, (s, heads, d), &Device::Cpu);
            let (q, keys, values) = (random(h)?, random(k)?, random(k)?);
            let numbers = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
            let wanted = numbers(&textbook(&q, &keys, &values)?)?;
            let (q, keys, values) = (numbers(&q)?, numbers(&keys)?, numbers(&values)?);
            let mut cache = KeyValues::new(k, d);
            for (keys, values) in keys.chunks_exact(k * d).zip(values.chunks_exact(k * d)) {
                cache.append(keys, values);
            }
            let group = h / k * d; // numbers of the queries that share a head
            for (i, queries) in q.chunks_exact(group).enumerate() {
                let mut out = vec![0f32; group];
                cache.attend(i % k, i / k + 1, queries, &mut out);
                let wanted = &wanted[i * group..];
                assert!(out.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5));
            }
        }
        Ok(())
    }
}
