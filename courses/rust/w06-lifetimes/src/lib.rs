//! A reader of safetensors files that copies nothing.
//!
//! Such a file is: 8 bytes, the length N of the header (little-endian); N bytes of JSON,
//! `{"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}`; then the data, in
//! which the offsets are counted from its begin. An entry `__metadata__` holds texts.

pub mod json;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    F32,
    F16,
    Bf16,
}

#[derive(Debug, Clone, PartialEq)]
pub enum FormatError {
    TooShort,        // for the length, or for the header that it announces
    Header,          // is not UTF-8, not JSON, or not of the form above
    Dtype(String),   // one that we do not know
    Outside(String), // the data of this tensor are not in the file, or end before they begin
    Shape(String),   // shape and number of bytes of this tensor do not fit
}

/// One tensor, as it lies in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct View<'a> {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub data: &'a [u8],
}

impl View<'_> {
    /// Its numbers. F16 and BF16 are exact in f32.
    pub fn to_f32(&self) -> Vec<f32> {
        todo!("`chunks_exact`, `from_le_bytes`; a bf16 is the upper half of an f32")
    }
}

/// All tensors of a file that lies in memory.
#[derive(Debug)]
pub struct Tensors<'a> {
    views: Vec<(String, View<'a>)>,
}

impl<'a> Tensors<'a> {
    /// Read the header. Whatever the bytes are, this does not panic.
    pub fn parse(file: &'a [u8]) -> Result<Self, FormatError> {
        todo!("`split_at_checked`, `get(begin..end)`, `checked_mul`: offsets may be any u64")
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&View<'a>> {
        todo!()
    }

    /// All names, in the order of the header.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.views.iter().map(|(name, _)| name.as_str())
    }
}
