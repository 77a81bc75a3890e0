use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::thread;

use tasks::*;

/// A future that counts how often it is polled.
fn counted<F: Future>(future: F, polls: &AtomicUsize) -> impl Future<Output = F::Output> {
    let mut future = Box::pin(future);
    poll_fn(move |context| {
        polls.fetch_add(1, Ordering::SeqCst);
        future.as_mut().poll(context)
    })
}

#[test]
fn block_on_gives_the_result() {
    assert_eq!(block_on(async { 6 * 7 }), 42, "a future that is ready at once");
    let text = String::from("borrowed");
    assert_eq!(block_on(async { text.len() }), 8, "one that borrows from outside");
    let yielded = block_on(async {
        yield_now().await;
        yield_now().await;
        "again"
    });
    assert_eq!(yielded, "again", "one that yields twice");
}

#[test]
fn block_on_sleeps_until_it_is_woken() {
    let (sender, receiver) = channel();
    let (go, wait) = mpsc::channel();
    let polls = AtomicUsize::new(0);
    let helper = thread::spawn(move || {
        wait.recv().expect("the future is polled");
        (0..2000).for_each(|_| thread::yield_now()); // long, for a loop that polls all the time
        sender.send(5);
    });
    let announced = async {
        go.send(()).expect("the helper waits");
        receiver.await
    };
    assert_eq!(block_on(counted(announced, &polls)), Some(5), "what the helper sends");
    helper.join().expect("the helper does not panic");
    let polls = polls.into_inner();
    assert!(polls < 20, "polled {polls} times: sleep while nobody has woken you");
}

#[test]
fn a_value_comes_from_another_thread() {
    for n in 0..200 {
        let (sender, receiver) = channel();
        let helper = thread::spawn(move || sender.send(n));
        assert_eq!(block_on(receiver), Some(n), "value {n}");
        helper.join().expect("`send` does not panic");
    }
    let (sender, receiver) = channel();
    sender.send("early");
    assert_eq!(block_on(receiver), Some("early"), "sent before anybody waits");
}

#[test]
fn a_sender_that_is_gone_ends_the_wait() {
    let (sender, receiver) = channel::<u8>();
    drop(sender);
    assert_eq!(block_on(receiver), None, "gone before anybody waits");
    let (sender, receiver) = channel::<u8>();
    let helper = thread::spawn(move || drop(sender));
    assert_eq!(block_on(receiver), None, "gone meanwhile");
    helper.join().expect("dropping does not panic");
}

#[test]
fn two_futures_wait_for_each_other() {
    let ((to_b, from_a), (to_a, from_b)) = (channel(), channel());
    let a = async {
        to_b.send(1);
        from_b.await
    };
    let b = async {
        let found = from_a.await;
        to_a.send(found.map(|n: i32| n + 1));
        found
    };
    assert_eq!(block_on(join(a, b)), (Some(Some(2)), Some(1)), "each waits for the other");
    let polls = AtomicUsize::new(0);
    let slow = async {
        for _ in 0..3 {
            yield_now().await;
        }
    };
    block_on(join(counted(async {}, &polls), slow));
    assert_eq!(polls.into_inner(), 1, "polls of one that was ready at once");
}

#[test]
fn tasks_take_turns() {
    let (mut executor, seen) = (Executor::new(), Arc::new(Mutex::new(Vec::new())));
    for task in 0..3 {
        let seen = Arc::clone(&seen);
        executor.spawn(async move {
            for step in 0..2 {
                seen.lock().expect("nobody panics").push((step, task));
                yield_now().await;
            }
        });
    }
    executor.run();
    let seen = seen.lock().expect("nobody panics").clone();
    assert_eq!(seen, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)], "(step, task)");
    executor.run();
}

#[test]
fn tasks_are_polled_only_when_woken() {
    let mut executor = Executor::new();
    let (sender, receiver) = channel();
    let polls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&polls);
    executor.spawn(async move {
        let mut receiver = Box::pin(receiver);
        let found = poll_fn(|context| {
            counter.fetch_add(1, Ordering::SeqCst);
            receiver.as_mut().poll(context)
        });
        assert_eq!(found.await, Some("done"), "what the other task sends");
    });
    executor.spawn(async {
        for _ in 0..50 {
            yield_now().await;
        }
        sender.send("done");
    });
    executor.run();
    assert_eq!(polls.load(Ordering::SeqCst), 2, "polls of a task that is woken once");
    let (sender, receiver) = channel();
    executor.spawn(async move {
        receiver.await;
    });
    let helper = thread::spawn(move || sender.send(()));
    executor.run();
    helper.join().expect("`send` does not panic");
    let late = poll_fn(|context| {
        context.waker().wake_by_ref();
        Poll::Ready(())
    });
    executor.spawn(late);
    executor.spawn(yield_now());
    executor.run();
}
