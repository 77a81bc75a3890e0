"""Solutions of 06-train-a-tokenizer. A test puts each behind its stub and runs it there."""

# %% nb06.ex1
airust.check("nb06.ex1", len("水🦀a".encode()))

# %% nb06.ex2
pairs = count_pairs({tuple("low"): 5, tuple("lower"): 2, tuple("newest"): 6, tuple("widest"): 3})
airust.check("nb06.ex2", "".join(min(pairs, key=lambda pair: (-pairs[pair], pair))))

# %% nb06.ex3
import codecs


class StreamDecoder:
    def __init__(self):
        self.decoder = codecs.getincrementaldecoder("utf-8")()

    def push(self, byte_values):
        return self.decoder.decode(bytes(byte_values))


airust.check("nb06.ex3", StreamDecoder)


# %% nb06.ex4
def tokens_per_character(tokenizer, text):
    return len(tokenizer.encode(text)) / len(text)


airust.check("nb06.ex4", tokens_per_character)


# %% nb06.ex5
def update(pieces, pairs, pair):
    new, pairs = {}, Counter(pairs)
    for piece, count in pieces.items():
        merged = piece
        if pair in zip(piece, piece[1:]):
            merged = merge(piece, pair)
            for old in zip(piece, piece[1:]):
                pairs[old] -= count
            for fresh in zip(merged, merged[1:]):
                pairs[fresh] += count
        new[merged] = count
    return new, pairs


airust.check("nb06.ex5", update)

# %% nb06.ex6
airust.check("nb06.ex6", "two  spaces")

# %% nb06.ex7
mine = [q for e in corpus.explanations if e.language == "en" for q in (e.answer, e.questions[0])]
airust.check("nb06.ex7", mine)
