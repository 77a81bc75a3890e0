//! A GPT in Rust on the candle framework, and a Python module around it.
//!
//! The same model as `airust/gpt`, file by file, for reading side by side:
//!
//! | Python | Rust | what it is |
//! |---|---|---|
//! | `config.py` | [`config`] | the sizes and flags in a checkpoint's config.json |
//! | `checkpoint.py` | [`weights`] | tensors of safetensors files by name |
//! | `rope.py` | [`rope`] | rotary positions, with the scalings of Llama 3 and Phi-3 |
//! | `model.py` and its parts | [`model`] | embedding, attention, feed-forward, output |
//! | `norm.py`, `feed_forward.py` | [`rows`] | what is done to each row by itself |
//! | `nn.Linear` | [`linear`] | a matrix product that is fast for a few rows |
//!
//! [`others`] runs further families by candle-transformers, [`shared`] lets many threads share a
//! model, and `python.rs` is all that Python sees.

pub mod attention;
pub mod config;
pub mod linear;
pub mod model;
pub mod others;
pub mod product;
pub mod rope;
pub mod rows;
pub mod shared;
pub mod threads;
pub mod weights;

#[cfg(not(test))] // a test has no Python to link with
mod python;
