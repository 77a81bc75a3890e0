//! The tensors of a model folder: one safetensors file, or the shards that its index names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Result, Shape, Tensor, bail};
use serde_json::Value;

/// Tensors by the names that Hugging Face checkpoints give them.
pub struct Weights {
    files: MmapedSafetensors,
    dtype: DType, // of matrices
}

/// A JSON file of a model folder.
pub fn read_json(path: &Path) -> Result<Value> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => bail!("{} cannot be read: {error}", path.display()),
    };
    match serde_json::from_str(&text) {
        Ok(values) => Ok(values),
        Err(error) => bail!("{} is not JSON: {error}", path.display()),
    }
}

/// The safetensors files of a folder.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let index = folder.join("model.safetensors.index.json");
    if !index.is_file() {
        return Ok(vec![folder.join("model.safetensors")]);
    }
    let values = read_json(&index)?;
    let Some(table) = values["weight_map"].as_object() else {
        bail!("{} has no weight_map", index.display());
    };
    let names: BTreeSet<&str> = table.values().filter_map(Value::as_str).collect();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

impl Weights {
    /// Open a folder's files; `dtype` is what matrices become, vectors become float32.
    pub fn open(folder: &Path, dtype: DType) -> Result<Self> {
        // SAFETY: a mapped file must not change while it is read. Loading copies all tensors, and
        // whoever overwrites a model in that moment gets wrong numbers with any other reader too.
        let files = unsafe { MmapedSafetensors::multi(&files(folder)?)? };
        Ok(Self { files, dtype })
    }

    /// One tensor, which must have this shape.
    pub fn get(&self, name: &str, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        let Ok(view) = self.files.get(name) else {
            bail!("the weights lack {name}");
        };
        if view.shape() != shape.dims() {
            bail!("{name} is {:?} but config.json says {:?}", view.shape(), shape.dims());
        }
        let dtype = if shape.rank() == 1 { DType::F32 } else { self.dtype };
        self.files.load(name, &Device::Cpu)?.to_dtype(dtype)
    }

    /// Several tensors of equal width, one below the other.
    pub fn stacked(&self, parts: &[(String, usize)], width: usize) -> Result<Tensor> {
        let parts: Result<Vec<Tensor>> =
            parts.iter().map(|(name, rows)| self.get(name, (*rows, width))).collect();
        Tensor::cat(&parts?, 0)
    }
}
