//! A language model that has seen two words at a time, in iterators and closures.

use std::collections::HashMap;

/// Each word with the one behind it.
pub fn pairs<'a>(words: &'a [&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    let none: [(&str, &str); 0] = todo!("`windows` or `zip`; collect nothing");
    none.into_iter()
}

/// How often each pair occurs.
pub fn count<'a>(words: &'a [&'a str]) -> HashMap<(&'a str, &'a str), usize> {
    todo!("`entry(...).or_default()`")
}

/// The k words that come after a word most often, with how often; equal ones by the alphabet.
pub fn likeliest<'a>(words: &'a [&'a str], after: &str, k: usize) -> Vec<(&'a str, usize)> {
    todo!("`filter`, count, then `sort_by` and `truncate`")
}

/// Items in groups of a size; the last group may be smaller. Made by `BatchExt::batches`.
pub struct Batches<I> {
    items: I,
    size: usize,
}

impl<I: Iterator> Iterator for Batches<I> {
    type Item = Vec<I::Item>;

    fn next(&mut self) -> Option<Self::Item> {
        todo!("`by_ref().take(...)`; an empty group is the end")
    }
}

/// Gives `batches` to every iterator: `(0..10).batches(4)`.
pub trait BatchExt: Iterator + Sized {
    /// Groups of `size` items, which is at least 1.
    fn batches(self, size: usize) -> Batches<Self> {
        assert!(size > 0, "a batch holds at least one item");
        Batches { items: self, size }
    }
}

// TODO: implement BatchExt for every iterator

/// e to the minus mean of the logarithms of probabilities; of nothing it is 1.
pub fn perplexity(logprobs: impl IntoIterator<Item = f64>) -> f64 {
    todo!("sum and number in one `fold`: an iterator can be walked only once")
}

/// A function that gives numbers from 0 to below 1, the same ones for the same seed.
/// The state begins as seed + 1. Each call changes it by three steps of xorshift,
/// `s ^= s << 13; s ^= s >> 7; s ^= s << 17`, and gives (s >> 11) as f64 / 2^53.
pub fn dice(seed: u64) -> impl FnMut() -> f64 {
    let state = seed + 1;
    move || todo!("a closure that changes what it holds: {state}")
}
