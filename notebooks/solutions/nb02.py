"""Solutions of 02-compress-with-svd. A test puts each behind its stub and runs it there."""

# %% nb02.ex1
airust.check("nb02.ex1", 20 * (300 + 1 + 200))


# %% nb02.ex2
def fit(x, y, degree):
    return np.linalg.lstsq(np.stack([x**n for n in range(degree + 1)], axis=1), y)[0]


airust.check("nb02.ex2", fit)


# %% nb02.ex3
def approximate(A, k):
    U, S, Vt = np.linalg.svd(A, full_matrices=False)
    return (U[:, :k] * S[:k]) @ Vt[:k]


airust.check("nb02.ex3", approximate)


# %% nb02.ex4
def rank_for(singular_values, tolerance):
    squares = singular_values**2
    for k in range(len(squares) + 1):
        if np.sqrt(squares[k:].sum() / squares.sum()) <= tolerance:
            return k


airust.check("nb02.ex4", rank_for)


# %% nb02.ex5
def worthwhile_rank(m, n):
    return (m * n - 1) // (m + n + 1)


airust.check("nb02.ex5", worthwhile_rank)


# %% nb02.ex6
def largest_singular_value(A):
    v = np.random.default_rng(0).normal(size=A.shape[1])
    for _ in range(200):
        v = A.T @ (A @ v)
        v /= np.linalg.norm(v)
    return np.linalg.norm(A @ v)


airust.check("nb02.ex6", largest_singular_value)


# %% nb02.ex7
def vectors(counts):
    total = counts.sum(1, keepdims=True)
    U, S, _ = np.linalg.svd(np.sqrt(counts / np.sqrt(total * total.T)))
    return U[:, :3] * S[:3]


airust.check("nb02.ex7", vectors)
