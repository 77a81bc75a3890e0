//! Reverse-mode automatic differentiation: values that remember what they were made from.

use std::cell::Cell;
use std::ops::{Add, Mul, Neg, Sub};
use std::rc::{Rc, Weak};

/// A number in a graph. Cloning a `Value` gives another handle of the same number.
#[derive(Clone)]
pub struct Value(Rc<Node>);

/// What several handles share.
pub struct Node {
    data: f64,
    grad: Cell<f64>,            // changed through a shared reference: hence the Cell
    parents: Vec<(Value, f64)>, // what it was made from, with the derivative by each
}

impl Value {
    /// A number that was not computed.
    pub fn new(data: f64) -> Self {
        Self::made(data, Vec::new())
    }

    fn made(data: f64, parents: Vec<(Value, f64)>) -> Self {
        Value(Rc::new(Node { data, grad: Cell::new(0.0), parents }))
    }

    pub fn data(&self) -> f64 {
        self.0.data
    }

    /// The derivative of what `backward` was last called on, by this number.
    pub fn grad(&self) -> f64 {
        self.0.grad.get()
    }

    pub fn tanh(&self) -> Value {
        todo!("the derivative of tanh x is 1 - tanh² x")
    }

    pub fn exp(&self) -> Value {
        todo!()
    }

    /// Fill in `grad` of everything that this number was made from: d self / d it.
    pub fn backward(&self) {
        todo!(
            "order the graph so that each number comes before its parents; set all grads to 0 and \
             the first one to 1; then hand each grad on, times the derivative"
        )
    }

    /// A look at the number that does not keep it alive.
    pub fn watch(&self) -> Weak<Node> {
        Rc::downgrade(&self.0)
    }
}

impl Add for &Value {
    type Output = Value;

    fn add(self, other: &Value) -> Value {
        todo!("`Value::made(...)`, with `self.clone()` among the parents")
    }
}

impl Mul for &Value {
    type Output = Value;

    fn mul(self, other: &Value) -> Value {
        todo!()
    }
}

impl Neg for &Value {
    type Output = Value;

    fn neg(self) -> Value {
        todo!()
    }
}

impl Sub for &Value {
    type Output = Value;

    fn sub(self, other: &Value) -> Value {
        todo!("of two that are there already")
    }
}
