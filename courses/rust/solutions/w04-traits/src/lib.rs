//! Layers of a network behind one trait.

use std::ops::Add;

/// Something that turns a vector into a vector.
pub trait Layer {
    fn forward(&self, x: &[f32]) -> Vec<f32>;

    /// How many numbers it has learned; most layers have none.
    fn parameters(&self) -> usize {
        0
    }
}

/// y = W x + b, the matrix row by row.
pub struct Linear {
    pub weight: Vec<Vec<f32>>, // (outputs, inputs)
    pub bias: Vec<f32>,        // (outputs)
}

impl Layer for Linear {
    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let product = |row: &Vec<f32>| row.iter().zip(x).map(|(w, x)| w * x).sum::<f32>();
        self.weight.iter().zip(&self.bias).map(|(row, bias)| product(row) + bias).collect()
    }

    fn parameters(&self) -> usize {
        self.weight.iter().map(Vec::len).sum::<usize>() + self.bias.len()
    }
}

/// A function that is applied to each number: `Each(f32::tanh)`, `Each(|x| x.max(0.0))`.
pub struct Each<F>(pub F);

impl<F: Fn(f32) -> f32> Layer for Each<F> {
    fn forward(&self, x: &[f32]) -> Vec<f32> {
        x.iter().map(|x| (self.0)(*x)).collect()
    }
}

/// Layers one behind the other, of any kinds.
#[derive(Default)]
pub struct Chain {
    layers: Vec<Box<dyn Layer>>,
}

impl Chain {
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more layer at the end: `Chain::new().then(a).then(b)`.
    pub fn then(mut self, layer: impl Layer + 'static) -> Self {
        self.layers.push(Box::new(layer));
        self
    }
}

impl Layer for Chain {
    fn forward(&self, x: &[f32]) -> Vec<f32> {
        self.layers.iter().fold(x.to_vec(), |x, layer| layer.forward(&x))
    }

    fn parameters(&self) -> usize {
        self.layers.iter().map(|layer| layer.parameters()).sum()
    }
}

/// The place of the largest value, the first one of several; None of nothing.
pub fn argmax<T: PartialOrd>(values: &[T]) -> Option<usize> {
    let mut best = if values.is_empty() { None } else { Some(0) };
    for (place, value) in values.iter().enumerate() {
        if best.is_some_and(|best| *value > values[best]) {
            best = Some(place);
        }
    }
    best
}

/// A vector that knows how to add.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector<T>(pub Vec<T>);

impl<T: Add<Output = T> + Copy> Add for Vector<T> {
    type Output = Vector<T>;

    fn add(self, other: Self) -> Self {
        let (left, right) = (self.0.len(), other.0.len());
        assert!(left == right, "{left} numbers cannot be added to {right}");
        Vector(self.0.iter().zip(&other.0).map(|(a, b)| *a + *b).collect())
    }
}
