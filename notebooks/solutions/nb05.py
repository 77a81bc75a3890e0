"""Solutions of 05-tame-the-gradient. A test puts each behind its stub and runs it there."""

# %% nb05.ex1
airust.check("nb05.ex1", 2 / 40)


# %% nb05.ex2
def nesterov(lr, mu):
    def rule(g, state, n):
        state["m"] = mu * state.get("m", 0) + g
        return lr * (g + mu * state["m"])

    return rule


airust.check("nb05.ex2", nesterov)


# %% nb05.ex3
def adamw(lr, beta1, beta2, eps, decay):
    inner = adam(lr, beta1, beta2, eps)
    return lambda g, state, n, x: inner(g, state, n) + lr * decay * x


airust.check("nb05.ex3", adamw)

# %% nb05.ex4
airust.check("nb05.ex4", 0.1 / math.sqrt(0.001))


# %% nb05.ex5
def best_rate(curvature, rates, steps):
    def loss(rate):
        x = np.ones(len(curvature))
        for _ in range(steps):
            x = x - rate * curvature * x
        return 0.5 * (curvature * x**2).sum()

    return min(rates, key=loss)


airust.check("nb05.ex5", best_rate)


# %% nb05.ex6
def nearest_orthogonal(M):
    U, _, Vt = np.linalg.svd(M, full_matrices=False)
    return U @ Vt


airust.check("nb05.ex6", nearest_orthogonal)

# %% nb05.ex7
my_rule = adam(0.05)
airust.check("nb05.ex7", my_rule)
