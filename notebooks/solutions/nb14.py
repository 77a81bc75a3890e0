"""Solutions of 14-prove-engine-parity. A test puts each behind its stub and runs it there."""

# %% nb14.ex1
airust.check("nb14.ex1", 2 * 0.004)


# %% nb14.ex2
def verdict(top, expected, got, delta):
    if got == expected:
        return "equal"
    if got not in top:
        return "different"
    return "tie" if top[expected] - top[got] <= 2 * delta else "different"


airust.check("nb14.ex2", verdict)


# %% nb14.ex3
def divergence_of_listed(p, q):
    listed = sum(math.exp(p[v]) * (p[v] - q[v]) for v in p)
    rest_p, rest_q = (1 - sum(map(math.exp, each.values())) for each in (p, q))
    return listed + rest_p * math.log(rest_p / rest_q)


airust.check("nb14.ex3", divergence_of_listed)


# %% nb14.ex4
def survivors(bits, context):
    def rounded(position):
        step = 2 ** max(position.bit_length() - bits, 0)  # between numbers that can be held
        return round(position / step) * step  # Python rounds halves to even, too

    return len({rounded(position) for position in range(context)})


airust.check("nb14.ex4", survivors)

# %% nb14.ex5
ids = [(7 * i) % 61 for i in range(96)]
pieces = [48] + [1] * 48
hypotheses = {
    "no bug": logprobs(original, ids),
    "pairs": logprobs(interleaved(original), ids),
    "stretched": logprobs(stretched(original, 2), ids),
    "late": in_pieces(original, ids, pieces, shifted(original, 1)),
}


def name_of(suspect):
    found = suspect.logprobs(ids, pieces)
    far = {name: float((found - q).abs().max()) for name, q in hypotheses.items()}
    return next((name for name, distance in far.items() if distance < 1e-3), "base")


airust.check("nb14.ex5", {letter: name_of(suspect) for letter, suspect in suspects.items()})

# %% nb14.ex6
found = next(s for s in suspects.values() if name_of(s) == "base").logprobs(ids)
bases = [1000.0 * 1.01**n for n in range(700)]
airust.check(
    "nb14.ex6",
    min(bases, key=lambda b: float((logprobs(wrong_base(original, b), ids) - found).abs().max())),
)


# %% nb14.ex7
def guilty(reference, suspect):
    ids = [(7 * i) % 61 for i in range(96)]  # every token, up to the end of the context
    for sizes in ((), [48] + [1] * 48):  # at once, and as an engine decodes
        if (reference(ids) - suspect(ids, sizes)).abs().max() > 1e-3:
            return True
    return False


airust.check("nb14.ex7", guilty)
