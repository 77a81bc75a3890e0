"""Solutions of R3-share-between-threads. A test puts each behind its stub and runs it there."""

# %% r3.ex1
airust.check("r3.ex1", "Send")

# %% r3.ex2
airust.check("r3.ex2", 16)

# %% r3.ex3
answer = """
trait Visit {
    fn visit<T>(&self, value: T);
}

fn all(visitors: &[Box<dyn Visit>]) -> usize {
    visitors.len()
}
"""
airust.check("r3.ex3", answer)

# %% r3.ex4
answer = """
fn histogram(bytes: &[u8], threads: usize) -> [u64; 256] {
    let part = bytes.len().div_ceil(threads).max(1);
    let mut total = [0; 256];
    std::thread::scope(|scope| {
        let workers: Vec<_> = bytes
            .chunks(part)
            .map(|part| {
                scope.spawn(move || {
                    let mut counts = [0u64; 256];
                    part.iter().for_each(|b| counts[*b as usize] += 1);
                    counts
                })
            })
            .collect();
        for worker in workers {
            let counts = worker.join().unwrap();
            total.iter_mut().zip(counts).for_each(|(t, c)| *t += c);
        }
    });
    total
}
"""
airust.check("r3.ex4", answer)

# %% r3.ex5
answer = """
fn squares(numbers: Vec<u64>, threads: usize) -> Vec<u64> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for part in numbers.chunks(numbers.len().div_ceil(threads).max(1)) {
            let sender = sender.clone();
            scope.spawn(move || part.iter().for_each(|n| sender.send(n * n).unwrap()));
        }
        drop(sender);
        receiver.iter().collect()
    })
}
"""
airust.check("r3.ex5", answer)

# %% r3.ex6
answer = """
trait Engine {
    fn name(&self) -> String;
    fn answer(&self, prompt: &str) -> String;
}

#[derive(Default)]
struct Registry {
    engines: Vec<Box<dyn Engine>>,
}

impl Registry {
    fn add(&mut self, engine: Box<dyn Engine>) {
        self.engines.push(engine);
    }
    fn ask(&self, name: &str, prompt: &str) -> Option<String> {
        self.engines.iter().find(|e| e.name() == name).map(|e| e.answer(prompt))
    }
}
"""
airust.check("r3.ex6", answer)
