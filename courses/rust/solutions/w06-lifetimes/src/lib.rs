//! A reader of safetensors files that copies nothing.
//!
//! Such a file is: 8 bytes, the length N of the header (little-endian); N bytes of JSON,
//! `{"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}`; then the data, in
//! which the offsets are counted from its begin. An entry `__metadata__` holds texts.

pub mod json;

use json::Json;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    F32,
    F16,
    Bf16,
}

impl Dtype {
    fn bytes(self) -> usize {
        if self == Dtype::F32 { 4 } else { 2 }
    }
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
        let halves = self.data.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        match self.dtype {
            Dtype::F32 => {
                let words = self.data.chunks_exact(4);
                words.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            Dtype::Bf16 => halves.map(|half| f32::from_bits(u32::from(half) << 16)).collect(),
            Dtype::F16 => halves.map(f16_to_f32).collect(),
        }
    }
}

/// Sign, 5 bits of exponent, 10 bits of fraction.
fn f16_to_f32(half: u16) -> f32 {
    let sign = if half >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(half >> 10 & 31), f32::from(half & 1023));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
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
        let (length, rest) = file.split_first_chunk().ok_or(FormatError::TooShort)?;
        let length = usize::try_from(u64::from_le_bytes(*length));
        let (header, data) = length
            .ok()
            .and_then(|length| rest.split_at_checked(length))
            .ok_or(FormatError::TooShort)?;
        let header = std::str::from_utf8(header).ok().and_then(json::parse);
        let Some(Json::Object(entries)) = header else { return Err(FormatError::Header) };
        let views = entries
            .into_iter()
            .filter(|(name, _)| name != "__metadata__")
            .map(|(name, entry)| view(&name, &entry, data).map(|view| (name, view)))
            .collect::<Result<_, _>>()?;
        Ok(Self { views })
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&View<'a>> {
        self.views.iter().find(|(known, _)| known == name).map(|(_, view)| view)
    }

    /// All names, in the order of the header.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.views.iter().map(|(name, _)| name.as_str())
    }
}

fn view<'a>(name: &str, entry: &Json, data: &'a [u8]) -> Result<View<'a>, FormatError> {
    let dtype = match entry.get("dtype") {
        Some(Json::Text(name)) => match name.as_str() {
            "F32" => Dtype::F32,
            "F16" => Dtype::F16,
            "BF16" => Dtype::Bf16,
            _ => return Err(FormatError::Dtype(name.clone())),
        },
        _ => return Err(FormatError::Header),
    };
    let numbers = |key| {
        let found = entry.get(key).and_then(Json::numbers).ok_or(FormatError::Header)?;
        let sizes: Result<Vec<usize>, _> = found.into_iter().map(usize::try_from).collect();
        sizes.map_err(|_| FormatError::Outside(name.to_string()))
    };
    let (shape, offsets) = (numbers("shape")?, numbers("data_offsets")?);
    let [begin, end] = offsets[..] else { return Err(FormatError::Header) };
    let data = data.get(begin..end).ok_or_else(|| FormatError::Outside(name.to_string()))?;
    let bytes = shape.iter().try_fold(dtype.bytes(), |bytes, size| bytes.checked_mul(*size));
    if bytes != Some(data.len()) {
        return Err(FormatError::Shape(name.to_string()));
    }
    Ok(View { dtype, shape, data })
}
