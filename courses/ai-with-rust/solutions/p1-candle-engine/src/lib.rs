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

use candle_core::{D, Device, Result, Tensor, bail};

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
    let mean = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?;
    x.broadcast_div(&mean.sqrt()?)?.broadcast_mul(gain)
}

/// Turn the pairs (i, i + D/2) of each head by the angle position * theta^(-2i/D); the first of
/// the T rows stands at position `first`. (heads, T, D) -> (heads, T, D)
pub fn rotate(x: &Tensor, first: usize, theta: f64) -> Result<Tensor> {
    let (_, length, size) = x.dims3()?;
    let half = size / 2;
    let angle = |place: usize| {
        let (position, pair) = (first + place / half, place % half);
        (position as f64 * theta.powf(-2.0 * pair as f64 / size as f64)) as f32
    };
    let angles: Vec<f32> = (0..length * half).map(angle).collect();
    let angles = Tensor::from_vec(angles, (length, half), x.device())?;
    let (cos, sin) = (angles.cos()?, angles.sin()?);
    let (a, b) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
    let left = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let right = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
    Tensor::cat(&[left, right], 2)
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
        let embedding = self.tensor("model.embed_tokens.weight")?;
        let mut x = embedding.index_select(&Tensor::new(ids, &Device::Cpu)?, 0)?; // (T, C)
        for layer in 0..self.config.layers {
            let attended = self.attention(layer, &self.norm(layer, "input", &x)?, cache)?;
            x = (x + attended)?;
            let fed = self.feed_forward(layer, &self.norm(layer, "post_attention", &x)?)?;
            x = (x + fed)?;
        }
        cache.length += ids.len();
        let x = rms_norm(&x, self.tensor("model.norm.weight")?, self.config.eps)?;
        x.matmul(&embedding.t()?)
    }

    fn norm(&self, layer: usize, which: &str, x: &Tensor) -> Result<Tensor> {
        let gain = self.tensor(&format!("model.layers.{layer}.{which}_layernorm.weight"))?;
        rms_norm(x, gain, self.config.eps)
    }

    fn project(&self, layer: usize, part: &str, x: &Tensor) -> Result<Tensor> {
        x.matmul(&self.tensor(&format!("model.layers.{layer}.{part}_proj.weight"))?.t()?)
    }

    /// (T, C) -> (T, C)
    fn attention(&self, layer: usize, x: &Tensor, cache: &mut Cache) -> Result<Tensor> {
        let Config { heads, kv_heads, head_dim, eps, theta, .. } = self.config;
        let (new, before) = (x.dim(0)?, cache.length);
        let split = |part: &str, heads: usize| {
            let y = self.project(layer, &format!("self_attn.{part}"), x)?;
            y.reshape((new, heads, head_dim))?.transpose(0, 1)?.contiguous() // (heads, T, D)
        };
        let turned = |part: &str, heads: usize| {
            let gain =
                self.tensor(&format!("model.layers.{layer}.self_attn.{part}_norm.weight"))?;
            rotate(&rms_norm(&split(part, heads)?, gain, eps)?, before, theta)
        };
        let (q, mut k, mut v) =
            (turned("q", heads)?, turned("k", kv_heads)?, split("v", kv_heads)?);
        if let Some((keys, values)) = &cache.layers[layer] {
            k = Tensor::cat(&[keys, &k], 1)?;
            v = Tensor::cat(&[values, &v], 1)?;
        }
        cache.layers[layer] = Some((k.clone(), v.clone())); // (K, S + T, D)
        // The heads of q that share keys stand one behind the other, as rows of one matrix.
        let q = q.reshape((kv_heads, heads / kv_heads * new, head_dim))?;
        let scores = (q.matmul(&k.t()?)? / (head_dim as f64).sqrt())?;
        let seen = before + new;
        let scores = scores.reshape((heads, new, seen))?.broadcast_add(&mask(before, new)?)?;
        let shares = candle_nn::ops::softmax_last_dim(&scores)?;
        let shares = shares.reshape((kv_heads, heads / kv_heads * new, seen))?;
        let out = shares.matmul(&v)?.reshape((heads, new, head_dim))?;
        self.project(layer, "self_attn.o", &out.transpose(0, 1)?.reshape((new, heads * head_dim))?)
    }

    fn feed_forward(&self, layer: usize, x: &Tensor) -> Result<Tensor> {
        let gate = candle_nn::ops::silu(&self.project(layer, "mlp.gate", x)?)?;
        self.project(layer, "mlp.down", &(gate * self.project(layer, "mlp.up", x)?)?)
    }
}

/// 0 where a token may look, minus infinity at what comes behind it. (T, S + T)
fn mask(before: usize, new: usize) -> Result<Tensor> {
    let seen = before + new;
    let value = |place: usize| {
        if place % seen > before + place / seen { f32::NEG_INFINITY } else { 0.0 }
    };
    Tensor::from_vec((0..new * seen).map(value).collect(), (new, seen), &Device::Cpu)
}
