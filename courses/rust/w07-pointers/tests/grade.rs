use autograd::Value;

fn near(found: f64, wanted: f64, what: &str) {
    assert!((found - wanted).abs() < 1e-6, "{what}: {wanted} wanted, {found} found");
}

#[test]
fn sums_and_products() {
    let (a, b) = (Value::new(2.0), Value::new(-3.0));
    near((&a + &b).data(), -1.0, "2 + -3");
    near((&a * &b).data(), -6.0, "2 * -3");
    near((&a - &b).data(), 5.0, "2 - -3");
    near((-&a).data(), -2.0, "-(2)");
    near(b.exp().data(), (-3f64).exp(), "e to the -3");
    near(b.tanh().data(), (-3f64).tanh(), "tanh -3");
}

#[test]
fn gradients_of_a_formula() {
    let (a, b, c) = (Value::new(2.0), Value::new(-3.0), Value::new(10.0));
    let out = &(&a * &b) + &c;
    out.backward();
    near(out.grad(), 1.0, "d out / d out");
    near(a.grad(), -3.0, "d (a b + c) / d a");
    near(b.grad(), 2.0, "d (a b + c) / d b");
    near(c.grad(), 1.0, "d (a b + c) / d c");
    let difference = &a - &b;
    difference.backward();
    near(b.grad(), -1.0, "d (a - b) / d b");
}

#[test]
fn what_is_used_twice_counts_twice() {
    let a = Value::new(3.0);
    (&a + &a).backward();
    near(a.grad(), 2.0, "d (a + a) / d a");
    let square = &a * &a;
    let out = &square * &(&square + &a);
    out.backward();
    near(
        a.grad(),
        4.0 * 27.0 + 3.0 * 9.0,
        "d (a² (a² + a)) / d a: hand on a grad once it is whole",
    );
}

#[test]
fn gradients_agree_with_differences() {
    let f = |a: &Value, b: &Value| &(&(a * b) + &a.tanh()).exp() - &(b * &b.tanh());
    let (a, b, step) = (0.3, -0.7, 1e-6);
    let (x, y) = (Value::new(a), Value::new(b));
    f(&x, &y).backward();
    let at = |a: f64, b: f64| f(&Value::new(a), &Value::new(b)).data();
    near(x.grad(), (at(a + step, b) - at(a - step, b)) / (2.0 * step), "by the first number");
    near(y.grad(), (at(a, b + step) - at(a, b - step)) / (2.0 * step), "by the second number");
}

#[test]
fn a_second_pass_begins_anew() {
    let a = Value::new(3.0);
    let out = &a * &a;
    out.backward();
    out.backward();
    near(a.grad(), 6.0, "after two calls of `backward`");
}

#[test]
fn nothing_stays_behind() {
    let a = Value::new(1.0);
    let (inner, kept) = {
        let inner = &a * &a;
        let out = inner.tanh();
        out.backward();
        (inner.watch(), out)
    };
    assert!(inner.upgrade().is_some(), "the result needs what it was made from");
    drop(kept);
    assert!(inner.upgrade().is_none(), "nobody needs it any more, and yet it is there");
    near(a.grad(), 2.0 * (1.0 - 1f64.tanh().powi(2)), "what is held otherwise stays");
}

#[test]
fn a_chain_of_many_steps() {
    let (start, one) = (Value::new(0.0), Value::new(1.0));
    let mut out = &start + &one;
    for _ in 1..300_000 {
        out = &out + &one;
    }
    out.backward();
    near(out.data(), 300_000.0, "the sum");
    near(one.grad(), 300_000.0, "the derivative by the one that is added each time");
    drop(out);
    near(start.grad(), 1.0, "the derivative by the first one");
}
