//! A kernel for dot products: memory that we lay out, and instructions that we choose.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
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
        if length == 0 {
            let start = std::ptr::without_provenance_mut(ALIGNMENT);
            return Buffer { start: NonNull::new(start).expect("64 is not 0"), length };
        }
        let layout = layout(length);
        // SAFETY: the layout has a size, because the length is not 0.
        let start = unsafe { alloc_zeroed(layout) };
        match NonNull::new(start.cast()) {
            Some(start) => Buffer { start, length },
            None => handle_alloc_error(layout),
        }
    }
}

fn layout(length: usize) -> Layout {
    let bytes = length.checked_mul(size_of::<f32>()).expect("so many numbers fit nowhere");
    Layout::from_size_align(bytes, ALIGNMENT).expect("so many numbers fit nowhere")
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `zeros` has allocated and filled `length` numbers there, which live as long as
        // self; whoever changes them needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and nobody else has a reference while we have `&mut self`.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: `zeros` has allocated it with this layout, and nobody can use it any more.
            unsafe { dealloc(self.start.as_ptr().cast(), layout(self.length)) }
        }
    }
}

/// The items before `middle`, and those from there on, both to be changed at the same time.
/// Panics where `middle` is beyond the end.
pub fn split<T>(items: &mut [T], middle: usize) -> (&mut [T], &mut [T]) {
    let (length, start) = (items.len(), items.as_mut_ptr());
    assert!(middle <= length, "{middle} is beyond the end of {length} items");
    // SAFETY: both parts lie inside the slice, they do not overlap, and the borrow of `items`
    // lasts as long as they do.
    unsafe {
        (
            std::slice::from_raw_parts_mut(start, middle),
            std::slice::from_raw_parts_mut(start.add(middle), length - middle),
        )
    }
}

/// The sum of products of two slices of one length; panics otherwise.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "two slices of one length");
    #[cfg(target_arch = "x86_64")]
    if kernel() == "avx2" {
        // SAFETY: `kernel` says so only where the processor has these instructions.
        return unsafe { dot_avx2(a, b) };
    }
    dot_plain(a, b)
}

/// Which of the two `dot` uses on this processor: "avx2" or "plain".
pub fn kernel() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        return "avx2";
    }
    "plain"
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
    use std::arch::x86_64::*;

    let mut sums = [_mm256_setzero_ps(); 4];
    let (mut a_blocks, mut b_blocks) = (a.chunks_exact(32), b.chunks_exact(32));
    for (a, b) in a_blocks.by_ref().zip(b_blocks.by_ref()) {
        for (n, sum) in sums.iter_mut().enumerate() {
            // SAFETY: both blocks have 32 numbers, and 8 n + 8 is at most that; loadu asks for no
            // alignment.
            let (a, b) = unsafe {
                (_mm256_loadu_ps(a.as_ptr().add(8 * n)), _mm256_loadu_ps(b.as_ptr().add(8 * n)))
            };
            *sum = _mm256_fmadd_ps(a, b, *sum);
        }
    }
    let [s, t, u, v] = sums;
    let sum = _mm256_add_ps(_mm256_add_ps(s, t), _mm256_add_ps(u, v));
    let mut lanes = [0f32; 8];
    // SAFETY: there is room for 8 numbers.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sum) };
    lanes.iter().sum::<f32>() + dot_plain(a_blocks.remainder(), b_blocks.remainder())
}

/// out = W x for a matrix of `out.len()` rows, row by row in one slice. Panics where the lengths
/// do not fit.
pub fn matvec(matrix: &[f32], x: &[f32], out: &mut [f32]) {
    assert_eq!(matrix.len(), x.len() * out.len(), "a row for each output");
    if x.is_empty() {
        return out.fill(0.0);
    }
    for (row, out) in matrix.chunks_exact(x.len()).zip(out) {
        *out = dot(row, x);
    }
}
