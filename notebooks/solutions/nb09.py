"""Solutions of 09-measure-scaling-laws. A test puts each behind its stub and runs it there."""

# %% nb09.ex1
airust.check("nb09.ex1", 2**-0.35)


# %% nb09.ex2
def with_floor(x, y):
    # y0 - y1 and y1 - y2 are free of E, and their ratio is 2^alpha
    a = math.log2((y[0] - y[1]) / (y[1] - y[2]))
    scale = (y[0] - y[1]) / (x[0] ** -a - x[1] ** -a)
    return a, y[0] - scale * x[0] ** -a


airust.check("nb09.ex2", with_floor)


# %% nb09.ex3
def best_n(C, alpha, beta, A, B, k):
    return best_split(6 * C / k, alpha, beta, A, B)[0]  # C/k takes the place of C/6


airust.check("nb09.ex3", best_n)


# %% nb09.ex4
def cheapest(loss, alpha, beta, A, B, E):
    low, high = 10.0, 40.0  # exponents of ten; the least loss falls as C grows
    for _ in range(60):
        middle = (low + high) / 2
        n, d = best_split(10**middle, alpha, beta, A, B)
        reached = loss_of_law(n, d, alpha, beta, A, B, E)
        low, high = (middle, high) if reached > loss else (low, middle)
    return 10**high, n


airust.check("nb09.ex4", cheapest)

# %% nb09.ex5
airust.check("nb09.ex5", "too low")


# %% nb09.ex6
def cheapest_life(loss, S, alpha, beta, A, B, E):
    n = np.geomspace(1e8, 1e14, 100_001)
    rest = loss - E - A / n**alpha  # what is left for the data
    n, rest = n[rest > 0], rest[rest > 0]
    d = (B / rest) ** (1 / beta)
    best = (6 * n * d + 2 * n * S).argmin()
    return n[best], d[best]


airust.check("nb09.ex6", cheapest_life)

# %% nb09.ex7
from airust.lessons.nb09 import sweep

runs = sweep()
draws = np.random.default_rng(0).multinomial(42, np.full(42, 1 / 42), size=200).astype(float)
guesses = predict(fit(*runs, draws), 1e6, 1e7)
airust.check("nb09.ex7", tuple(np.percentile(guesses, [1, 99])))
