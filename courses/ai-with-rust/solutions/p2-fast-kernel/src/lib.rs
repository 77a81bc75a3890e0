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
        let rows = matrix.len() / columns;
        let mut data = vec![0.0; rows.div_ceil(LANES) * LANES * columns];
        for (row, weights) in matrix.chunks_exact(columns).enumerate() {
            let panel = &mut data[row / LANES * LANES * columns..];
            for (input, weight) in weights.iter().enumerate() {
                panel[input * LANES + row % LANES] = *weight;
            }
        }
        Packed { data, rows, columns }
    }

    /// y = W x.
    pub fn matvec(&self, x: &[f32], out: &mut [f32]) {
        self.matmul::<1>(x, out);
    }

    /// The same for N vectors of `columns` numbers, one behind the other; so are the results.
    /// A panel is read once for all of them.
    pub fn matmul<const N: usize>(&self, x: &[f32], out: &mut [f32]) {
        let vectors: [&[f32]; N] = std::array::from_fn(|n| &x[n * self.columns..][..self.columns]);
        for (number, panel) in self.data.chunks_exact(LANES * self.columns).enumerate() {
            let mut sums = [[0f32; LANES]; N];
            for (input, weights) in panel.as_chunks::<LANES>().0.iter().enumerate() {
                for (sums, vector) in sums.iter_mut().zip(vectors) {
                    let x = vector[input];
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum += weight * x;
                    }
                }
            }
            let first = number * LANES;
            let here = LANES.min(self.rows - first);
            for (n, sums) in sums.iter().enumerate() {
                out[n * self.rows + first..][..here].copy_from_slice(&sums[..here]);
            }
        }
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
        let (mut data, mut scales) = (Vec::with_capacity(matrix.len()), Vec::new());
        for row in matrix.chunks_exact(columns) {
            let largest = row.iter().fold(0f32, |largest, weight| largest.max(weight.abs()));
            let scale = largest / 127.0;
            let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            data.extend(row.iter().map(|weight| (weight * inverse).round() as i8));
            scales.push(scale);
        }
        Int8 { data, scales, columns }
    }

    /// y = W x, summed up in f32.
    pub fn matvec(&self, x: &[f32], out: &mut [f32]) {
        let rows = self.data.chunks_exact(self.columns).zip(&self.scales);
        for ((row, scale), out) in rows.zip(out) {
            let mut sums = [0f32; LANES];
            let (blocks, rest) = row.as_chunks::<LANES>();
            let (x_blocks, x_rest) = x.as_chunks::<LANES>();
            for (weights, x) in blocks.iter().zip(x_blocks) {
                for lane in 0..LANES {
                    sums[lane] += f32::from(weights[lane]) * x[lane];
                }
            }
            let rest: f32 = rest.iter().zip(x_rest).map(|(w, x)| f32::from(*w) * x).sum();
            *out = scale * (sums.iter().sum::<f32>() + rest);
        }
    }
}
