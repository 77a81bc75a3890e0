//! The model: embedding, blocks, final norm, output projection.
//!
//! A step takes some tokens of one or several texts, N in all, as N rows of every matrix. Only
//! attention looks at the texts one by one, because each has its own keys and values:
//!
//! ```text
//! x = embedding[ids]                                  (N, C)
//! for each block:
//!     q, k, v = W_qkv norm(x)                         (N, H D), (N, K D), (N, K D)
//!     q, k = rotate(norm(q)), rotate(norm(k))
//!     a = softmax(q k^T / sqrt(D)) v                  (N, H D), over the keys of the text so far
//!     x = x + W_o a
//!     gate, up = W_gate_up norm(x)                    (N, F) each
//!     x = x + W_down (silu(gate) * up)
//! logits = W_head norm(x)                             (R, V), for the rows that are asked for
//! ```

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, bail};
use serde_json::Value;

use crate::attention::KeyValues;
use crate::config::Config;
use crate::linear::Linear;
use crate::rope::Table;
use crate::rows::{RmsNorm, each_row, gate};
use crate::threads::Threads;
use crate::weights::Weights;

/// Keys and values of one text, kept in place as it grows.
pub struct Cache {
    layers: Vec<KeyValues>,
    pub length: usize,       // S: tokens held
    pub capacity: usize,     // S at most
    frequencies: Arc<[f32]>, // of its rotary positions
}

/// New tokens of one text.
pub struct Piece {
    pub cache: Cache,
    pub ids: Vec<u32>,
    pub all: bool, // logits after every token are wanted, not only after the last
}

/// What all layers of a step need.
struct Step<'a> {
    texts: &'a mut [Piece],
    places: Vec<(usize, usize)>, // of each row: which text, which position there
    table: Table,                // how to turn each row's queries and keys
    threads: &'a Threads,
}

fn load_norm(weights: &Weights, name: &str, size: usize, eps: f32) -> Result<RmsNorm> {
    Ok(RmsNorm { gain: weights.get(&format!("{name}.weight"), size)?.to_vec1()?, eps })
}

/// Each position gathers from the positions before it (Vaswani et al. 2017, section 3.2.1).
struct Attention {
    layer: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    qkv: Linear, // three projections in one matrix, ((H + 2 K) D, C)
    norms: Option<(RmsNorm, RmsNorm)>,
    out: Linear,
}

impl Attention {
    fn load(config: &Config, weights: &Weights, layer: usize) -> Result<Self> {
        let name = |part: &str| format!("model.layers.{layer}.self_attn.{part}");
        let (heads, kv_heads, head_dim) = (config.heads, config.kv_heads, config.head_dim);
        let rows = [("q", heads), ("k", kv_heads), ("v", kv_heads)].map(|(p, h)| (p, h * head_dim));
        let weight = if config.fused {
            let rows = (heads + 2 * kv_heads) * head_dim;
            weights.get(&name("qkv_proj.weight"), (rows, config.hidden_size))?
        } else {
            let parts = rows.map(|(part, rows)| (name(&format!("{part}_proj.weight")), rows));
            weights.stacked(&parts, config.hidden_size)?
        };
        let bias = |part: &str, rows: usize| weights.get(&name(&format!("{part}_proj.bias")), rows);
        let qkv_bias = if config.qkv_bias {
            let [q, k, v] = rows.map(|(part, rows)| bias(part, rows));
            Some(Tensor::cat(&[q?, k?, v?], 0)?)
        } else {
            None
        };
        let out_bias = if config.out_bias { Some(bias("o", config.hidden_size)?) } else { None };
        let norm = |part| load_norm(weights, &name(part), head_dim, config.norm_eps);
        let norms = if config.qk_norm { Some((norm("q_norm")?, norm("k_norm")?)) } else { None };
        let out = weights.get(&name("o_proj.weight"), (config.hidden_size, heads * head_dim))?;
        let (qkv, out) = (Linear::new(&weight, qkv_bias)?, Linear::new(&out, out_bias)?);
        Ok(Self { layer, heads, kv_heads, head_dim, qkv, norms, out })
    }

    /// (N, C) -> (N, C)
    fn forward(&self, x: &Tensor, step: &mut Step) -> Result<Tensor> {
        let (h, k, d) = (self.heads, self.kv_heads, self.head_dim);
        let width = (h + 2 * k) * d;
        let mut qkv = self.qkv.numbers(x, step.threads)?; // (N, (H + 2 K) D)
        step.threads.fill_chunks(&mut qkv, width, 8 * width * step.places.len(), |n, row| {
            for (i, head) in row[..(h + k) * d].chunks_exact_mut(d).enumerate() {
                if let Some((q_norm, k_norm)) = &self.norms {
                    (if i < h { q_norm } else { k_norm }).normalise(head);
                }
                step.table.turn(n, head);
            }
        });
        for (row, (text, _)) in qkv.chunks_exact(width).zip(&step.places) {
            let (keys, values) = row[h * d..].split_at(k * d);
            step.texts[*text].cache.layers[self.layer].append(keys, values);
        }
        // A chunk is one head of keys and values, and one token's queries that share it.
        let mut out = vec![0f32; step.places.len() * h * d]; // (N, H D)
        let (group, texts) = (h / k * d, &*step.texts);
        let seen: usize = step.places.iter().map(|(_, position)| position + 1).sum();
        step.threads.fill_chunks(&mut out, group, 2 * h * d * seen, |i, out| {
            let (n, head) = (i / k, i % k);
            let (text, position) = step.places[n];
            let queries = &qkv[n * width + head * group..][..group];
            texts[text].cache.layers[self.layer].attend(head, position + 1, queries, out);
        });
        self.out.forward(
            &Tensor::from_vec(out, (step.places.len(), h * d), &Device::Cpu)?,
            step.threads,
        )
    }
}

/// SwiGLU (Shazeer 2020): one half of a wide layer opens and shuts the other.
struct FeedForward {
    size: usize,     // F
    gate_up: Linear, // (2 F, C)
    down: Linear,    // (C, F)
}

impl FeedForward {
    fn load(config: &Config, weights: &Weights, layer: usize) -> Result<Self> {
        let name = |part: &str| format!("model.layers.{layer}.mlp.{part}.weight");
        let (hidden, size) = (config.hidden_size, config.ffn_size);
        let gate_up = if config.fused {
            weights.get(&name("gate_up_proj"), (2 * size, hidden))?
        } else {
            weights.stacked(&[(name("gate_proj"), size), (name("up_proj"), size)], hidden)?
        };
        let down = weights.get(&name("down_proj"), (hidden, size))?;
        let (gate_up, down) = (Linear::new(&gate_up, None)?, Linear::new(&down, None)?);
        Ok(Self { size, gate_up, down })
    }

    fn forward(&self, x: &Tensor, threads: &Threads) -> Result<Tensor> {
        let gates = self.gate_up.forward(x, threads)?; // (N, 2 F)
        self.down.forward(&each_row(&gates, self.size, threads, gate)?, threads)
    }
}

/// One layer: attention, then feed-forward, each added to what came in.
struct Block {
    attention_norm: RmsNorm,
    attention: Attention,
    ffn_norm: RmsNorm,
    ffn: FeedForward,
}

impl Block {
    fn load(config: &Config, weights: &Weights, layer: usize) -> Result<Self> {
        let norm = |part: &str| {
            let name = format!("model.layers.{layer}.{part}");
            load_norm(weights, &name, config.hidden_size, config.norm_eps)
        };
        Ok(Self {
            attention_norm: norm("input_layernorm")?,
            attention: Attention::load(config, weights, layer)?,
            ffn_norm: norm("post_attention_layernorm")?,
            ffn: FeedForward::load(config, weights, layer)?,
        })
    }

    fn forward(&self, x: &Tensor, step: &mut Step) -> Result<Tensor> {
        let normed = self.attention_norm.forward(x, step.threads)?;
        let x = (x + self.attention.forward(&normed, step)?)?;
        let normed = self.ffn_norm.forward(&x, step.threads)?;
        &x + self.ffn.forward(&normed, step.threads)?
    }
}

/// A decoder-only language model.
pub struct Gpt {
    pub config: Config,
    embedding: Option<Tensor>, // (V, C); none: that of the head
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Linear, // (V, C)
}

impl Gpt {
    /// Read a model folder; matrices become `dtype`.
    pub fn load(folder: &Path, values: &Value, dtype: DType) -> Result<Self> {
        let (config, weights) = (Config::from_json(values)?, Weights::open(folder, dtype)?);
        let table = (config.vocab_size, config.hidden_size);
        let embedding = weights.get("model.embed_tokens.weight", table)?;
        let (head, embedding) = if config.tie_embeddings {
            (Linear::new(&embedding, None)?, None)
        } else {
            (Linear::new(&weights.get("lm_head.weight", table)?, None)?, Some(embedding))
        };
        let blocks: Result<Vec<Block>> =
            (0..config.layers).map(|layer| Block::load(&config, &weights, layer)).collect();
        let norm = load_norm(&weights, "model.norm", config.hidden_size, config.norm_eps)?;
        Ok(Self { config, embedding, blocks: blocks?, norm, head })
    }

    /// An empty cache for a text of up to `capacity` tokens. It grows with the text.
    pub fn cache(&self, capacity: usize) -> Cache {
        let (heads, size) = (self.config.kv_heads, self.config.head_dim);
        Cache {
            layers: (0..self.config.layers).map(|_| KeyValues::new(heads, size)).collect(),
            length: 0,
            capacity,
            frequencies: self.config.rope.frequencies(capacity),
        }
    }

    /// Logits (R, V) of the next tokens: one row for each text, or one for each of its new tokens
    /// where all are wanted. The texts' caches take the new tokens in.
    pub fn forward(&self, texts: &mut [Piece], threads: &Threads) -> Result<Tensor> {
        let (mut ids, mut places, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
        for (i, text) in texts.iter().enumerate() {
            let (t, start) = (text.ids.len(), text.cache.length);
            if t == 0 || start + t > text.cache.capacity {
                bail!("{t} tokens after {start} do not fit into {}", text.cache.capacity);
            }
            ids.extend_from_slice(&text.ids);
            places.extend((start..start + t).map(|position| (i, position)));
            let rows = ids.len() - if text.all { t } else { 1 }..ids.len();
            wanted.extend(rows.map(|row| row as u32));
        }
        let n = ids.len();
        let mut x = match &self.embedding {
            Some(table) => table.index_select(&Tensor::new(&ids[..], &Device::Cpu)?, 0)?,
            None => self.head.rows(&ids)?,
        }
        .to_dtype(DType::F32)?; // (N, C)
        let turned = places.iter().map(|&(i, at)| (at, &*texts[i].cache.frequencies));
        let table = self.config.rope.table(turned);
        let mut step = Step { texts, places, table, threads };
        for block in &self.blocks {
            x = block.forward(&x, &mut step)?;
        }
        for text in texts {
            text.cache.length += text.ids.len();
        }
        if wanted.len() < n {
            let rows = wanted.len();
            x = x.index_select(&Tensor::from_vec(wanted, rows, &Device::Cpu)?, 0)?; // (R, C)
        }
        self.head.forward(&self.norm.forward(&x, threads)?, threads)
    }
}
