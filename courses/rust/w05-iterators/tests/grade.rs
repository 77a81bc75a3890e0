use std::cell::Cell;

use bigrams::*;

const WORDS: [&str; 10] = ["the", "sun", "and", "the", "moon", "and", "the", "sun", "the", "air"];

#[test]
fn pairs_are_borrowed_and_lazy() {
    let found: Vec<_> = pairs(&WORDS[..3]).collect();
    assert_eq!(found, [("the", "sun"), ("sun", "and")], "pairs of three words");
    assert_eq!(pairs(&[]).count(), 0, "of nothing");
    assert_eq!(pairs(&WORDS[..1]).count(), 0, "of one word");
    let source = include_str!("../src/lib.rs");
    let body = source.split("pub fn pairs").nth(1).and_then(|s| s.split("\n}").next());
    assert!(!body.expect("a function pairs").contains("collect"), "`pairs` need not collect");
}

#[test]
fn counts_of_pairs() {
    let counts = count(&WORDS);
    assert_eq!(counts.get(&("the", "sun")), Some(&2), "the sun");
    assert_eq!(counts.len(), 7, "different pairs");
}

#[test]
fn the_likeliest_next_words() {
    let wanted = [("sun", 2), ("air", 1), ("moon", 1)];
    assert_eq!(likeliest(&WORDS, "the", 9), wanted, "after `the`");
    assert_eq!(likeliest(&WORDS, "the", 2), wanted[..2], "only two of them");
    assert_eq!(likeliest(&WORDS, "air", 2), [], "after the last word nothing comes");
}

#[test]
fn batches_take_what_they_need() {
    let found: Vec<Vec<i32>> = (0..7).batches(3).collect();
    assert_eq!(found, [vec![0, 1, 2], vec![3, 4, 5], vec![6]], "0..7 in threes");
    assert_eq!((0..6).batches(3).count(), 2, "no empty batch at the end");
    assert_eq!("abc".chars().batches(2).count(), 2, "of letters");
    let taken = Cell::new(0);
    let counted = (1..).inspect(|_| taken.set(taken.get() + 1));
    let sums: Vec<i32> = counted.batches(4).map(|b| b.iter().sum()).take(2).collect();
    assert_eq!(sums, [10, 26], "two batches of an endless iterator");
    assert_eq!(taken.get(), 8, "items taken for two batches of four");
}

#[test]
fn perplexity_of_any_iterator() {
    let coin = 0.5f64.ln();
    assert!((perplexity([coin, coin]) - 2.0).abs() < 1e-12, "of an array");
    let halves = (0..1000).map(|_| coin);
    assert!((perplexity(halves) - 2.0).abs() < 1e-9, "of an iterator without end in sight");
    assert_eq!(perplexity([]), 1.0, "of nothing");
}

#[test]
fn dice_are_closures_with_a_state() {
    let (mut first, mut again, mut other) = (dice(7), dice(7), dice(8));
    let throws: Vec<f64> = (0..1000).map(|_| first()).collect();
    assert!(throws.iter().all(|x| (0.0..1.0).contains(x)), "all from 0 to below 1");
    assert!(throws.iter().all(|x| *x == again()), "the same seed gives the same numbers");
    assert!(throws.iter().any(|x| *x != other()), "another seed gives others");
    let mean = throws.iter().sum::<f64>() / 1000.0;
    assert!((mean - 0.5).abs() < 0.05, "the mean of 1000 throws is {mean}");
    let large = throws.iter().position(|x| *x > 0.5).expect("half of them are large");
    assert!(large < 10, "the first large number comes after {large} throws: see the formula");
}
