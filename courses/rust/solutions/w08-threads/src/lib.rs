//! Work for several threads: parts of a slice, a bounded queue, requests in batches.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, mpsc};
use std::thread;

/// The sum, each thread adding up a part. There is at least one thread.
pub fn sum(values: &[f64], threads: usize) -> f64 {
    thread::scope(|scope| {
        let parts = parts(values, threads).map(|part| scope.spawn(|| part.iter().sum::<f64>()));
        let running: Vec<_> = parts.collect();
        running.into_iter().map(|thread| thread.join().expect("a sum does not panic")).sum()
    })
}

/// `f` of every item, in the order of the items, by this many threads at the same time.
pub fn map<T: Sync, U: Send>(items: &[T], threads: usize, f: impl Fn(&T) -> U + Sync) -> Vec<U> {
    thread::scope(|scope| {
        let f = &f;
        let parts = parts(items, threads)
            .map(|part| scope.spawn(move || part.iter().map(f).collect::<Vec<U>>()));
        let running: Vec<_> = parts.collect();
        running
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|why| std::panic::resume_unwind(why)))
            .collect()
    })
}

/// As many parts as there are threads, of nearly equal length.
fn parts<T>(items: &[T], threads: usize) -> impl Iterator<Item = &[T]> {
    let bound = move |part: usize| items.len() * part / threads;
    (0..threads).map(move |part| &items[bound(part)..bound(part + 1)])
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
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    /// Requests and tokens so far.
    pub fn read(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.tokens.load(Ordering::Relaxed))
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
        let full = |state: &mut State<T>| !state.closed && state.items.len() >= self.limit;
        let state = self.state.lock().expect("no thread panics with the lock");
        let mut state = self.changed.wait_while(state, full).expect("likewise");
        if state.closed {
            return Err(item);
        }
        state.items.push_back(item);
        self.changed.notify_all();
        Ok(())
    }

    /// Take the first item; waits while there is none. None once it is closed and empty.
    pub fn pop(&self) -> Option<T> {
        let empty = |state: &mut State<T>| !state.closed && state.items.is_empty();
        let state = self.state.lock().expect("no thread panics with the lock");
        let mut state = self.changed.wait_while(state, empty).expect("likewise");
        let item = state.items.pop_front();
        self.changed.notify_all();
        item
    }

    /// Let nothing more in; whoever waits is told.
    pub fn close(&self) {
        self.state.lock().expect("no thread panics with the lock").closed = true;
        self.changed.notify_all();
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
    while let Ok(first) = requests.recv() {
        let others = requests.try_iter().take(limit - 1);
        let (prompts, listeners): (Vec<_>, Vec<_>) =
            std::iter::once(first).chain(others).map(|r| (r.prompt, r.answer)).unzip();
        for (answer, listener) in model(&prompts).into_iter().zip(listeners) {
            let _ = listener.send(answer); // an error says that nobody listens
        }
    }
}
