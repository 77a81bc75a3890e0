//! Work shared out among candle's threads.
//!
//! candle keeps threads that wait for a step by asking again and again, for a fraction of a
//! millisecond, before they sleep: a matrix product of a small model is over before a sleeping
//! thread has woken up. How many there are the environment says when they are first needed,
//! `CANDLE_NUM_THREADS` or `RAYON_NUM_THREADS`.

use candle_core::utils::barrier_pool;

/// Multiplications up to which one thread is faster than telling the others.
const SMALL: usize = 1 << 15;

/// Threads that compute, the caller's included.
pub fn count() -> usize {
    barrier_pool().n_workers() + 1
}

/// Call `fill(i, chunk)` for every chunk of `size` numbers, on all threads if that is worth it.
pub fn fill_chunks(
    numbers: &mut [f32],
    size: usize,
    multiplications: usize,
    fill: impl Fn(usize, &mut [f32]) + Sync,
) {
    if multiplications <= SMALL {
        for (i, chunk) in numbers.chunks_exact_mut(size).enumerate() {
            fill(i, chunk);
        }
        return;
    }
    let (count, start) = (numbers.len() / size, Start(numbers.as_mut_ptr()));
    barrier_pool().execute_chunked(count, |range| {
        for i in range {
            // SAFETY: chunk i lies inside `numbers`, which stay borrowed until all threads have
            // ended here, and each i is given to one thread.
            fill(i, unsafe { std::slice::from_raw_parts_mut(start.of(i * size), size) });
        }
    });
}

struct Start(*mut f32);

// SAFETY: `fill_chunks` gives each number to one thread only.
unsafe impl Sync for Start {}

impl Start {
    /// # Safety
    /// `at` is inside the numbers.
    unsafe fn of(&self, at: usize) -> *mut f32 {
        unsafe { self.0.add(at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_is_filled_once() {
        for work in [0, SMALL + 1] {
            let mut numbers = vec![0f32; 3000];
            fill_chunks(&mut numbers, 3, work, |i, chunk| {
                for number in chunk {
                    *number += i as f32;
                }
            });
            let wanted: Vec<f32> = (0..3000).map(|at| (at / 3) as f32).collect();
            assert_eq!(numbers, wanted);
        }
    }
}
