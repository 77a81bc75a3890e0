//! Reverse-mode automatic differentiation: values that remember what they were made from.

use std::cell::Cell;
use std::collections::HashSet;
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
        let t = self.data().tanh();
        Self::made(t, vec![(self.clone(), 1.0 - t * t)])
    }

    pub fn exp(&self) -> Value {
        let e = self.data().exp();
        Self::made(e, vec![(self.clone(), e)])
    }

    /// Fill in `grad` of everything that this number was made from: d self / d it.
    pub fn backward(&self) {
        let order = self.parents_first();
        for value in &order {
            value.0.grad.set(0.0);
        }
        self.0.grad.set(1.0);
        for value in order.iter().rev() {
            for (parent, derivative) in &value.0.parents {
                parent.0.grad.set(parent.grad() + value.grad() * derivative);
            }
        }
    }

    /// The graph, each number behind its parents. A stack of our own instead of recursion: a
    /// graph may be deeper than the thread's stack.
    fn parents_first(&self) -> Vec<Value> {
        let (mut order, mut seen) = (Vec::new(), HashSet::new());
        let mut stack = vec![(self.clone(), false)];
        while let Some((value, parents_are_done)) = stack.pop() {
            if parents_are_done {
                order.push(value);
            } else if seen.insert(Rc::as_ptr(&value.0)) {
                let parents: Vec<Value> = value.0.parents.iter().map(|(p, _)| p.clone()).collect();
                stack.push((value, true));
                stack.extend(parents.into_iter().map(|parent| (parent, false)));
            }
        }
        order
    }

    /// A look at the number that does not keep it alive.
    pub fn watch(&self) -> Weak<Node> {
        Rc::downgrade(&self.0)
    }
}

impl Drop for Node {
    /// Dropping a parent would drop its parents inside, and so on: as deep as the graph.
    fn drop(&mut self) {
        let mut waiting = std::mem::take(&mut self.parents);
        while let Some((value, _)) = waiting.pop() {
            if let Some(mut node) = Rc::into_inner(value.0) {
                waiting.append(&mut node.parents);
            }
        }
    }
}

impl Add for &Value {
    type Output = Value;

    fn add(self, other: &Value) -> Value {
        Value::made(self.data() + other.data(), vec![(self.clone(), 1.0), (other.clone(), 1.0)])
    }
}

impl Mul for &Value {
    type Output = Value;

    fn mul(self, other: &Value) -> Value {
        let parents = vec![(self.clone(), other.data()), (other.clone(), self.data())];
        Value::made(self.data() * other.data(), parents)
    }
}

impl Neg for &Value {
    type Output = Value;

    fn neg(self) -> Value {
        Value::made(-self.data(), vec![(self.clone(), -1.0)])
    }
}

impl Sub for &Value {
    type Output = Value;

    fn sub(self, other: &Value) -> Value {
        self + &-other
    }
}
