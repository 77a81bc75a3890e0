//! The shape of a GPT, as a checkpoint's config.json tells it.
//!
//! One struct covers five families of decoders, told apart by three flags:
//!
//! | family | `qk_norm` | `qkv_bias` | `fused` |
//! |---|---|---|---|
//! | qwen3 | yes | no | no |
//! | qwen2 | no | yes | no |
//! | llama, mistral | no | no | no |
//! | phi3 | no | no | yes |

use candle_core::{Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::rope::Rope;

/// Head width of a Qwen3 config that does not say.
const QWEN3_HEAD_DIM: usize = 128;

/// Families that [`crate::model`] covers.
pub const FAMILIES: [&str; 5] = ["qwen3", "qwen2", "llama", "mistral", "phi3"];

/// Sizes and flags of the model.
#[derive(Debug, Clone)]
pub struct Config {
    pub vocab_size: usize,    // V: rows of the embedding
    pub hidden_size: usize,   // C: width of the residual stream
    pub layers: usize,        // blocks
    pub heads: usize,         // H: query heads
    pub kv_heads: usize,      // K: key and value heads; fewer than H is grouped-query attention
    pub head_dim: usize,      // D: width of a head; H * D need not be C
    pub ffn_size: usize,      // F: width inside the feed-forward layer
    pub context: usize,       // positions at most
    pub norm_eps: f32,        // keeps RMSNorm from dividing by zero
    pub rope: Rope,           // how positions turn queries and keys
    pub qk_norm: bool,        // RMSNorm on queries and keys
    pub qkv_bias: bool,       // biases on the three projections of attention
    pub out_bias: bool,       // and on the one behind it
    pub fused: bool,          // the checkpoint holds q, k, v as one matrix, and gate, up as another
    pub tie_embeddings: bool, // the output projection is the embedding's matrix
}

/// What is read of config.json; other keys do not matter here.
#[derive(Deserialize)]
struct File {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    hidden_act: Option<String>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    tie_word_embeddings: Option<bool>,
    use_sliding_window: Option<bool>,
    sliding_window: Option<usize>,
    quantization_config: Option<Value>,
}

impl Config {
    /// Read the parsed config.json; fails on what would load and then answer wrongly.
    pub fn from_json(values: &Value) -> Result<Self> {
        let file: File = match serde_json::from_value(values.clone()) {
            Ok(file) => file,
            Err(error) => bail!("config.json: {error}"),
        };
        let family = file.model_type.as_str();
        let (heads, kv_heads) = (file.num_attention_heads, file.num_key_value_heads);
        let kv_heads = kv_heads.unwrap_or(heads);
        if heads == 0 || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            bail!("config.json: {heads} heads cannot share {kv_heads} key and value heads");
        }
        if file.hidden_act.as_deref().unwrap_or("silu") != "silu" {
            bail!("the activation {:?} is not supported, only silu is", file.hidden_act);
        }
        if file.quantization_config.is_some() {
            bail!("quantised weights are not supported");
        }
        if file.mlp_bias.unwrap_or(false) {
            bail!("biases in the feed-forward layer are not supported");
        }
        let all_biases = matches!(family, "llama" | "qwen3") && file.attention_bias == Some(true);
        // Within the window sliding attention is full attention, so the context ends with it.
        // Qwen models name a window and say apart from it whether it counts.
        let qwen = family.starts_with("qwen");
        let window = match file.use_sliding_window.unwrap_or(!qwen) {
            true => file.sliding_window.unwrap_or(usize::MAX),
            false => usize::MAX,
        };
        let usual = if family == "qwen3" { QWEN3_HEAD_DIM } else { file.hidden_size / heads };
        let head_dim = file.head_dim.unwrap_or(usual);
        if head_dim == 0 || !head_dim.is_multiple_of(2) {
            bail!("config.json: head_dim is {head_dim}, but rotary positions need an even number");
        }
        Ok(Self {
            vocab_size: file.vocab_size,
            hidden_size: file.hidden_size,
            layers: file.num_hidden_layers,
            heads,
            kv_heads,
            head_dim,
            ffn_size: file.intermediate_size,
            context: file.max_position_embeddings.min(window),
            norm_eps: file.rms_norm_eps,
            rope: Rope::from_json(values, head_dim)?,
            qk_norm: family == "qwen3",
            qkv_bias: family == "qwen2" || all_biases,
            out_bias: all_biases,
            fused: family == "phi3",
            tie_embeddings: file.tie_word_embeddings.unwrap_or(false),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// The config.json of a tiny model, with some values replaced.
    pub fn tiny(changes: Value) -> Value {
        let mut values = json!({
            "model_type": "qwen3", "vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
            "intermediate_size": 24, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
        });
        for (key, value) in changes.as_object().unwrap() {
            values[key] = value.clone();
        }
        values
    }

    #[test]
    fn what_would_answer_wrongly_is_refused() {
        for (changes, reason) in [
            (json!({"hidden_act": "gelu"}), "activation"),
            (json!({"mlp_bias": true}), "biases"),
            (json!({"quantization_config": {}}), "quantised"),
            (json!({"num_key_value_heads": 3}), "cannot share"),
            (json!({"num_attention_heads": 0}), "cannot share"),
            (json!({"head_dim": 7}), "even"),
            (json!({"vocab_size": "many"}), "config.json"),
            (json!({"rope_scaling": {"rope_type": "ntk"}}), "ntk"),
        ] {
            let error = Config::from_json(&tiny(changes)).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn the_context_ends_with_the_window() {
        let context = |changes| Config::from_json(&tiny(changes)).unwrap().context;
        assert_eq!(context(json!({})), 64);
        assert_eq!(context(json!({"model_type": "mistral", "sliding_window": 16})), 16);
        assert_eq!(context(json!({"model_type": "mistral", "sliding_window": null})), 64);
        let qwen = |used| json!({"sliding_window": 16, "use_sliding_window": used});
        assert_eq!(context(qwen(false)), 64);
        assert_eq!(context(qwen(true)), 16);
    }
}
