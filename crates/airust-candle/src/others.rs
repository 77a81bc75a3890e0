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
    let values = &as_before(values);
    Ok(match values["model_type"].as_str().unwrap_or_default() {
        "gemma2" => Box::new(gemma2::Model::new(false, &config(values)?, weights)?),
        "qwen3_moe" => Box::new(qwen3_moe::ModelForCausalLM::new(&config(values)?, weights)?),
        "smollm3" => Box::new(smollm3::ModelForCausalLM::new(&config(values)?, weights)?),
        family => bail!("the model type '{family}' is not supported"),
    })
}

/// config.json in the form of transformers 4, which candle-transformers reads.
fn as_before(values: &Value) -> Value {
    let mut values = values.clone();
    let rope = values["rope_parameters"].clone();
    if values["rope_theta"].is_null() {
        values["rope_theta"] = rope.get("rope_theta").cloned().unwrap_or(json!(10_000.0));
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
