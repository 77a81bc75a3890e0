"""Solutions of 12-quantise-weights. A test puts each behind its stub and runs it there."""


# %% nb12.ex1
def megabytes(parameters, bits, group):
    return parameters * (bits + 16 / group) / 8 / 1e6


airust.check("nb12.ex1", megabytes)


# %% nb12.ex2
def bound(W, x, bits):
    return W.abs().amax(1) / (2 ** (bits - 1) - 1) / 2 * x.abs().sum()


airust.check("nb12.ex2", bound)


# %% nb12.ex3
def min_max(values, bits):
    low, high = min(values), max(values)
    if low == high:
        return list(values)
    step = (high - low) / (2**bits - 1)
    return [low + step * round((value - low) / step) for value in values]


airust.check("nb12.ex3", min_max)


# %% nb12.ex4
def pack(codes):
    return bytes(low | high << 4 for low, high in zip(codes[:16], codes[16:]))


airust.check("nb12.ex4", pack)

# %% nb12.ex5
airust.check("nb12.ex5", (1 / 3) / (1 / 12))


# %% nb12.ex6
def choose(parameters, config, memory, tokens, formats):
    cache = tokens * 2 * config.layers * config.kv_heads * config.head_dim * 2
    fits = [name for name, bits in formats.items() if parameters * bits / 8 + cache <= memory]
    return max(fits, key=formats.get)


airust.check("nb12.ex6", choose)


# %% nb12.ex7
def squeeze(M, x):
    return gptq(M, x, bits=4)


airust.check("nb12.ex7", squeeze)
