//! Rotary position embedding (Su et al. 2021, RoFormer, section 3.2.2), also for longer contexts.
//!
//! Pair i of a head's D numbers is turned by the angle `position * f_i`, f_i = theta^(-2i/D). The
//! dot product of a query at m with a key at n then depends on m - n alone. Pairs are (i, i + D/2),
//! the half-split layout of the checkpoints; some models turn only the first part of each head.
//!
//! Models that were stretched from L positions to s times as many turn the slow pairs, whose later
//! angles they have never seen, more slowly still:
//!
//! * `linear`: all pairs, f_i / s (Chen et al. 2023);
//! * `llama3`: those that make few turns in L positions, with a blend towards those that make many
//!   (Llama 3.1);
//! * `yarn`: likewise, but the blend is linear in i (Peng et al. 2023, YaRN, section 3.2);
//! * `longrope`: each by a factor of its own, others for texts of up to L tokens than for longer
//!   ones (Ding et al. 2024, LongRoPE).
//!
//! Attention over more positions is flatter. The last two sharpen it again, by a scale.

use std::f32::consts::PI;
use std::sync::Arc;

use candle_core::{Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

/// L of a Phi-3 config that does not say.
const PHI3_ORIGINAL: u64 = 4096;

/// How fast each pair turns.
#[derive(Debug, Clone)]
pub struct Rope {
    size: usize,                       // numbers of a head that are turned
    frequencies: Arc<[f32]>,           // size / 2
    long: Option<(usize, Arc<[f32]>)>, // LongRoPE's L and its frequencies for longer texts
    scale: f32,                        // of the turned numbers
}

/// `rope_parameters` of transformers 5; before that `rope_scaling`, some of it beside it.
#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    rope_type: String,
    rope_theta: Option<f32>,
    partial_rotary_factor: Option<f32>,
    factor: Option<f32>,
    original_max_position_embeddings: Option<u64>,
    attention_factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    beta_slow: Option<f32>,
    beta_fast: Option<f32>,
    truncate: Option<bool>,
    mscale: Option<f32>,
    mscale_all_dim: Option<f32>,
    short_factor: Option<Vec<f32>>,
    long_factor: Option<Vec<f32>>,
}

/// The rotary parameters in the form of transformers 5, wherever config.json has them.
fn parameters(values: &Value) -> Result<Parameters> {
    let given = ["rope_scaling", "rope_parameters"].map(|name| &values[name]);
    let mut given = given.into_iter().find(|v| v.is_object()).cloned().unwrap_or(json!({}));
    let phi3 = values["model_type"] == "phi3";
    let kind = [&given["rope_type"], &given["type"]].into_iter().find_map(|v| v.as_str());
    given["rope_type"] = match kind {
        Some("su" | "yarn") if phi3 => json!("longrope"), // names that LongRoPE had at first
        kind => json!(kind.unwrap_or("default")),
    };
    for name in ["rope_theta", "partial_rotary_factor"] {
        if given[name].is_null() {
            given[name] = values[name].clone();
        }
    }
    let original = "original_max_position_embeddings";
    if !values[original].is_null() {
        given[original] = values[original].clone();
    } else if phi3 {
        given[original] = json!(PHI3_ORIGINAL);
    }
    match serde_json::from_value(given) {
        Ok(given) => Ok(given),
        Err(error) => bail!("config.json: the rotary parameters are wrong: {error}"),
    }
}

impl Rope {
    /// Read a parsed config.json.
    pub fn from_json(values: &Value, head_dim: usize) -> Result<Self> {
        let given = parameters(values)?;
        let size = (head_dim as f32 * given.partial_rotary_factor.unwrap_or(1.0)) as usize;
        if size == 0 || size > head_dim || !size.is_multiple_of(2) {
            bail!("config.json: {size} of {head_dim} numbers of a head cannot be turned");
        }
        let theta = given.rope_theta.unwrap_or(10_000.0);
        let pairs = (0..size).step_by(2).map(|i| i as f32 / size as f32);
        let plain: Vec<f32> = pairs.map(|exponent| theta.powf(-exponent)).collect();
        let context = values["max_position_embeddings"].as_u64().unwrap_or(0);
        let original = given.original_max_position_embeddings.unwrap_or(context);
        let stretch = context as f32 / original as f32;
        let (frequencies, long, scale) = match given.rope_type.as_str() {
            "default" => (plain, None, 1.0),
            "linear" => (given.blend(&plain, |_| 0.0)?, None, 1.0),
            "llama3" => (given.llama3(&plain, original as f32)?, None, 1.0),
            "yarn" => {
                let factor = given.factor.unwrap_or(stretch);
                let scale = given.attention_factor.unwrap_or(given.yarn_scale(factor));
                let given = Parameters { factor: Some(factor), ..given };
                (given.yarn(&plain, theta, original as f32)?, None, scale)
            }
            "longrope" => {
                let (Some(short), Some(long)) = (&given.short_factor, &given.long_factor) else {
                    bail!("config.json: longrope needs short_factor and long_factor");
                };
                let factor = given.factor.unwrap_or(stretch).max(1.0);
                let usual = (1.0 + factor.ln() / (original as f32).ln()).sqrt();
                let long = Some((original as usize, divide(&plain, long)?.into()));
                (divide(&plain, short)?, long, given.attention_factor.unwrap_or(usual))
            }
            kind => bail!("the rotary scaling '{kind}' is not supported"),
        };
        Ok(Self { size, frequencies: frequencies.into(), long, scale })
    }

    /// How many tokens a text may have before its keys are turned otherwise, if that ever happens.
    pub fn original_context(&self) -> Option<usize> {
        self.long.as_ref().map(|(original, _)| *original)
    }

    /// The frequencies for a text that may grow to this many tokens.
    pub fn frequencies(&self, tokens: usize) -> Arc<[f32]> {
        match &self.long {
            Some((original, long)) if tokens > *original => long.clone(),
            _ => self.frequencies.clone(),
        }
    }

    /// Cosines and sines for N tokens at these positions of their texts.
    pub fn table<'a>(&self, tokens: impl Iterator<Item = (usize, &'a [f32])>) -> Table {
        let turns =
            tokens.flat_map(|(at, frequencies)| frequencies.iter().map(move |f| at as f32 * f));
        let turns = turns.map(|angle| (angle.cos() * self.scale, angle.sin() * self.scale));
        Table { turns: turns.collect(), pairs: self.size / 2 }
    }
}

/// What to turn the pairs of a head by.
pub struct Table {
    turns: Vec<(f32, f32)>, // (N, pairs) of cosine and sine
    pairs: usize,
}

impl Table {
    /// Turn a head (D) of token n.
    pub fn turn(&self, n: usize, head: &mut [f32]) {
        let (first, rest) = head.split_at_mut(self.pairs);
        let turns = &self.turns[n * self.pairs..(n + 1) * self.pairs];
        for ((a, b), (cosine, sine)) in first.iter_mut().zip(rest).zip(turns) {
            (*a, *b) = (*a * cosine - *b * sine, *a * sine + *b * cosine);
        }
    }
}

impl Parameters {
    /// Each frequency divided by the factor, but for the share that `kept` says for pair i.
    fn blend(&self, plain: &[f32], kept: impl Fn(usize) -> f32) -> Result<Vec<f32>> {
        let Some(factor) = self.factor else {
            bail!("config.json: the rotary scaling '{}' needs a factor", self.rope_type);
        };
        let blend = |(i, f): (usize, &f32)| (1.0 - kept(i)) * f / factor + kept(i) * f;
        Ok(plain.iter().enumerate().map(blend).collect())
    }

    fn llama3(&self, plain: &[f32], original: f32) -> Result<Vec<f32>> {
        let (Some(low), Some(high)) = (self.low_freq_factor, self.high_freq_factor) else {
            bail!("config.json: llama3 needs low_freq_factor and high_freq_factor");
        };
        let turns = |i: usize| original * plain[i] / (2.0 * PI);
        self.blend(plain, |i| ((turns(i) - low) / (high - low)).clamp(0.0, 1.0))
    }

    fn yarn(&self, plain: &[f32], theta: f32, original: f32) -> Result<Vec<f32>> {
        // The i, seldom whole, of which f_i makes this many turns in the original context.
        let pair =
            |turns: f32| plain.len() as f32 * (original / (2.0 * PI * turns)).ln() / theta.ln();
        let mut first = pair(self.beta_fast.unwrap_or(32.0));
        let mut last = pair(self.beta_slow.unwrap_or(1.0));
        if self.truncate.unwrap_or(true) {
            (first, last) = (first.floor(), last.ceil());
        }
        (first, last) = (first.max(0.0), last.min(2.0 * plain.len() as f32 - 1.0));
        let width = if last == first { 0.001 } else { last - first }; // or a step
        self.blend(plain, |i| 1.0 - ((i as f32 - first) / width).clamp(0.0, 1.0))
    }

    fn yarn_scale(&self, factor: f32) -> f32 {
        let scale = |weight: f32| if factor > 1.0 { 0.1 * weight * factor.ln() + 1.0 } else { 1.0 };
        match (self.mscale, self.mscale_all_dim) {
            (Some(one), Some(all)) if one != 0.0 && all != 0.0 => scale(one) / scale(all),
            _ => scale(1.0),
        }
    }
}

fn divide(plain: &[f32], factors: &[f32]) -> Result<Vec<f32>> {
    if plain.len() != factors.len() {
        bail!("config.json: {} rotary factors for {} pairs", factors.len(), plain.len());
    }
    Ok(plain.iter().zip(factors).map(|(frequency, factor)| frequency / factor).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(values: Value) -> Result<Rope> {
        Rope::from_json(&values, 4)
    }

    #[test]
    fn theta_is_found_in_the_old_place_and_the_new() {
        for values in [
            json!({"rope_theta": 100.0}),
            json!({"rope_parameters": {"rope_theta": 100.0, "rope_type": "default"}}),
            json!({"rope_theta": 100.0, "rope_scaling": null}),
        ] {
            assert_eq!(*rope(values).unwrap().frequencies(1), [1.0, 0.1]);
        }
        assert_eq!(*rope(json!({})).unwrap().frequencies(1), [1.0, 0.01]);
    }

    #[test]
    fn a_long_text_turns_by_other_factors() {
        let long = rope(json!({
            "rope_theta": 100.0, "max_position_embeddings": 64,
            "original_max_position_embeddings": 8,
            "rope_scaling": {"type": "longrope", "short_factor": [1, 2], "long_factor": [4, 5]},
        }))
        .unwrap();
        assert_eq!(*long.frequencies(8), [1.0, 0.05]);
        assert_eq!(*long.frequencies(9), [0.25, 0.02]);
        assert!((long.scale - 2f32.sqrt()).abs() < 1e-6); // 1 + ln 8 / ln 8
    }

    #[test]
    fn a_wrong_number_of_factors_is_refused() {
        let error = rope(json!({
            "max_position_embeddings": 64,
            "rope_scaling": {"type": "longrope", "short_factor": [1], "long_factor": [4]},
        }));
        assert!(error.unwrap_err().to_string().contains("1 rotary factors for 2 pairs"));
    }
}
