//! One model for many threads: whoever wants a step while another one is computed waits, and all
//! who wait are computed together in the next.
//!
//! A step over eight texts reads the weights once instead of eight times. No thread is set aside
//! for it: the first to ask computes the step for everybody, and then hands that duty to the next
//! in line, so that nobody works on for others once his own answer is there.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Tensor, bail};

use crate::model::{Cache, Gpt, Piece};
use crate::others::{self, Other};
use crate::threads::Threads;
use crate::{config, weights};

/// Tokens of a step at most, unless a single text brings more.
const MOST_ROWS: usize = 512;

/// What went wrong, as one sentence or the beginning of one.
pub type Outcome<T> = std::result::Result<T, String>;

/// A loaded model.
pub struct Model {
    kind: Kind,
    pub threads: Threads,
    pub vocab_size: usize,
    pub context: usize,
    queue: Mutex<Queue>,
}

enum Kind {
    Own(Box<Gpt>),
    Other(Box<dyn Other>),
}

/// One text on its way through the model.
pub struct Text {
    state: State,
    pub length: usize,
    pub capacity: usize,
}

enum State {
    Own(Cache),
    Other(Box<dyn Other>),
}

/// New tokens of a text, waiting for a step.
struct Ask {
    text: Text,
    ids: Vec<u32>,
    all: bool,
    reply: Sender<Note>,
}

enum Note {
    Answer(Outcome<(Text, Tensor)>),
    Lead, // nobody computes now: you do
}

#[derive(Default)]
struct Queue {
    asks: VecDeque<Ask>,
    led: bool, // somebody computes, or has been asked to
}

impl Model {
    /// Read a model folder.
    pub fn load(folder: &Path, dtype: DType, threads: Option<usize>) -> Outcome<Self> {
        caught(|| {
            let values = weights::read_json(&folder.join("config.json"))?;
            let family = values["model_type"].as_str().unwrap_or_default();
            let size = |name: &str| values[name].as_u64().unwrap_or(0) as usize;
            let (kind, context) = if config::FAMILIES.contains(&family) {
                let own = Gpt::load(folder, &values, dtype)?;
                let context = own.config.context;
                (Kind::Own(Box::new(own)), context)
            } else if others::FAMILIES.contains(&family) {
                let other = others::load(folder, &values, dtype)?;
                (Kind::Other(other), others::context(&values))
            } else {
                let known = [&config::FAMILIES[..], &others::FAMILIES[..]].concat().join(", ");
                bail!("the model type '{family}' is not supported; supported: {known}");
            };
            let threads = Threads::new(threads);
            Ok(Self {
                kind,
                threads,
                vocab_size: size("vocab_size"),
                context,
                queue: Mutex::default(),
            })
        })
    }

    /// Whether the model is our own and not one of candle-transformers.
    pub fn is_own(&self) -> bool {
        matches!(self.kind, Kind::Own(_))
    }

    /// Tokens after which a text has to be computed anew, as one of more tokens (LongRoPE).
    pub fn original_context(&self) -> Option<usize> {
        match &self.kind {
            Kind::Own(model) => model.config.rope.original_context(),
            Kind::Other(_) => None,
        }
    }

    /// A new text of up to `capacity` tokens.
    pub fn text(&self, capacity: usize) -> Text {
        let state = match &self.kind {
            Kind::Own(model) => State::Own(model.cache(capacity)),
            Kind::Other(model) => State::Other(model.copy()),
        };
        Text { state, length: 0, capacity }
    }

    /// Take new tokens into a text. Gives it back with the logits of the next token (1, V), or
    /// with those after each of the new tokens (T, V).
    pub fn step(&self, text: Text, ids: Vec<u32>, all: bool) -> Outcome<(Text, Tensor)> {
        if let Some(id) = ids.iter().find(|&&id| id as usize >= self.vocab_size) {
            return Err(format!("token id {id} is outside the vocabulary of {}", self.vocab_size));
        }
        if ids.is_empty() || text.length + ids.len() > text.capacity {
            let (new, length, capacity) = (ids.len(), text.length, text.capacity);
            return Err(format!("{new} tokens after {length} do not fit into {capacity}"));
        }
        let (reply, answer) = channel();
        let leads = {
            let mut queue = self.queue();
            queue.asks.push_back(Ask { text, ids, all, reply });
            !std::mem::replace(&mut queue.led, true)
        };
        let receive = || answer.recv().unwrap_or(Note::Answer(Err("the step was lost".into())));
        if !leads && let Note::Answer(answer) = receive() {
            return answer;
        }
        self.lead();
        match receive() {
            Note::Answer(answer) => answer,
            Note::Lead => Err("the step was lost".into()),
        }
    }

    /// Compute the next step for those who wait, the caller among them.
    fn lead(&self) {
        let mut asks = Vec::new();
        let mut queue = self.queue();
        let mut rows = 0;
        while let Some(ask) = queue.asks.front() {
            rows += ask.ids.len();
            if !asks.is_empty() && rows > MOST_ROWS {
                break;
            }
            asks.extend(queue.asks.pop_front());
        }
        drop(queue);
        let (replies, texts): (Vec<_>, Vec<_>) =
            asks.into_iter().map(|ask| (ask.reply, (ask.text, ask.ids, ask.all))).unzip();
        let results: Vec<_> = match caught(|| self.compute(texts)) {
            Ok(results) => results.into_iter().map(Ok).collect(),
            Err(sentence) => replies.iter().map(|_| Err(sentence.clone())).collect(),
        };
        let mut queue = self.queue();
        match queue.asks.front() {
            Some(next) => _ = next.reply.send(Note::Lead),
            None => queue.led = false,
        }
        drop(queue);
        for (reply, result) in replies.into_iter().zip(results) {
            _ = reply.send(Note::Answer(result)); // whoever has gone needs no answer
        }
    }

    fn compute(
        &self,
        texts: Vec<(Text, Vec<u32>, bool)>,
    ) -> candle_core::Result<Vec<(Text, Tensor)>> {
        let (mut pieces, mut done, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for (mut text, ids, all) in texts {
            let length = text.length;
            text.length += ids.len();
            match text.state {
                State::Own(cache) => {
                    sizes.push((text.capacity, if all { ids.len() } else { 1 }));
                    pieces.push(Piece { cache, ids, all });
                }
                State::Other(ref mut model) => {
                    let logits = other_logits(model.as_mut(), length, &ids, all)?;
                    done.push((text, logits));
                }
            }
        }
        if let Kind::Own(model) = &self.kind {
            let (logits, mut row) = (model.forward(&mut pieces, &self.threads)?, 0);
            for (piece, (capacity, rows)) in pieces.into_iter().zip(sizes) {
                let length = piece.cache.length;
                let text = Text { state: State::Own(piece.cache), length, capacity };
                done.push((text, logits.narrow(0, row, rows)?));
                row += rows;
            }
        }
        Ok(done)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic is caught before it could leave the queue half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The logits of a model of candle-transformers, which tells those of the last token only. A
/// prompt is computed at once; behind earlier tokens some of these models take single ones only.
fn other_logits(
    model: &mut dyn Other,
    length: usize,
    ids: &[u32],
    all: bool,
) -> candle_core::Result<Tensor> {
    let single = all || length > 0;
    let chunk = if single { 1 } else { ids.len() };
    let (mut rows, mut length) = (Vec::new(), length);
    for ids in ids.chunks(chunk) {
        let logits = model.forward(&Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?, length)?;
        rows.push(logits.flatten_all()?.unsqueeze(0)?.to_dtype(DType::F32)?);
        length += ids.len();
    }
    if all { Tensor::cat(&rows, 0) } else { Ok(rows.swap_remove(rows.len() - 1)) }
}

/// Run something that may fail or panic, and tell about either in words.
fn caught<T>(run: impl FnOnce() -> candle_core::Result<T>) -> Outcome<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Err(format!("candle panicked: {text}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::tiny;
    use serde_json::{Value, json};
    use std::collections::HashMap;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread::spawn;

    static FOLDERS: AtomicUsize = AtomicUsize::new(0);

    /// A model folder that goes away with this.
    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Random weights of `config::tests::tiny`, some of them left out.
    fn folder(config: Value, without: &str) -> Folder {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("airust-candle-{}-{number}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0).unwrap();
        std::fs::write(folder.0.join("config.json"), config.to_string()).unwrap();
        let mut shapes = vec![("embed_tokens".into(), vec![32, 16]), ("norm".into(), vec![16])];
        for layer in 0..2 {
            for (name, shape) in [
                ("input_layernorm", vec![16]),
                ("post_attention_layernorm", vec![16]),
                ("self_attn.q_norm", vec![8]),
                ("self_attn.k_norm", vec![8]),
                ("self_attn.q_proj", vec![32, 16]),
                ("self_attn.k_proj", vec![16, 16]),
                ("self_attn.v_proj", vec![16, 16]),
                ("self_attn.o_proj", vec![16, 32]),
                ("mlp.gate_proj", vec![24, 16]),
                ("mlp.up_proj", vec![24, 16]),
                ("mlp.down_proj", vec![16, 24]),
            ] {
                shapes.push((format!("layers.{layer}.{name}"), shape));
            }
        }
        let tensors: HashMap<String, Tensor> = shapes
            .into_iter()
            .map(|(name, shape)| (format!("model.{name}.weight"), shape))
            .filter(|(name, _)| without.is_empty() || !name.contains(without))
            .map(|(name, shape)| (name, Tensor::randn(0f32, 1.0, shape, &Device::Cpu).unwrap()))
            .collect();
        candle_core::safetensors::save(&tensors, folder.0.join("model.safetensors")).unwrap();
        folder
    }

    fn model(dtype: DType) -> Arc<Model> {
        let folder = folder(tiny(json!({"tie_word_embeddings": true})), "");
        Arc::new(Model::load(&folder.0, dtype, Some(2)).unwrap())
    }

    /// Logits after a prompt, and then after each further token, which is the likeliest.
    fn answer(model: &Model, prompt: &[u32], tokens: usize) -> Vec<Vec<f32>> {
        let (mut text, mut ids, mut answers) = (model.text(64), prompt.to_vec(), Vec::new());
        for _ in 0..tokens {
            let (next, logits) = model.step(text, ids, false).unwrap();
            answers.push(logits.flatten_all().unwrap().to_vec1().unwrap());
            (text, ids) = (next, vec![crate::rows::likeliest(answers.last().unwrap()).unwrap()]);
        }
        answers
    }

    #[test]
    fn whatever_else_is_computed_changes_nothing() {
        for dtype in [DType::F32, DType::BF16] {
            let model = model(dtype);
            let prompts: Vec<Vec<u32>> =
                (1..=12).map(|n| (0..n * 3).map(|i| i * 7 % 32).collect()).collect();
            let alone: Vec<_> = prompts.iter().map(|prompt| answer(&model, prompt, 20)).collect();
            let threads: Vec<_> = prompts
                .into_iter()
                .map(|prompt| {
                    let model = model.clone();
                    spawn(move || answer(&model, &prompt, 20))
                })
                .collect();
            let together: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
            assert_eq!(together, alone); // every bit of it
        }
    }

    #[test]
    fn in_pieces_or_at_once() {
        let (model, ids) = (model(DType::F32), (0..20).collect::<Vec<u32>>());
        let rows = |pieces: &[&[u32]]| {
            let (mut text, mut rows) = (model.text(20), Vec::new());
            for ids in pieces {
                let (next, logits) = model.step(text, ids.to_vec(), true).unwrap();
                rows.extend(logits.to_vec2::<f32>().unwrap());
                text = next;
            }
            rows
        };
        let at_once = rows(&[&ids]);
        assert_eq!(at_once.len(), 20);
        assert_eq!(at_once, rows(&ids.chunks(1).collect::<Vec<_>>()));
        assert_eq!(at_once, rows(&[&ids[..7], &ids[7..]]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let model = model(DType::F32);
        for (ids, reason) in [(vec![32], "token id 32"), (vec![], "0 tokens"), (vec![1; 9], "fit")]
        {
            let error = model.step(model.text(8), ids, false).err().unwrap();
            assert!(error.contains(reason), "{error}");
        }
        let (text, _) = model.step(model.text(8), vec![1; 8], false).unwrap();
        assert!(model.step(text, vec![1], false).err().unwrap().contains("1 tokens after 8"));
    }

    #[test]
    fn what_cannot_be_loaded_says_why() {
        let tied = json!({"tie_word_embeddings": true});
        for (changes, without, reason) in [
            (tied.clone(), "mlp.up_proj", "the weights lack model.layers.0.mlp.up_proj.weight"),
            (json!({}), "", "the weights lack lm_head.weight"),
            (json!({"hidden_size": 8, "tie_word_embeddings": true}), "", "config.json says"),
            (json!({"model_type": "mamba"}), "", "'mamba' is not supported; supported: qwen3"),
        ] {
            let folder = folder(tiny(changes), without);
            let error = Model::load(&folder.0, DType::F32, Some(1)).err().unwrap();
            assert!(error.contains(reason), "{error}");
        }
        let folder = folder(tiny(tied), "");
        std::fs::write(folder.0.join("model.safetensors"), b"truncated").unwrap();
        assert!(Model::load(&folder.0, DType::F32, Some(1)).is_err());
    }

    /// A model that panics on token 13.
    #[derive(Clone)]
    struct Superstitious;

    impl Other for Superstitious {
        fn forward(&mut self, ids: &Tensor, _: usize) -> candle_core::Result<Tensor> {
            let ids = ids.flatten_all()?.to_vec1::<u32>()?;
            assert!(!ids.contains(&13), "not that one");
            Tensor::new(&[[1f32, ids[0] as f32]], &Device::Cpu)
        }

        fn copy(&self) -> Box<dyn Other> {
            Box::new(self.clone())
        }
    }

    #[test]
    fn a_panic_becomes_a_sentence_and_the_model_goes_on() {
        let model = Model {
            kind: Kind::Other(Box::new(Superstitious)),
            threads: Threads::new(Some(1)),
            vocab_size: 20,
            context: 8,
            queue: Mutex::default(),
        };
        for _ in 0..3 {
            let error = model.step(model.text(8), vec![13], false).err().unwrap();
            assert_eq!(error, "candle panicked: not that one");
            let (_, logits) = model.step(model.text(8), vec![3, 5], true).unwrap();
            assert_eq!(logits.to_vec2::<f32>().unwrap(), [[1.0, 3.0], [1.0, 5.0]]);
        }
    }
}
