use layers::*;

fn linear() -> Linear {
    Linear {
        weight: vec![vec![1.0, 2.0], vec![0.0, -1.0], vec![3.0, 0.0]],
        bias: vec![0.5, 0.0, 0.0],
    }
}

struct Reverse;

impl Layer for Reverse {
    fn forward(&self, x: &[f32]) -> Vec<f32> {
        x.iter().rev().copied().collect()
    }
}

#[test]
fn linear_is_a_matrix_product() {
    assert_eq!(linear().forward(&[1.0, 2.0]), [5.5, -2.0, 3.0], "W x + b of two inputs");
}

#[test]
fn a_function_becomes_a_layer() {
    assert_eq!(Each(|x: f32| x.max(0.0)).forward(&[-1.0, 2.0]), [0.0, 2.0], "a closure");
    let slope = 3.0;
    assert_eq!(Each(move |x: f32| x * slope).forward(&[1.0]), [3.0], "one that holds a value");
    assert_eq!(Each(f32::abs).forward(&[-1.0]), [1.0], "a function of the library");
}

#[test]
fn chains_run_in_order() {
    assert_eq!(Chain::new().forward(&[1.0, 2.0]), [1.0, 2.0], "an empty chain changes nothing");
    let chain = Chain::new().then(linear()).then(Each(|x: f32| x.max(0.0)));
    assert_eq!(chain.forward(&[1.0, 2.0]), [5.5, 0.0, 3.0], "linear, then the larger of x and 0");
}

#[test]
fn a_chain_is_a_layer_too() {
    let inner = Chain::new().then(Each(|x| x + 1.0));
    let outer = Chain::new().then(inner).then(Each(|x| x * 10.0));
    assert_eq!(outer.forward(&[0.0]), [10.0], "a chain inside a chain");
}

#[test]
fn parameters_add_up() {
    let chain = Chain::new().then(linear()).then(Each(f32::tanh)).then(linear());
    assert_eq!(chain.parameters(), 18, "twice 6 weights and 3 biases; a function has none");
}

#[test]
fn your_own_layer_fits_in() {
    assert_eq!(Chain::new().then(Reverse).forward(&[1.0, 2.0]), [2.0, 1.0], "a layer of the test");
}

#[test]
fn argmax_of_anything_that_can_be_compared() {
    assert_eq!(argmax(&[1.5, 3.5, 3.5]), Some(1), "of floats");
    assert_eq!(argmax(&["b", "c", "a"]), Some(1), "of texts");
    assert_eq!(argmax(&[String::from("no copy")]), Some(0), "of what cannot be copied");
    assert_eq!(argmax::<i32>(&[]), None, "of nothing");
}

#[test]
fn vectors_add_up() {
    assert_eq!(Vector(vec![1, 2]) + Vector(vec![10, 20]), Vector(vec![11, 22]), "whole numbers");
    assert_eq!(Vector(vec![0.5]) + Vector(vec![0.25]), Vector(vec![0.75]), "floats");
    let unequal = std::panic::catch_unwind(|| Vector(vec![1]) + Vector(vec![1, 2]));
    assert!(unequal.is_err(), "one number and two: this has to panic");
}
