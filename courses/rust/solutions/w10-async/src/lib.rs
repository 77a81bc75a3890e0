//! What is behind `async`: futures are polled, wakers say when it is worth while to poll again.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Run a future to its end in this thread, which sleeps while there is nothing to do.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            // An unpark that came since the poll lets this return at once.
            Poll::Pending => thread::park(),
        }
    }
}

/// Let others run: pending at the first poll, ready at the second.
pub fn yield_now() -> impl Future<Output = ()> {
    let mut yielded = false;
    std::future::poll_fn(move |context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Both futures at once, in one task.
pub async fn join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(|context| {
        if first.is_none()
            && let Poll::Ready(value) = a.as_mut().poll(context)
        {
            first = Some(value);
        }
        if second.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(context)
        {
            second = Some(value);
        }
        match (first.take(), second.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            unfinished => {
                (first, second) = unfinished;
                Poll::Pending
            }
        }
    })
    .await
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
        self.0.lock().expect("no thread panics with the lock").value = Some(value);
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut slot = self.0.lock().expect("no thread panics with the lock");
        slot.sender_is_there = false;
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = self.0.lock().expect("no thread panics with the lock");
        if slot.value.is_some() || !slot.sender_is_there {
            return Poll::Ready(slot.value.take());
        }
        slot.waker = Some(context.waker().clone());
        Poll::Pending
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

impl Ready {
    fn add(&self, task: Arc<Task>) {
        self.tasks.lock().expect("no thread panics with the lock").push_back(task);
        self.came.notify_one();
    }

    fn next(&self) -> Arc<Task> {
        let tasks = self.tasks.lock().expect("no thread panics with the lock");
        let mut tasks = self.came.wait_while(tasks, |tasks| tasks.is_empty()).expect("likewise");
        tasks.pop_front().expect("there is one")
    }
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    future: Mutex<Option<Work>>, // None once it is done
    ready: Arc<Ready>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let ready = Arc::clone(&self.ready);
        ready.add(self);
    }
}

impl Executor {
    pub fn new() -> Self {
        Self::default()
    }

    /// A new task, behind those that are ready.
    pub fn spawn(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        let future = Mutex::new(Some(Box::pin(future) as Work));
        self.unfinished += 1;
        self.ready.add(Arc::new(Task { future, ready: Arc::clone(&self.ready) }));
    }

    /// Poll until all tasks are done; sleep while none is ready.
    pub fn run(&mut self) {
        while self.unfinished > 0 {
            let task = self.ready.next();
            let waker = Waker::from(Arc::clone(&task));
            let mut place = task.future.lock().expect("a task that panics ends the program");
            let Some(future) = place.as_mut() else { continue };
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                *place = None;
                self.unfinished -= 1;
            }
        }
    }
}
