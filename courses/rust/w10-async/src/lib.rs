//! What is behind `async`: futures are polled, wakers say when it is worth while to poll again.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// Run a future to its end in this thread, which sleeps while there is nothing to do.
pub fn block_on<F: Future>(future: F) -> F::Output {
    todo!("`std::pin::pin!`; a `Wake` that unparks this thread; poll, `thread::park`, poll")
}

/// Let others run: pending at the first poll, ready at the second.
pub fn yield_now() -> impl Future<Output = ()> {
    std::future::poll_fn(|_context| todo!("wake yourself before you say Pending"))
}

/// Both futures at once, in one task.
pub async fn join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    todo!("poll both each time until each has given its result; never poll one again after that")
}

/// What sender and receiver of one value share.
struct Slot<T> {
    value: Option<T>,
    sender_is_there: bool,
    waker: Option<Waker>, // of who waits for the value
}

/// Sends one value.
pub struct Sender<T>(Arc<Mutex<Slot<T>>>);

/// A future: the value, or None if the sender is gone without one.
pub struct Receiver<T>(Arc<Mutex<Slot<T>>>);

pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Slot { value: None, sender_is_there: true, waker: None };
    let slot = Arc::new(Mutex::new(slot));
    (Sender(Arc::clone(&slot)), Receiver(slot))
}

impl<T> Sender<T> {
    pub fn send(self, value: T) {
        todo!("dropping self follows at the end of this function")
    }
}

// TODO: impl Drop for Sender, which wakes the receiver

impl<T> Future for Receiver<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        todo!("keep the waker of the latest poll")
    }
}

/// Runs many tasks in one thread, in the order in which they become ready.
#[derive(Default)]
pub struct Executor {
    ready: Arc<Ready>,
    unfinished: usize,
}

/// Tasks that want to be polled.
#[derive(Default)]
struct Ready {
    tasks: Mutex<VecDeque<Arc<Task>>>,
    came: Condvar,
}

struct Task {
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>, // None once it is done
    ready: Arc<Ready>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        todo!("stand in line again")
    }
}

impl Executor {
    pub fn new() -> Self {
        Self::default()
    }

    /// A new task, behind those that are ready.
    pub fn spawn(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        todo!()
    }

    /// Poll until all tasks are done; sleep while none is ready.
    pub fn run(&mut self) {
        todo!("`Waker::from(Arc<Task>)`; a task may be woken again after it is done")
    }
}
