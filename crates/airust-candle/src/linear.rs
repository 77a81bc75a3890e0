//! Linear layers: weights that stay, in panels for [`crate::product`].
//!
//! Decoding one text reads every weight once for each token and computes two operations with it,
//! so memory is the limit: half as many bytes a weight are nearly twice the speed. The weights may
//! therefore be bfloat16 or float16, while all sums run in float32.

use candle_core::{DType, Device, Result, Tensor, bail};
use half::{bf16, f16};

use crate::product::{LANES, ROWS, Weight, multiply_add};
use crate::rows::look;
use crate::threads::Threads;

/// y = W x + b
pub struct Linear {
    panels: Panels,
    inputs: usize,          // I
    outputs: usize,         // O
    bias: Option<Vec<f32>>, // (O)
}

/// A matrix (O, I) as ceil(O / 64) panels of (I, 64), the last one filled up with zeros.
enum Panels {
    F32(Vec<f32>),
    BF16(Vec<bf16>),
    F16(Vec<f16>),
}

impl Linear {
    /// Of a matrix (O, I) in float32, bfloat16 or float16.
    pub fn new(weight: &Tensor, bias: Option<Tensor>) -> Result<Self> {
        let (outputs, inputs) = weight.dims2()?;
        let flat = weight.flatten_all()?;
        let panels = match weight.dtype() {
            DType::F32 => Panels::F32(pack(&flat.to_vec1()?, inputs)),
            DType::BF16 => Panels::BF16(pack(&flat.to_vec1()?, inputs)),
            DType::F16 => Panels::F16(pack(&flat.to_vec1()?, inputs)),
            dtype => bail!("weights cannot be {dtype:?}"),
        };
        let bias = bias.map(|bias| bias.to_vec1()).transpose()?;
        Ok(Self { panels, inputs, outputs, bias })
    }

    /// (N, I) -> (N, O)
    pub fn forward(&self, x: &Tensor, threads: &Threads) -> Result<Tensor> {
        Tensor::from_vec(self.numbers(x, threads)?, (x.dim(0)?, self.outputs), &Device::Cpu)
    }

    /// The same as plain numbers.
    pub fn numbers(&self, x: &Tensor, threads: &Threads) -> Result<Vec<f32>> {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let mut y = look(x, |x| match &self.panels {
            Panels::F32(panels) => product(panels, x, inputs, outputs, threads),
            Panels::BF16(panels) => product(panels, x, inputs, outputs, threads),
            Panels::F16(panels) => product(panels, x, inputs, outputs, threads),
        })?;
        if let Some(bias) = &self.bias {
            let rows = y.chunks_exact_mut(outputs);
            rows.for_each(|row| row.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias));
        }
        Ok(y)
    }

    /// Rows of the matrix (O, I) as they were, (N, I) in float32: an embedding that is tied to the
    /// output needs no second copy.
    pub fn rows(&self, indices: &[u32]) -> Result<Tensor> {
        let rows = match &self.panels {
            Panels::F32(panels) => unpack(panels, self.inputs, indices),
            Panels::BF16(panels) => unpack(panels, self.inputs, indices),
            Panels::F16(panels) => unpack(panels, self.inputs, indices),
        };
        Tensor::from_vec(rows, (indices.len(), self.inputs), &Device::Cpu)
    }
}

fn pack<W: Weight>(weight: &[W], inputs: usize) -> Vec<W> {
    let outputs = weight.len() / inputs;
    let mut panels = vec![W::default(); outputs.div_ceil(LANES) * LANES * inputs];
    for (o, row) in weight.chunks_exact(inputs).enumerate() {
        let panel = &mut panels[o / LANES * LANES * inputs..];
        for (i, w) in row.iter().enumerate() {
            panel[i * LANES + o % LANES] = *w;
        }
    }
    panels
}

fn unpack<W: Weight>(panels: &[W], inputs: usize, indices: &[u32]) -> Vec<f32> {
    let places = indices.iter().flat_map(|&o| {
        let (panel, lane) = (o as usize / LANES, o as usize % LANES);
        (0..inputs).map(move |i| (panel * inputs + i) * LANES + lane)
    });
    places.map(|at| W::widen(&[panels[at]])[0]).collect()
}

/// (O, I) in panels and (N, I) -> (N, O)
fn product<W: Weight>(
    panels: &[W],
    x: &[f32],
    inputs: usize,
    outputs: usize,
    threads: &Threads,
) -> Vec<f32> {
    let n = x.len() / inputs;
    // Each panel first gives its own (N, 64), so that threads write to places of their own.
    let mut parts = vec![0f32; outputs.div_ceil(LANES) * n * LANES];
    threads.fill_chunks(&mut parts, n * LANES, n * inputs * outputs, |p, part| {
        let panel = &panels[p * inputs * LANES..(p + 1) * inputs * LANES];
        for (x, out) in x.chunks(ROWS * inputs).zip(part.chunks_mut(ROWS * LANES)) {
            multiply_add(panel, x, inputs, out);
        }
    });
    if n == 1 {
        parts.truncate(outputs);
        return parts;
    }
    let mut y = vec![0f32; n * outputs];
    threads.fill_chunks(&mut y, outputs, n * outputs, |row, y| {
        for (part, y) in parts.chunks_exact(n * LANES).zip(y.chunks_mut(LANES)) {
            y.copy_from_slice(&part[row * LANES..row * LANES + y.len()]);
        }
    });
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(a: &Tensor, b: &Tensor) -> Result<f32> {
        (a - b)?.abs()?.max_all()?.to_scalar()
    }

    #[test]
    fn the_product_is_that_of_candle() -> Result<()> {
        let threads = Threads::new(Some(2));
        for (outputs, inputs) in [(7, 5), (64, 32), (300, 150), (1000, 40)] {
            let weight = Tensor::randn(0f32, 1.0, (outputs, inputs), &Device::Cpu)?;
            let x = Tensor::randn(0f32, 1.0, (11, inputs), &Device::Cpu)?;
            for dtype in [DType::F32, DType::BF16, DType::F16] {
                let weight = weight.to_dtype(dtype)?;
                let slow = x.matmul(&weight.to_dtype(DType::F32)?.t()?)?;
                let layer = Linear::new(&weight, None)?;
                for n in 1..=11 {
                    let y = layer.forward(&x.narrow(0, 0, n)?, &threads)?;
                    assert!(difference(&y, &slow.narrow(0, 0, n)?)? < 1e-4);
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_bias_is_added() -> Result<()> {
        let layer = Linear::new(
            &Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?,
            Some(Tensor::new(&[10f32, 20.0], &Device::Cpu)?),
        )?;
        let y = layer
            .forward(&Tensor::ones((3, 2), DType::F32, &Device::Cpu)?, &Threads::new(Some(1)))?;
        assert_eq!(y.to_vec2::<f32>()?, vec![vec![13.0, 27.0]; 3]);
        Ok(())
    }

    #[test]
    fn rows_come_back_as_they_were() -> Result<()> {
        let weight = Tensor::randn(0f32, 1.0, (150, 9), &Device::Cpu)?.to_dtype(DType::BF16)?;
        let rows = Linear::new(&weight, None)?.rows(&[149, 0, 64, 0])?;
        let index = Tensor::new(&[149u32, 0, 64, 0], &Device::Cpu)?;
        let same = weight.index_select(&index, 0)?.to_dtype(DType::F32)?;
        assert_eq!(difference(&rows, &same)?, 0.0);
        Ok(())
    }
}
