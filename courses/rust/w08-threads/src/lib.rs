//! Work for several threads: parts of a slice, a bounded queue, requests in batches.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Condvar, Mutex, mpsc};

/// The sum, each thread adding up a part. There is at least one thread.
pub fn sum(values: &[f64], threads: usize) -> f64 {
    todo!("`std::thread::scope`, and `chunks`")
}

/// `f` of every item, in the order of the items, by this many threads at the same time.
pub fn map<T: Sync, U: Send>(items: &[T], threads: usize, f: impl Fn(&T) -> U + Sync) -> Vec<U> {
    todo!("each thread returns the results of its part; join them in order")
}

/// What a service counts, from any thread.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: AtomicU64,
    tokens: AtomicU64,
}

impl Metrics {
    /// One more request, with the tokens of its answer.
    pub fn record(&self, tokens: u64) {
        todo!("`fetch_add`; no other memory depends on these numbers, so Relaxed will do")
    }

    /// Requests and tokens so far.
    pub fn read(&self) -> (u64, u64) {
        todo!()
    }
}

/// A queue of limited length between threads.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar, // something was added, taken, or the queue was closed
    limit: usize,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    /// An empty queue for `limit` items at most, which is at least 1.
    pub fn new(limit: usize) -> Self {
        let state = State { items: VecDeque::new(), closed: false };
        Queue { state: Mutex::new(state), changed: Condvar::new(), limit }
    }

    /// Add an item at the end; waits while the queue is full. A closed queue gives it back.
    pub fn push(&self, item: T) -> Result<(), T> {
        todo!("`wait_while` gives the lock back while it waits")
    }

    /// Take the first item; waits while there is none. None once it is closed and empty.
    pub fn pop(&self) -> Option<T> {
        todo!()
    }

    /// Let nothing more in; whoever waits is told.
    pub fn close(&self) {
        todo!()
    }
}

/// A question to the model thread, and where the answer goes.
pub struct Request {
    pub prompt: String,
    pub answer: mpsc::Sender<String>,
}

/// Answer requests until all senders are gone: wait for one, take along what else has come by
/// then, `limit` requests at most, and let the model answer all of them in one step.
/// `model` gives one answer for each prompt. Whoever has stopped listening is passed over.
pub fn serve(
    requests: mpsc::Receiver<Request>,
    limit: usize,
    mut model: impl FnMut(&[String]) -> Vec<String>,
) {
    todo!("`recv` waits, `try_iter` does not")
}
