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
    if values.is_empty() {
        return 0.0;
    }
    let mut sum = 0.0;
    for value in values {
        sum += value;
    }
    sum / values.len() as f64
}

/// The place of the largest score, the first one if several are equal. There is at least one.
pub fn argmax(scores: &[f32]) -> usize {
    let mut best = 0;
    for (place, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = place;
        }
    }
    best
}

/// e to the mean of the losses, which are in nats.
pub fn perplexity(losses: &[f64]) -> f64 {
    mean(losses).exp()
}

/// The learning rate at a step: from 0 straight up to `peak` at step `warmup`, then straight down
/// to 0 at step `steps`, and 0 from there on.
pub fn learning_rate(step: u32, warmup: u32, steps: u32, peak: f64) -> f64 {
    let share = if step < warmup {
        f64::from(step) / f64::from(warmup)
    } else if step < steps {
        f64::from(steps - step) / f64::from(steps - warmup)
    } else {
        0.0
    };
    peak * share
}

/// The number of parameters:
/// V C + L (2 C D (H + K) + 2 D + 3 C F + 2 C) + C.
pub fn count_parameters(config: Config) -> u64 {
    let [v, c, l, h, k, d, f] = [
        config.vocabulary,
        config.width,
        config.layers,
        config.heads,
        config.kv_heads,
        config.head_size,
        config.feed_forward,
    ]
    .map(u64::from);
    v * c + l * (2 * c * d * (h + k) + 2 * d + 3 * c * f + 2 * c) + c
}

/// A share between 0 and 1 as a bar of this many characters: `bar(0.5, 4)` is "##..".
/// Shares outside are taken for 0 or 1; a started character counts from its half on.
pub fn bar(share: f64, width: usize) -> String {
    let full = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    let mut text = String::new();
    for place in 0..width {
        text.push(if place < full { '#' } else { '.' });
    }
    text
}
