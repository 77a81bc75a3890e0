use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

use threads::*;

#[test]
fn a_sum_in_parts() {
    let values: Vec<f64> = (1..=1000).map(f64::from).collect();
    for threads in [1, 2, 3, 7] {
        assert_eq!(sum(&values, threads), 500_500.0, "1 to 1000 in {threads} threads");
    }
    assert_eq!(sum(&[2.0], 4), 2.0, "fewer numbers than threads");
    assert_eq!(sum(&[], 4), 0.0, "of nothing");
}

#[test]
fn results_keep_their_order() {
    let (items, calls) = ((0..100).collect::<Vec<usize>>(), AtomicUsize::new(0));
    let squares = map(&items, 3, |n| {
        calls.fetch_add(1, Ordering::Relaxed);
        n * n
    });
    assert!(squares.iter().enumerate().all(|(n, square)| *square == n * n), "found {squares:?}");
    assert_eq!(squares.len(), 100, "results");
    assert_eq!(calls.into_inner(), 100, "calls of f for 100 items");
    assert_eq!(map(&[] as &[u8], 3, |n| *n), [], "of nothing");
    let panics = std::panic::catch_unwind(|| map(&[1, 2], 2, |n| assert_eq!(*n, 1)));
    assert!(panics.is_err(), "a panic of f has to reach the caller");
}

#[test]
fn all_threads_work_at_once() {
    let barrier = Barrier::new(4); // opens when four threads wait
    let done = map(&[(); 4], 4, |()| barrier.wait().is_leader());
    assert_eq!(done.iter().filter(|leader| **leader).count(), 1, "one of four opens the barrier");
}

#[test]
fn counters_lose_nothing() {
    let metrics = Metrics::default();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10_000).for_each(|_| metrics.record(3)));
        }
    });
    assert_eq!(metrics.read(), (40_000, 120_000), "requests and tokens of four threads");
}

#[test]
fn a_queue_is_first_in_first_out() {
    let queue = Queue::new(3);
    for n in 1..=3 {
        assert_eq!(queue.push(n), Ok(()), "there is room for {n}");
    }
    assert_eq!([queue.pop(), queue.pop(), queue.pop()], [Some(1), Some(2), Some(3)], "the order");
}

#[test]
fn a_full_queue_waits() {
    // An item may be counted out just before it was counted in: the number may fall below 0.
    let (inside, longest) = (AtomicIsize::new(0), AtomicIsize::new(0));
    let queue = Queue::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..200 {
                queue.push(n).expect("the queue is open");
                longest.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            }
            queue.close();
        });
        let found: Vec<i32> = std::iter::from_fn(|| {
            let item = queue.pop();
            inside.fetch_sub(1, Ordering::SeqCst);
            item
        })
        .collect();
        assert!(found.iter().copied().eq(0..200), "not 0 to 199 in order: {found:?}");
    });
    // One that was taken out may still be counted in.
    let longest = longest.into_inner();
    assert!(longest <= 3, "{longest} items lay in a queue for 2");
}

#[test]
fn a_closed_queue_ends() {
    let queue = Arc::new(Queue::new(1));
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.pop())
        })
        .collect();
    queue.push("last").expect("the queue is open");
    queue.close();
    let mut found: Vec<_> =
        waiting.into_iter().map(|thread| thread.join().expect("`pop` does not panic")).collect();
    found.sort();
    assert_eq!(found, [None, Some("last")], "what two threads were given");
    assert_eq!(queue.push("late"), Err("late"), "a closed queue gives it back");
    let full = Arc::new(Queue::new(1));
    full.push(1).expect("the queue is open");
    let pusher = {
        let full = Arc::clone(&full);
        thread::spawn(move || full.push(2))
    };
    full.close();
    assert_eq!(pusher.join().expect("`push` does not panic"), Err(2), "one that waited for room");
    assert_eq!((full.pop(), full.pop()), (Some(1), None), "what is inside can still be taken");
}

#[test]
fn one_step_answers_many_requests() {
    let (sender, receiver) = mpsc::channel();
    let answers: Vec<_> = (0..5)
        .map(|n| {
            let (answer, listener) = mpsc::channel();
            sender.send(Request { prompt: format!("p{n}"), answer }).expect("it is open");
            listener
        })
        .collect();
    let mut answers = answers.into_iter();
    drop(answers.next()); // nobody waits for the first answer
    drop(sender);
    let mut steps = Vec::new();
    serve(receiver, 3, |prompts| {
        steps.push(prompts.len());
        prompts.iter().map(|prompt| prompt.to_uppercase()).collect()
    });
    assert_eq!(steps, [3, 2], "five requests were waiting, three fit into a step");
    let found: Vec<String> = answers.map(|a| a.recv().expect("there is an answer")).collect();
    assert_eq!(found, ["P1", "P2", "P3", "P4"], "each its own answer");
}
