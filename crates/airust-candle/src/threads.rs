//! Threads that share the work of a step.
//!
//! A product of a small model takes a few microseconds, less than it takes to wake a thread. So
//! between two of them the threads do not sleep but ask again and again, for a fraction of a
//! millisecond. They take the work in small pieces, and it is over when all pieces are done: where
//! another program has taken a thread's core away, the others do its share, and only a piece that
//! it has already begun can hold them up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, available_parallelism, spawn, yield_now};

/// Multiplications up to which one thread is faster than telling the others.
const SMALL: usize = 1 << 15;
/// Pieces for each thread: few enough to be given out quickly, and enough for nobody to wait long
/// for the last one.
const PIECES: usize = 8;
/// How often a thread asks for work before it sleeps: a fraction of a millisecond.
const PATIENCE: u32 = 1 << 14;
/// After how many times it lets other threads have the core, if any wants it.
const POLITENESS: u32 = 1 << 6;

/// The threads of one model.
pub struct Threads {
    board: Arc<Board>,
    workers: Vec<JoinHandle<()>>,
}

/// Where work is announced.
#[derive(Default)]
struct Board {
    number: AtomicUsize, // of the latest work; changes with the notice, under its lock
    notice: Mutex<Notice>,
    wake: Condvar, // for those who sleep
    closed: AtomicBool,
    patience: u32, // how often a thread asks for work before it sleeps
}

#[derive(Default)]
struct Notice {
    work: Option<Arc<Work>>,
    asleep: usize, // threads; where there are none, nobody has to be woken
}

/// Pieces 0 to `pieces` - 1, each for whoever comes first.
struct Work {
    piece: *const (dyn Fn(usize) + Sync),
    pieces: usize,
    next: AtomicUsize,
    done: AtomicUsize,
    failed: AtomicBool,
}

// SAFETY: `piece` may be called from several threads, and only while `Threads::share` waits for it.
unsafe impl Send for Work {}
unsafe impl Sync for Work {}

impl Work {
    fn help(&self) {
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            if i >= self.pieces {
                return;
            }
            // SAFETY: piece i is not done, so `Threads::share`, which borrows the closure, has not
            // returned. Whoever comes later finds no piece left and does not come here.
            let piece = unsafe { &*self.piece };
            if catch_unwind(AssertUnwindSafe(|| piece(i))).is_err() {
                self.failed.store(true, Ordering::Relaxed);
            }
            self.done.fetch_add(1, Ordering::Release);
        }
    }
}

impl Board {
    fn notice(&self) -> MutexGuard<'_, Notice> {
        self.notice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self, work: Arc<Work>) {
        let mut notice = self.notice();
        notice.work = Some(work);
        // Under the lock, or a thread that has just seen the old number would sleep through it.
        self.number.fetch_add(1, Ordering::Release);
        let asleep = notice.asleep;
        drop(notice);
        if asleep > 0 {
            self.wake.notify_all();
        }
    }

    /// Sleep until there is work after number `seen`, or no more ever.
    fn sleep(&self, seen: usize) {
        let mut notice = self.notice();
        notice.asleep += 1;
        let idle = |_: &mut Notice| {
            self.number.load(Ordering::Acquire) == seen && !self.closed.load(Ordering::Relaxed)
        };
        let mut notice = self.wake.wait_while(notice, idle).unwrap_or_else(PoisonError::into_inner);
        notice.asleep -= 1;
    }

    /// The life of a thread.
    fn serve(&self) {
        let (mut seen, mut asked) = (0, 0);
        while !self.closed.load(Ordering::Relaxed) {
            let number = self.number.load(Ordering::Acquire);
            if number != seen {
                (seen, asked) = (number, 0);
                let work = self.notice().work.clone();
                work.iter().for_each(|work| work.help());
            } else if asked < self.patience {
                asked += 1;
                wait_a_moment(asked);
            } else {
                self.sleep(seen);
                asked = 0;
            }
        }
    }
}

fn wait_a_moment(times: u32) {
    if times.is_multiple_of(POLITENESS) { yield_now() } else { std::hint::spin_loop() }
}

impl Threads {
    /// This many threads, the caller's included; one for each core if none is given.
    pub fn new(count: Option<usize>) -> Self {
        let cores = || available_parallelism().map_or(1, |cores| cores.get());
        Self::with_patience(count.unwrap_or_else(cores), PATIENCE)
    }

    fn with_patience(count: usize, patience: u32) -> Self {
        let board = Arc::new(Board { patience, ..Board::default() });
        let worker = |_| {
            let board = board.clone();
            spawn(move || board.serve())
        };
        let workers = (1..count).map(worker).collect();
        Self { board, workers }
    }

    /// How many there are, the caller's included.
    pub fn count(&self) -> usize {
        self.workers.len() + 1
    }

    /// Call `piece(i)` for each i below `pieces`, on all threads.
    fn share(&self, pieces: usize, piece: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime is forgotten. No call outlives this function, see `Work::help`.
        let piece: *const (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(piece) };
        let (next, done, failed) = Default::default();
        let work = Arc::new(Work { piece, pieces, next, done, failed });
        self.board.announce(work.clone());
        work.help();
        let mut waited = 0;
        while work.done.load(Ordering::Acquire) < pieces {
            waited += 1;
            wait_a_moment(waited);
        }
        if work.failed.load(Ordering::Relaxed) {
            panic!("a thread failed");
        }
    }

    /// Call `fill(i, chunk)` for every chunk of `size` numbers, on all threads if that is worth it.
    pub fn fill_chunks(
        &self,
        numbers: &mut [f32],
        size: usize,
        multiplications: usize,
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        if multiplications <= SMALL || self.workers.is_empty() {
            let chunks = numbers.chunks_exact_mut(size).enumerate();
            return chunks.for_each(|(i, chunk)| fill(i, chunk));
        }
        let (chunks, start) = (numbers.len() / size, Start(numbers.as_mut_ptr()));
        let some = chunks.div_ceil(PIECES * self.count()); // chunks of a piece
        self.share(chunks.div_ceil(some), &|piece| {
            for i in piece * some..chunks.min((piece + 1) * some) {
                // SAFETY: chunk i lies inside `numbers`, which is borrowed until `share` returns,
                // and each i is given out once.
                fill(i, unsafe { std::slice::from_raw_parts_mut(start.at(i * size), size) });
            }
        });
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.board.closed.store(true, Ordering::Relaxed);
        drop(self.board.notice()); // whoever has found it open by now sleeps, and is woken
        self.board.wake.notify_all();
        for worker in self.workers.drain(..) {
            _ = worker.join();
        }
    }
}

struct Start(*mut f32);

// SAFETY: `fill_chunks` gives each number to one thread only.
unsafe impl Sync for Start {}

impl Start {
    /// # Safety
    /// `offset` is inside the numbers.
    unsafe fn at(&self, offset: usize) -> *mut f32 {
        unsafe { self.0.add(offset) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn every_chunk_is_filled_once() {
        for (count, work) in [(1, SMALL + 1), (3, 0), (3, SMALL + 1)] {
            let threads = Threads::new(Some(count));
            for round in 0..200 {
                if round == 100 {
                    std::thread::sleep(Duration::from_millis(50)); // until all are asleep
                }
                let mut numbers = vec![0f32; 300];
                threads.fill_chunks(&mut numbers, 3, work, |i, chunk| {
                    chunk.iter_mut().for_each(|number| *number += i as f32);
                });
                assert!(numbers.iter().enumerate().all(|(at, x)| *x == (at / 3) as f32));
            }
        }
    }

    /// Each of two pieces waits for the other to begin, so that one thread alone never gets on.
    /// The other one is about to sleep, or asleep, whenever work is announced.
    #[test]
    fn nobody_sleeps_through_work() {
        let (threads, start) = (Threads::with_patience(2, 0), Instant::now());
        let mut rounds = 0;
        // On a busy machine the two seldom meet; fewer rounds must do then.
        while rounds < 50_000 && start.elapsed() < Duration::from_secs(5) {
            rounds += 1;
            let (begun, round) = (AtomicUsize::new(0), Instant::now());
            threads.share(2, &|_| {
                begun.fetch_add(1, Ordering::Relaxed);
                while begun.load(Ordering::Relaxed) < 2 {
                    assert!(round.elapsed() < Duration::from_secs(20), "work but no worker");
                    yield_now();
                }
            });
        }
    }

    /// Or a thread that has just looked, and is about to sleep, would sleep through it.
    #[test]
    fn work_is_counted_under_the_lock() {
        let (board, start) = (Board::default(), Instant::now());
        let running = || start.elapsed() < Duration::from_secs(1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while running() {
                    let piece: *const (dyn Fn(usize) + Sync) = &|_| ();
                    let (next, done, failed) = Default::default();
                    board.announce(Arc::new(Work { piece, pieces: 0, next, done, failed }));
                }
            });
            while running() {
                let notice = board.notice();
                let number = board.number.load(Ordering::Acquire);
                (0..100).for_each(|_| std::hint::spin_loop());
                assert_eq!(board.number.load(Ordering::Acquire), number);
                drop(notice);
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_threads_go_on() {
        let threads = Threads::new(Some(2));
        for unlucky in [7, 1000] {
            let mut numbers = vec![0f32; 64];
            let run = || {
                threads.fill_chunks(&mut numbers, 1, SMALL + 1, |i, _| assert_ne!(i, unlucky));
            };
            assert_eq!(catch_unwind(AssertUnwindSafe(run)).is_err(), unlucky < 64);
        }
    }
}
