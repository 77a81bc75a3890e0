"""Solutions of R4-measure-rust-and-python. A test puts each behind its stub and runs it there."""

# %% r4.ex1
airust.check("r4.ex1", "--release")

# %% r4.ex2
airust.check("r4.ex2", {"A": "dead code", "B": "debug build", "C": "unequal work"})


# %% r4.ex3
def whole_speedup(share, factor):
    return 1 / (1 - share + share / factor)


airust.check("r4.ex3", whole_speedup)


# %% r4.ex4
def items_to_break_even(start_a, item_a, start_b, item_b):
    import math

    if item_a >= item_b:
        return 1 if start_a + item_a < start_b + item_b else -1
    return max(1, math.floor((start_a - start_b) / (item_b - item_a)) + 1)


airust.check("r4.ex4", items_to_break_even)

# %% r4.ex5
answer = """
fn pairs(text: &[u8]) -> Vec<u32> {
    let mut table = vec![0; 256 * 256];
    for pair in text.windows(2) {
        table[usize::from(pair[0]) * 256 + usize::from(pair[1])] += 1;
    }
    table
}
"""
airust.check("r4.ex5", answer)
