//! What Python sees: `airust_candle.Model` and `airust_candle.Sequence`.
//!
//! Whatever computes does so without Python's global lock, so that other Python threads go on.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::DType;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyByteArray;

use crate::{rows, shared};

/// A loaded model. Threads may share it.
#[pyclass(frozen)]
struct Model(Arc<shared::Model>);

#[pymethods]
impl Model {
    /// Read a model folder; `dtype` is float32, bfloat16 or float16. Raises ValueError.
    #[staticmethod]
    #[pyo3(signature = (folder, dtype, threads=None))]
    fn load(
        py: Python<'_>,
        folder: PathBuf,
        dtype: &str,
        threads: Option<usize>,
    ) -> PyResult<Self> {
        let dtype = match dtype {
            "float32" => DType::F32,
            "bfloat16" => DType::BF16,
            "float16" => DType::F16,
            _ => return Err(PyValueError::new_err(format!("unknown dtype {dtype}"))),
        };
        let model = py.detach(|| shared::Model::load(&folder, dtype, threads));
        Ok(Self(Arc::new(model.map_err(PyValueError::new_err)?)))
    }

    #[getter]
    fn vocab_size(&self) -> usize {
        self.0.vocab_size
    }

    #[getter]
    fn context(&self) -> usize {
        self.0.context
    }

    /// A text of more tokens has to be computed anew, by a sequence of larger capacity; or None.
    #[getter]
    fn original_context(&self) -> Option<usize> {
        self.0.original_context()
    }

    /// How many compute, Python's own included.
    #[getter]
    fn threads(&self) -> usize {
        self.0.threads.count()
    }

    /// Whether it is our own model and not one of candle-transformers.
    #[getter]
    fn own(&self) -> bool {
        self.0.is_own()
    }

    /// An empty text of up to `capacity` tokens.
    fn sequence(&self, capacity: usize) -> Sequence {
        let text = Mutex::new(Some(self.0.text(capacity)));
        Sequence { model: self.0.clone(), text }
    }
}

/// One text and its keys and values.
#[pyclass(frozen)]
struct Sequence {
    model: Arc<shared::Model>,
    text: Mutex<Option<shared::Text>>, // none while a step runs, and after one that failed
}

#[pymethods]
impl Sequence {
    /// Take tokens in; the likeliest next token, or None where the logits are no numbers.
    fn greedy(&self, py: Python<'_>, ids: Vec<u32>) -> PyResult<Option<u32>> {
        let logits = py.detach(|| self.step(ids, false)).map_err(PyRuntimeError::new_err)?;
        Ok(rows::likeliest(&logits))
    }

    /// Take tokens in; the float32 logits of the next token, or with `all` of the one after each.
    #[pyo3(signature = (ids, all=false))]
    fn logits<'py>(
        &self,
        py: Python<'py>,
        ids: Vec<u32>,
        all: bool,
    ) -> PyResult<Bound<'py, PyByteArray>> {
        let logits = py.detach(|| self.step(ids, all)).map_err(PyRuntimeError::new_err)?;
        PyByteArray::new_with(py, 4 * logits.len(), |bytes| {
            for (bytes, number) in bytes.as_chunks_mut().0.iter_mut().zip(logits) {
                *bytes = number.to_ne_bytes();
            }
            Ok(())
        })
    }
}

impl Sequence {
    fn step(&self, ids: Vec<u32>, all: bool) -> shared::Outcome<Vec<f32>> {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner).take();
        let text = text.ok_or("the sequence is in use, or a step of it has failed")?;
        let (text, logits) = self.model.step(text, ids, all)?;
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        logits.flatten_all().and_then(|logits| logits.to_vec1()).map_err(|e| e.to_string())
    }
}

/// The candle engine of airust.
#[pymodule]
mod airust_candle {
    #[pymodule_export]
    use super::{Model, Sequence};

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // A panic is caught and told as a Python error; here it would be printed as well.
        std::panic::set_hook(Box::new(|_| ()));
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
