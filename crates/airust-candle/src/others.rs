//! Families that `model.rs` does not cover, by the models of candle-transformers.
//!
//! Those keep one text's keys and values inside the model and tell the logits of the last token
//! only. So each text gets a copy of the model, which shares the weights, and texts are computed
//! one after another.

use std::path::Path;

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_nn::VarBuilder;
use candle_transformers::models::{gemma2, qwen3_moe, smol::smollm3};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::weights;

/// A model with the keys and values of one text inside.
pub trait Other: Send + Sync {
    /// Logits of the last of the ids (1, T), which come behind `length` earlier ones.
    fn forward(&mut self, ids: &Tensor, length: usize) -> Result<Tensor>;

    /// A copy for another text.
    fn copy(&self) -> Box<dyn Other>;
}

macro_rules! other {
    ($model:ty) => {
        impl Other for $model {
            fn forward(&mut self, ids: &Tensor, length: usize) -> Result<Tensor> {
                Self::forward(self, ids, length)
            }

            fn copy(&self) -> Box<dyn Other> {
                Box::new(self.clone())
            }
        }
    };
}

other!(gemma2::Model);
other!(qwen3_moe::ModelForCausalLM);
other!(smollm3::ModelForCausalLM);

/// Families that are known here.
pub const FAMILIES: [&str; 3] = ["gemma2", "qwen3_moe", "smollm3"];

/// Read a model folder, all of whose tensors become `dtype`.
pub fn load(folder: &Path, values: &Value, dtype: DType) -> Result<Box<dyn Other>> {
    let files = weights::files(folder)?;
    // SAFETY: as in `Weights::open`.
    let weights = unsafe { VarBuilder::from_mmaped_safetensors(&files, dtype, &Device::Cpu)? };
    check(values)?;
    let values = &as_before(values);
    Ok(match values["model_type"].as_str().unwrap_or_default() {
        "gemma2" => Box::new(gemma2::Model::new(false, &config(values)?, weights)?),
        "qwen3_moe" => Box::new(qwen3_moe::ModelForCausalLM::new(&config(values)?, weights)?),
        "smollm3" => Box::new(smollm3::ModelForCausalLM::new(&config(values)?, weights)?),
        family => bail!("the model type '{family}' is not supported"),
    })
}

/// How many positions there may be. The masks of candle-transformers know no sliding window while
/// they decode, and it is felt only behind its length.
pub fn context(values: &Value) -> usize {
    let size = |name: &str| values[name].as_u64().map(|size| size as usize);
    let window = match values["use_sliding_window"].as_bool() {
        Some(false) => None,
        _ => size("sliding_window"),
    };
    size("max_position_embeddings").unwrap_or(0).min(window.unwrap_or(usize::MAX))
}

/// Refuse what candle-transformers would load and then answer wrongly.
fn check(values: &Value) -> Result<()> {
    for scaling in [&values["rope_scaling"], &values["rope_parameters"]] {
        let kind = [&scaling["rope_type"], &scaling["type"]].into_iter().find_map(Value::as_str);
        if let Some(kind) = kind.filter(|kind| *kind != "default") {
            bail!("the rotary scaling '{kind}' is not supported for {}", values["model_type"]);
        }
    }
    if values["mlp_only_layers"].as_array().is_some_and(|layers| !layers.is_empty()) {
        bail!("mlp_only_layers are not supported");
    }
    if values["quantization_config"].is_object() {
        bail!("quantised weights are not supported");
    }
    Ok(())
}

/// config.json in the form of transformers 4, which candle-transformers reads.
fn as_before(values: &Value) -> Value {
    let mut values = values.clone();
    let rope = values["rope_parameters"].clone();
    if values["rope_theta"].is_null() {
        values["rope_theta"] = rope.get("rope_theta").cloned().unwrap_or(json!(10_000.0));
    }
    for (old, new) in
        [("num_experts", "num_local_experts"), ("max_window_layers", "num_hidden_layers")]
    {
        if values[old].is_null() {
            values[old] = values[new].clone();
        }
    }
    for name in ["bos_token_id", "eos_token_id", "pad_token_id"] {
        values[name] = Value::Null; // may be lists, and nobody here asks for them
    }
    values
}

fn config<C: DeserializeOwned>(values: &Value) -> Result<C> {
    match serde_json::from_value(values.clone()) {
        Ok(config) => Ok(config),
        Err(error) => bail!("config.json: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_answer_wrongly_is_refused() {
        for (values, reason) in [
            (json!({"rope_scaling": {"type": "linear", "factor": 2}}), "linear"),
            (json!({"rope_parameters": {"rope_type": "yarn"}}), "yarn"),
            (json!({"mlp_only_layers": [0]}), "mlp_only_layers"),
            (json!({"quantization_config": {"bits": 4}}), "quantised"),
        ] {
            assert!(check(&values).unwrap_err().to_string().contains(reason));
        }
        let harmless = json!({
            "rope_scaling": null, "rope_parameters": {"rope_type": "default"},
            "mlp_only_layers": [], "quantization_config": null,
        });
        assert!(check(&harmless).is_ok());
    }

    #[test]
    fn the_context_ends_with_the_window() {
        assert_eq!(context(&json!({"max_position_embeddings": 64})), 64);
        assert_eq!(context(&json!({"max_position_embeddings": 64, "sliding_window": 16})), 16);
        let mut unused = json!({"max_position_embeddings": 64, "sliding_window": 16});
        unused["use_sliding_window"] = json!(false);
        assert_eq!(context(&unused), 64);
    }
}
