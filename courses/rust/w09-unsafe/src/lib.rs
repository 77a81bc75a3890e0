//! A kernel for dot products: memory that we lay out, and instructions that we choose.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// What the widest loads want.
pub const ALIGNMENT: usize = 64;

/// A slice of f32 whose address is a multiple of 64.
pub struct Buffer {
    start: NonNull<f32>,
    length: usize,
}

impl Buffer {
    /// All zeros.
    pub fn zeros(length: usize) -> Self {
        todo!("`Layout::from_size_align`, `alloc_zeroed`; an empty one allocates nothing")
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        todo!("`std::slice::from_raw_parts`")
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        todo!()
    }
}

// TODO: impl Drop for Buffer, or the memory is lost

/// The items before `middle`, and those from there on, both to be changed at the same time.
/// Panics where `middle` is beyond the end.
pub fn split<T>(items: &mut [T], middle: usize) -> (&mut [T], &mut [T]) {
    todo!("the library's `split_at_mut` is not allowed here: write what it does")
}

/// The sum of products of two slices of one length; panics otherwise.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    todo!("ask `is_x86_feature_detected!` for avx2 and fma, and call `dot_avx2`; else `dot_plain`")
}

/// Which of the two `dot` uses on this processor: "avx2" or "plain".
pub fn kernel() -> &'static str {
    todo!()
}

/// For every processor.
pub fn dot_plain(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Eight products at a time, in four sums that do not wait for each other.
///
/// # Safety
/// The processor must have avx2 and fma.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
    todo!("`_mm256_loadu_ps`, `_mm256_fmadd_ps`, and what is left over one by one")
}

/// out = W x for a matrix of `out.len()` rows, row by row in one slice. Panics where the lengths
/// do not fit.
pub fn matvec(matrix: &[f32], x: &[f32], out: &mut [f32]) {
    todo!("`chunks_exact`, `dot`; take care of an x of no numbers")
}
