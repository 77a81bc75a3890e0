"""Solutions of 03-predict-with-ngrams. A test puts each behind its stub and runs it there."""

# %% nb03.ex1
airust.check("nb03.ex1", 6)


# %% nb03.ex2
def perplexity(logprobs):
    return math.exp(-sum(logprobs) / len(logprobs))


airust.check("nb03.ex2", perplexity)


# %% nb03.ex3
def kl(q, p):
    if any(a > 0 and b == 0 for a, b in zip(q, p)):
        return math.inf
    return sum(a * math.log2(a / b) for a, b in zip(q, p) if a > 0)


airust.check("nb03.ex3", kl)


# %% nb03.ex4
def laplace(x, seen, alpha, alphabet_size):
    return (seen[x] + alpha) / (seen.total() + alpha * alphabet_size)


airust.check("nb03.ex4", laplace)

# %% nb03.ex5
airust.check("nb03.ex5", math.log2(20) / 4.5)


# %% nb03.ex6
def is_honest(p, alphabet):
    values = [p(x) for x in alphabet]
    return min(values) >= 0 and math.isclose(sum(values), 1)


airust.check("nb03.ex6", is_honest)


# %% nb03.ex7
def my_model(x, context, table):
    p = 1 / len(table(1)[""])
    for length in range(len(context) + 1):
        seen = table(length + 1)[context[len(context) - length :]]
        if seen:
            p = (seen[x] + 0.5 * len(seen) * p) / (seen.total() + 0.5 * len(seen))
    return p


airust.check("nb03.ex7", my_model)
