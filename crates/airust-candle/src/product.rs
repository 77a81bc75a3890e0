//! The loop behind every matrix product of the model.
//!
//! It pays to lay a matrix out for the loop that reads it. A *panel* holds 64 outputs, and of them
//! first the 64 weights of input 0, then the 64 of input 1, and so on:
//!
//! ```text
//! for each input i:   sums[0..64] += panel[i][0..64] * x[i]
//! ```
//!
//! The sums stay in registers, memory is read front to back, and nothing has to be added up across
//! a register at the end. With a panel's weights at hand, up to four rows x are done at a time: one
//! row is limited by memory, four by arithmetic.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// Outputs of a panel: four of the widest registers.
pub const LANES: usize = 64;
/// Rows that are done together at most.
pub const ROWS: usize = 4;
/// Outputs of one pass over a panel. The sums of four rows must fit into the registers: 16 of 512
/// bits are enough for 64, elsewhere a panel takes several passes.
const WIDTH: usize = if cfg!(target_feature = "avx512f") { LANES } else { 16 };

/// A panel (I, 64) and up to four rows of I numbers, one every `stride`, added to `out` (N, 64).
pub fn multiply_add<W: Weight>(panel: &[W], x: &[f32], stride: usize, out: &mut [f32]) {
    let inputs = panel.len() / LANES;
    let row = |r: usize| &x[r * stride..r * stride + inputs];
    match out.len() / LANES {
        1 => passes::<W, LANES, 1>(panel, [row(0)], out), // one row's sums fit everywhere
        2 => passes::<W, WIDTH, 2>(panel, [row(0), row(1)], out),
        3 => passes::<W, WIDTH, 3>(panel, [row(0), row(1), row(2)], out),
        _ => passes::<W, WIDTH, 4>(panel, [row(0), row(1), row(2), row(3)], out),
    }
}

#[inline(always)]
fn passes<W: Weight, const L: usize, const N: usize>(
    panel: &[W],
    rows: [&[f32]; N],
    out: &mut [f32],
) {
    for first in (0..LANES).step_by(L) {
        let mut sums = [[0f32; L]; N];
        for (i, weights) in panel.as_chunks::<LANES>().0.iter().enumerate() {
            let weights = W::widen(&weights[first..].as_chunks::<L>().0[0]);
            for n in 0..N {
                let x = rows[n][i];
                for lane in 0..L {
                    sums[n][lane] = fused(weights[lane], x, sums[n][lane]);
                }
            }
        }
        for (out, sums) in out.chunks_exact_mut(LANES).zip(sums) {
            out[first..first + L].iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
        }
    }
}

/// a b + c in one instruction where the processor has it; elsewhere that would be a slow library
/// call.
#[inline(always)]
pub fn fused(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
        a.mul_add(b, c)
    } else {
        a * b + c
    }
}

/// What a matrix is stored as.
pub trait Weight: Copy + Default + Sync {
    fn widen<const N: usize>(block: &[Self; N]) -> [f32; N];
}

impl Weight for f32 {
    #[inline(always)]
    fn widen<const N: usize>(block: &[Self; N]) -> [f32; N] {
        *block
    }
}

impl Weight for bf16 {
    /// A bfloat16 is the upper half of a float32.
    #[inline(always)]
    fn widen<const N: usize>(block: &[Self; N]) -> [f32; N] {
        block.map(|x| f32::from_bits(u32::from(x.to_bits()) << 16))
    }
}

impl Weight for f16 {
    #[inline(always)]
    fn widen<const N: usize>(block: &[Self; N]) -> [f32; N] {
        let mut wide = [0f32; N];
        block.convert_to_f32_slice(&mut wide);
        wide
    }
}
