//! Rotary position embedding (Su et al. 2021, RoFormer, section 3.2.2).
//!
//! Pair i of a head's D numbers is turned by the angle `position * frequency[i]`, where the
//! frequencies fall from 1 to nearly 1 / theta. The dot product of a query at m with a key at n
//! then depends on m - n alone. Pairs are (i, i + D/2), the half-split layout of the checkpoints.
//!
//! Models that were stretched to a longer context after training slow some pairs down:
//!
//! * `linear`: all of them by the same factor (Chen et al. 2023);
//! * `llama3`: those that turn less than once in the original context, the others not, with a
//!   ramp between (Llama 3.1);
//! * `longrope`: each by a factor of its own, once for short and once for long texts, and the
//!   attention becomes a little sharper (Ding et al. 2024, LongRoPE).

use std::f32::consts::TAU;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor, bail};
use serde::Deserialize;
use serde_json::{Value, json};

/// How fast each pair turns.
#[derive(Debug, Clone)]
pub struct Rope {
    frequencies: Arc<[f32]>,           // D/2
    long: Option<(usize, Arc<[f32]>)>, // those for texts of more tokens than this
    scale: f32,                        // of the turned numbers
}

/// rope_parameters of transformers 5; before that rope_scaling, with rope_theta beside it.
#[derive(Deserialize)]
struct Parameters {
    #[serde(alias = "type", default = "default_kind")]
    rope_type: String,
    rope_theta: Option<f32>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    attention_factor: Option<f32>,
    partial_rotary_factor: Option<f32>,
    original_max_position_embeddings: Option<usize>,
    short_factor: Option<Vec<f32>>,
    long_factor: Option<Vec<f32>>,
}

fn default_kind() -> String {
    "default".into()
}

impl Rope {
    /// Read a parsed config.json.
    pub fn from_json(values: &Value, head_dim: usize) -> Result<Self> {
        let given = ["rope_parameters", "rope_scaling"].map(|name| &values[name]);
        let given = given.into_iter().find(|v| v.is_object()).cloned().unwrap_or(json!({}));
        let given: Parameters = match serde_json::from_value(given) {
            Ok(given) => given,
            Err(error) => bail!("config.json: the rotary parameters are wrong: {error}"),
        };
        let number = |name: &str| values[name].as_f64().map(|x| x as f32);
        let partial = given.partial_rotary_factor.or(number("partial_rotary_factor"));
        if partial.unwrap_or(1.0) != 1.0 {
            bail!("rotating only a part of each head is not supported");
        }
        let theta = given.rope_theta.or(number("rope_theta")).unwrap_or(10_000.0);
        let pairs = (0..head_dim).step_by(2).map(|i| i as f32 / head_dim as f32);
        let plain: Vec<f32> = pairs.map(|exponent| theta.powf(-exponent)).collect();
        let context = values["max_position_embeddings"].as_u64().unwrap_or(0) as usize;
        let original = given
            .original_max_position_embeddings
            .or(values["original_max_position_embeddings"].as_u64().map(|n| n as usize))
            .unwrap_or(context);
        match given.rope_type.as_str() {
            "default" => Ok(Self::of(plain)),
            "linear" => Ok(Self::of(divide(&plain, &vec![given.needed_factor()?; plain.len()])?)),
            "llama3" => Ok(Self::of(given.llama3(&plain, original)?)),
            "longrope" => {
                let (Some(short), Some(long)) = (&given.short_factor, &given.long_factor) else {
                    bail!("config.json: longrope needs short_factor and long_factor");
                };
                let stretch = given.factor.unwrap_or(context as f32 / original as f32);
                let sharper = (1.0 + stretch.ln() / (original as f32).ln()).sqrt();
                let usual = if stretch <= 1.0 { 1.0 } else { sharper };
                Ok(Self {
                    frequencies: divide(&plain, short)?.into(),
                    long: Some((original, divide(&plain, long)?.into())),
                    scale: given.attention_factor.unwrap_or(usual),
                })
            }
            kind => bail!("the rotary scaling '{kind}' is not supported"),
        }
    }

    fn of(frequencies: Vec<f32>) -> Self {
        Self { frequencies: frequencies.into(), long: None, scale: 1.0 }
    }

    /// The frequencies (D/2) for a text that may grow to this many tokens.
    pub fn frequencies(&self, tokens: usize) -> Arc<[f32]> {
        match &self.long {
            Some((original, long)) if tokens > *original => long.clone(),
            _ => self.frequencies.clone(),
        }
    }

    /// Cosines and sines, each (N, D/2), of N tokens at these positions of their texts.
    pub fn table(&self, tokens: &[(usize, Arc<[f32]>)]) -> Result<(Tensor, Tensor)> {
        let angles: Vec<f32> = tokens
            .iter()
            .flat_map(|(position, frequencies)| frequencies.iter().map(|f| *position as f32 * f))
            .collect();
        let shape = (tokens.len(), self.frequencies.len());
        let of = |turn: fn(f32) -> f32| {
            let numbers = angles.iter().map(|&angle| turn(angle) * self.scale).collect();
            Tensor::from_vec(numbers, shape, &Device::Cpu)
        };
        Ok((of(f32::cos)?, of(f32::sin)?))
    }
}

impl Parameters {
    fn needed_factor(&self) -> Result<f32> {
        match self.factor {
            Some(factor) => Ok(factor),
            None => bail!("config.json: the rotary scaling '{}' needs a factor", self.rope_type),
        }
    }

    fn llama3(&self, plain: &[f32], original: usize) -> Result<Vec<f32>> {
        let (Some(low), Some(high)) = (self.low_freq_factor, self.high_freq_factor) else {
            bail!("config.json: llama3 needs low_freq_factor and high_freq_factor");
        };
        let factor = self.needed_factor()?;
        let slowed = plain.iter().map(|&frequency| {
            let turns = original as f32 * frequency / TAU; // in the original context
            let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            (1.0 - kept) * frequency / factor + kept * frequency
        });
        Ok(slowed.collect())
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
