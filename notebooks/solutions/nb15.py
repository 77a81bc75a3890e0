"""Solutions of 15-doubt-a-benchmark. A test puts each behind its stub and runs it there."""

# %% nb15.ex1
airust.check("nb15.ex1", 3)


# %% nb15.ex2
def paired_ratio(p, q):
    logs = [math.log(np.median(a) / np.median(b)) for a, b in zip(p, q)]
    return math.exp(sum(logs) / len(logs))


airust.check("nb15.ex2", paired_ratio)

# %% nb15.ex3
airust.check("nb15.ex3", 1 - 2 * 0.5**3)


# %% nb15.ex4
def best_repeats(launch_s, repeat_s, between, within):
    return math.sqrt(launch_s / repeat_s) * within / between


airust.check("nb15.ex4", best_repeats)


# %% nb15.ex5
def mean_ratio(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


airust.check("nb15.ex5", mean_ratio)


# %% nb15.ex6
def blocks_needed(factor, spread):
    blocks = 2
    while student_t(blocks - 1) * spread / math.sqrt(blocks) >= abs(math.log(factor)):
        blocks += 1
    return blocks


airust.check("nb15.ex6", blocks_needed)


# %% nb15.ex7
def interval(launches):
    found = summarise(launches)
    return found.low, found.high


airust.check("nb15.ex7", interval)
