//! A language model that has seen two words at a time, in iterators and closures.

use std::cmp::Reverse;
use std::collections::HashMap;

/// Each word with the one behind it.
pub fn pairs<'a>(words: &'a [&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    words.iter().copied().zip(words.iter().copied().skip(1))
}

/// How often each pair occurs.
pub fn count<'a>(words: &'a [&'a str]) -> HashMap<(&'a str, &'a str), usize> {
    let mut counts = HashMap::new();
    for pair in pairs(words) {
        *counts.entry(pair).or_default() += 1;
    }
    counts
}

/// The k words that come after a word most often, with how often; equal ones by the alphabet.
pub fn likeliest<'a>(words: &'a [&'a str], after: &str, k: usize) -> Vec<(&'a str, usize)> {
    let mut found: Vec<(&str, usize)> = count(words)
        .into_iter()
        .filter(|((first, _), _)| *first == after)
        .map(|((_, second), number)| (second, number))
        .collect();
    found.sort_by_key(|&(word, number)| (Reverse(number), word));
    found.truncate(k);
    found
}

/// Items in groups of a size; the last group may be smaller. Made by `BatchExt::batches`.
pub struct Batches<I> {
    items: I,
    size: usize,
}

impl<I: Iterator> Iterator for Batches<I> {
    type Item = Vec<I::Item>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch: Vec<I::Item> = self.items.by_ref().take(self.size).collect();
        if batch.is_empty() { None } else { Some(batch) }
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

impl<I: Iterator> BatchExt for I {}

/// e to the minus mean of the logarithms of probabilities; of nothing it is 1.
pub fn perplexity(logprobs: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, number) =
        logprobs.into_iter().fold((0.0, 0usize), |(sum, number), next| (sum + next, number + 1));
    if number == 0 { 1.0 } else { (-sum / number as f64).exp() }
}

/// A function that gives numbers from 0 to below 1, the same ones for the same seed.
/// The state begins as seed + 1. Each call changes it by three steps of xorshift,
/// `s ^= s << 13; s ^= s >> 7; s ^= s << 17`, and gives (s >> 11) as f64 / 2^53.
pub fn dice(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed + 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    }
}
