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

// TODO: impl Layer for Linear

/// A function that is applied to each number: `Each(f32::tanh)`, `Each(|x| x.max(0.0))`.
pub struct Each<F>(pub F);

// TODO: impl Layer for Each<F>, for every F that is a function from f32 to f32

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

// TODO: impl Layer for Chain

/// The place of the largest value, the first one of several; None of nothing.
pub fn argmax<T>(values: &[T]) -> Option<usize> {
    todo!("T has to be something that can be compared: add a bound")
}

/// A vector that knows how to add.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector<T>(pub Vec<T>);

// TODO: impl Add for Vector<T>, for every T that can be added and copied.
// Two vectors of different lengths are a mistake of the caller: panic with both lengths.
