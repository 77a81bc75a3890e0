"""Solutions of 11-decode-with-a-cache. A test puts each behind its stub and runs it there."""

# %% nb11.ex1
airust.check("nb11.ex1", 100 * 20 + 100 * 99 // 2)


# %% nb11.ex2
def nucleus(probabilities, P):
    kept, total = set(), 0.0
    for i in sorted(range(len(probabilities)), key=lambda i: -probabilities[i]):
        if total >= P:
            break
        kept.add(i)
        total += probabilities[i]
    return {i for i in kept if probabilities[i] > 0}


airust.check("nb11.ex2", nucleus)


# %% nb11.ex3
def held(length, sinks, room):
    if length <= room:
        return list(range(length))
    return [*range(sinks), *range(length - (room - sinks), length)]


airust.check("nb11.ex3", held)


# %% nb11.ex4
def best_gamma(alpha, c):
    return max(range(51), key=lambda gamma: speed_up(alpha, gamma, c))


airust.check("nb11.ex4", best_gamma)


# %% nb11.ex5
def biased(p, q):
    accepted = [min(a, b) for a, b in zip(p, q)]
    rejected = 1 - sum(accepted)
    return [a + rejected * b for a, b in zip(accepted, p)]


airust.check("nb11.ex5", biased)


# %% nb11.ex6
def users(config, memory, tokens, bytes_each, page):
    room = math.ceil(tokens / page) * page  # tokens of whole pages
    return memory // (room * 2 * config.layers * config.kv_heads * config.head_dim * bytes_each)


airust.check("nb11.ex6", users)


# %% nb11.ex7
def propose(ids, count):
    for size in range(12, 0, -1):  # the longest suffix that has been there before
        for at in range(len(ids) - size - 1, -1, -1):  # its latest place
            if ids[at : at + size] == ids[-size:]:
                return ids[at + size : at + size + count]
    return []


airust.check("nb11.ex7", propose)
