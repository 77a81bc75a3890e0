//! The GPT of airust (Qwen3 form) in candle, to be read beside airust/gpt.
//!
//! ```text
//! x = embedding[ids]                              (T, C)
//! for each block:
//!     q, k, v = norm(x) Wq^T, norm(x) Wk^T, ...   (H, T, D), (K, T, D), (K, T, D) after a reshape
//!     q, k = rotate(norm(q)), rotate(norm(k))     their norms are over D
//!     a = softmax(q k^T / sqrt(D)) v              head h of q with head h / (H / K) of k and v
//!     x = x + a Wo^T
//!     x = x + (silu(norm(x) Wgate^T) * norm(x) Wup^T) Wdown^T
//! logits = norm(x) embedding^T                    (T, V)
//! ```

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Result, Tensor, bail};

/// The sizes in config.json.
#[derive(Debug, Clone)]
pub struct Config {
    pub layers: usize,
    pub heads: usize,    // H
    pub kv_heads: usize, // K
    pub head_dim: usize, // D
    pub eps: f64,        // of the norms
    pub theta: f64,      // of the rotary positions
}

impl Config {
    fn read(folder: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(folder.join("config.json"))?;
        let Ok(values) = serde_json::from_str::<serde_json::Value>(&text) else {
            bail!("config.json is not JSON")
        };
        let number = |name: &str| match values[name].as_f64() {
            Some(number) => Ok(number),
            None => bail!("config.json has no {name}"),
        };
        Ok(Self {
            layers: number("num_hidden_layers")? as usize,
            heads: number("num_attention_heads")? as usize,
            kv_heads: number("num_key_value_heads")? as usize,
            head_dim: number("head_dim")? as usize,
            eps: number("rms_norm_eps")?,
            theta: number("rope_theta")?,
        })
    }
}

/// x / sqrt(mean(x²) + eps) * gain, over the last dimension.
pub fn rms_norm(x: &Tensor, gain: &Tensor, eps: f64) -> Result<Tensor> {
    todo!("`sqr`, `mean_keepdim(D::Minus1)`, `broadcast_div`, `broadcast_mul`")
}

/// Turn the pairs (i, i + D/2) of each head by the angle position * theta^(-2i/D); the first of
/// the T rows stands at position `first`. (heads, T, D) -> (heads, T, D)
pub fn rotate(x: &Tensor, first: usize, theta: f64) -> Result<Tensor> {
    todo!("a table of T x D/2 angles; with halves a and b: a cos - b sin, b cos + a sin")
}

/// Keys and values of the tokens so far, for each layer.
pub struct Cache {
    layers: Vec<Option<(Tensor, Tensor)>>, // each (K, S, D)
    length: usize,                         // S
}

pub struct Model {
    config: Config,
    tensors: HashMap<String, Tensor>,
}

impl Model {
    /// Read config.json and model.safetensors.
    pub fn load(folder: &Path) -> Result<Self> {
        let tensors =
            candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu)?;
        Ok(Self { config: Config::read(folder)?, tensors })
    }

    pub fn new_cache(&self) -> Cache {
        Cache { layers: vec![None; self.config.layers], length: 0 }
    }

    /// A tensor by its name in the file: `model.embed_tokens.weight`,
    /// `model.layers.0.self_attn.q_proj.weight` (k, v, o), `...self_attn.q_norm.weight` (k),
    /// `model.layers.0.mlp.gate_proj.weight` (up, down), `model.layers.0.input_layernorm.weight`,
    /// `...post_attention_layernorm.weight`, `model.norm.weight`.
    fn tensor(&self, name: &str) -> Result<&Tensor> {
        match self.tensors.get(name) {
            Some(tensor) => Ok(tensor),
            None => bail!("the file has no {name}"),
        }
    }

    /// Logits behind each of these tokens, which go on from what the cache holds, and are added
    /// to it. (T, V)
    pub fn forward(&self, ids: &[u32], cache: &mut Cache) -> Result<Tensor> {
        todo!("embedding, blocks, norm, output; write a method for each part")
    }
}
