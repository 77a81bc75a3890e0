"""Solutions of 17-operate-a-service. A test puts each behind its stub and runs it there."""

# %% nb17.ex1
airust.check("nb17.ex1", 30 * 24 * 60 * 0.001)


# %% nb17.ex2
def branches(messages):
    parents = {message["parent_id"] for message in messages}
    leaves = [message["id"] for message in messages if message["id"] not in parents]
    return [[message["id"] for message in path(messages, leaf)] for leaf in leaves]


airust.check("nb17.ex2", branches)


# %% nb17.ex3
def left_out(turns, last, room):
    kept = []
    for role, tokens in reversed(turns[-last:]):
        room -= tokens + 8
        if room < 0 and kept:
            break
        kept.insert(0, role)
    while len(kept) > 1 and kept[0] == "assistant" and len(kept) < len(turns):
        kept.pop(0)
    return len(turns) - len(kept)


airust.check("nb17.ex3", left_out)


# %% nb17.ex4
def increase(values):
    return sum(b - a if b >= a else b for a, b in zip(values, values[1:]))


airust.check("nb17.ex4", increase)


# %% nb17.ex5
def first_alarm(requests, errors, slo, threshold, long, short):
    def burning(minute, window):
        past = slice(max(0, minute + 1 - window), minute + 1)
        asked = sum(requests[past])
        return asked and sum(errors[past]) / asked / (1 - slo) >= threshold

    fires = (m for m in range(len(requests)) if burning(m, long) and burning(m, short))
    return next(fires, -1)


airust.check("nb17.ex5", first_alarm)


# %% nb17.ex6
class TokenBudget:
    def __init__(self, rate, size):
        self.rate, self.size, self.level, self.at = rate, size, size, None

    def fill(self, now):
        if self.at is not None:
            self.level = min(self.size, self.level + (now - self.at) * self.rate)
        self.at = now

    def may_start(self, now):
        self.fill(now)
        return self.level >= 0

    def charge(self, now, tokens):
        self.fill(now)
        self.level -= tokens

    def wait(self, now):
        self.fill(now)
        return max(0.0, -self.level / self.rate)


airust.check("nb17.ex6", TokenBudget)


# %% nb17.ex7
def delay(attempt, retry_after, u):
    return retry_after + u * 8 * 2 ** (attempt - 1)  # a wider spread after each refusal


airust.check("nb17.ex7", delay)
