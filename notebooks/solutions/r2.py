"""Solutions of R2-run-forward-pass. A test puts each behind its stub and runs it there."""

# %% r2.ex1
airust.check("r2.ex1", 2 * 512 * 192)

# %% r2.ex2
airust.check("r2.ex2", "memory bandwidth")

# %% r2.ex3
answer = """
fn rms_norm(x: &[f32], gain: &[f32]) -> Vec<f32> {
    let mean = x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32;
    let root = (mean + 1e-6).sqrt();
    x.iter().zip(gain).map(|(x, g)| x / root * g).collect()
}
"""
airust.check("r2.ex3", answer)

# %% r2.ex4
answer = """
fn softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|s| *s = (*s - largest).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|s| *s /= sum);
}
"""
airust.check("r2.ex4", answer)

# %% r2.ex5
answer = """
fn product(w: &[f32], x: &[f32], y: &mut [f32], threads: usize) {
    let part = y.len().div_ceil(threads);
    std::thread::scope(|scope| {
        for (rows, out) in w.chunks(part * x.len()).zip(y.chunks_mut(part)) {
            scope.spawn(move || {
                for (row, y) in rows.chunks_exact(x.len()).zip(out) {
                    *y = row.iter().zip(x).map(|(a, b)| a * b).sum();
                }
            });
        }
    });
}
"""
airust.check("r2.ex5", answer)


# %% r2.ex6
def serial_share(threads, speedup):
    return (threads / speedup - 1) / (threads - 1)


airust.check("r2.ex6", serial_share)
