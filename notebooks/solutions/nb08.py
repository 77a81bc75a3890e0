"""Solutions of 08-pretrain-tiny-gpt. A test puts each behind its stub and runs it there."""

# %% nb08.ex1
airust.check("nb08.ex1", math.log(4096))


# %% nb08.ex2
def shift(ids, learned):
    return ids[:-1], [i if known else -100 for i, known in zip(ids[1:], learned[1:])]


airust.check("nb08.ex2", shift)


# %% nb08.ex3
def packing_mask(owner):
    return (owner[:, None] == owner).tril()


airust.check("nb08.ex3", packing_mask)


# %% nb08.ex4
def schedule(step, steps, warmup, decay):
    return min(1, (step + 1) / warmup, (steps - step) / decay)


airust.check("nb08.ex4", schedule)


# %% nb08.ex5
def seconds(n, rate):
    return 6 * n * 20 * n / rate


airust.check("nb08.ex5", seconds)

# %% nb08.ex6
airust.check("nb08.ex6", "targets not shifted")

# %% nb08.ex7
airust.check("nb08.ex7", model)
