//! Numbers that describe a model and its training.

/// The sizes of a GPT in the Qwen3 form, with one table for input and output.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    pub vocabulary: u32,   // V
    pub width: u32,        // C
    pub layers: u32,       // L
    pub heads: u32,        // H, of queries
    pub kv_heads: u32,     // K, of keys and values
    pub head_size: u32,    // D
    pub feed_forward: u32, // F
}

/// The mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    todo!("add up with a `for` loop; a length is a usize, `as f64` converts it")
}

/// The place of the largest score, the first one if several are equal. There is at least one.
pub fn argmax(scores: &[f32]) -> usize {
    todo!("keep the best place so far in a `let mut`")
}

/// e to the mean of the losses, which are in nats.
pub fn perplexity(losses: &[f64]) -> f64 {
    todo!("use `mean`")
}

/// The learning rate at a step: from 0 straight up to `peak` at step `warmup`, then straight down
/// to 0 at step `steps`, and 0 from there on.
pub fn learning_rate(step: u32, warmup: u32, steps: u32, peak: f64) -> f64 {
    todo!("`if` is an expression: it has a value")
}

/// The number of parameters:
/// V C + L (2 C D (H + K) + 2 D + 3 C F + 2 C) + C.
pub fn count_parameters(config: Config) -> u64 {
    todo!("2 * C * D * (H + K) of a large model does not fit into a u32")
}

/// A share between 0 and 1 as a bar of this many characters: `bar(0.5, 4)` is "##..".
/// Shares outside are taken for 0 or 1; a started character counts from its half on.
pub fn bar(share: f64, width: usize) -> String {
    todo!("`clamp`, `round`, and a String that grows by `push`")
}
