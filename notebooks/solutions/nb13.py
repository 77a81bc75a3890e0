"""Solutions of 13-measure-the-roofline. A test puts each behind its stub and runs it there."""

# %% nb13.ex1
airust.check("nb13.ex1", 2 * 8 * 1024 * 4096)


# %% nb13.ex2
def needed_flops(config, new, past):
    output = config.hidden_size * config.vocab_size
    pairs = new * past + new * (new + 1) // 2
    attention = 4 * config.layers * config.heads * config.head_dim * pairs
    return 2 * (matrix_weights(config) - output) * new + 2 * output + attention


airust.check("nb13.ex2", needed_flops)


# %% nb13.ex3
def most_tokens(config, streams, past, weight_bytes, flop_rate, byte_rate):
    cache = 2 * config.layers * config.kv_heads * config.head_dim * 2 * past
    read = matrix_weights(config) * weight_bytes + streams * cache
    return streams / max(streams * flops(config, 1, past) / flop_rate, read / byte_rate)


airust.check("nb13.ex3", most_tokens)

# %% nb13.ex4
airust.check("nb13.ex4", "bandwidth measured at another working set")


# %% nb13.ex5
def streams_at_the_ridge(weights, weight_bytes, cache_bytes, flop_rate, byte_rate):
    # S * 2N / pi = (b N + S * cache) / beta, solved for S
    gain = 2 * weights / flop_rate - cache_bytes / byte_rate
    return weights * weight_bytes / byte_rate / gain if gain > 0 else float("inf")


airust.check("nb13.ex5", streams_at_the_ridge)


# %% nb13.ex6
def foresee(first, second, size):
    per_byte = (first[1] - second[1]) / (first[0] - second[0])
    return 1 / (first[1] + per_byte * (size - first[0]))


airust.check("nb13.ex6", foresee)


# %% nb13.ex7
def plan(config, memory, flop_rate, byte_rate, past, limit_s, wanted):
    for bytes_each in (2, 1, 0.5):
        cache = past * 2 * config.layers * config.kv_heads * config.head_dim * bytes_each
        weights = matrix_weights(config) * bytes_each
        streams = int(
            min(
                (memory - weights) / cache,
                limit_s * flop_rate / flops(config, 1, past),
                (limit_s * byte_rate - weights) / cache,
            )
        )  # the more streams, the more tokens: as many as all three limits allow
        machine = flop_rate, byte_rate
        if streams >= 1 and tokens_per_s(config, streams, past, bytes_each, *machine) >= wanted:
            return bytes_each, streams


airust.check("nb13.ex7", plan)
