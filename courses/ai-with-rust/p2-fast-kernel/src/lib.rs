//! y = W x, the operation that a model spends its time with, in three forms.

/// Outputs of a panel. Small enough for the registers, large enough for the widest vector.
pub const LANES: usize = 16;

/// One row after the other, the products of each added up in order. The measure of the others.
pub fn matvec_rows(matrix: &[f32], x: &[f32], out: &mut [f32]) {
    for (row, out) in matrix.chunks_exact(x.len()).zip(out) {
        let mut sum = 0.0;
        for (weight, x) in row.iter().zip(x) {
            sum += weight * x;
        }
        *out = sum;
    }
}

/// A matrix in panels of 16 outputs: of the first 16 rows first their 16 weights of input 0, then
/// the 16 of input 1, and so on; then the next 16 rows. Missing rows of the last panel are zeros.
pub struct Packed {
    pub data: Vec<f32>,
    pub rows: usize,
    pub columns: usize,
}

impl Packed {
    /// Lay out a matrix that is given row by row; it has at least one column.
    pub fn new(matrix: &[f32], columns: usize) -> Self {
        todo!("once, at load: this may be slow")
    }

    /// y = W x.
    pub fn matvec(&self, x: &[f32], out: &mut [f32]) {
        todo!("for each panel: `let mut sums = [0f32; LANES]`, and walk through `as_chunks`")
    }

    /// The same for N vectors of `columns` numbers, one behind the other; so are the results.
    /// A panel is read once for all of them.
    pub fn matmul<const N: usize>(&self, x: &[f32], out: &mut [f32]) {
        todo!("`[[0f32; LANES]; N]`")
    }
}

/// A matrix in eight bits: weight = scale of its row * number from -127 to 127.
pub struct Int8 {
    pub data: Vec<i8>,
    pub scales: Vec<f32>, // one for each row
    pub columns: usize,
}

impl Int8 {
    /// Round each weight to the nearest multiple of max |row| / 127.
    pub fn new(matrix: &[f32], columns: usize) -> Self {
        todo!("a row of zeros has scale 0: do not divide by it")
    }

    /// y = W x, summed up in f32.
    pub fn matvec(&self, x: &[f32], out: &mut [f32]) {
        todo!("the scale is the same for a whole row: multiply once")
    }
}
