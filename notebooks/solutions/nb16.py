"""Solutions of 16-serve-under-load. A test puts each behind its stub and runs it there."""

# %% nb16.ex1
airust.check("nb16.ex1", 12 * 2.5)


# %% nb16.ex2
def read_stream(lines):
    text = ""
    for line in lines:
        if not line.startswith("data:") or line.endswith("[DONE]"):
            continue
        chunk = json.loads(line.removeprefix("data:"))
        if "error" in chunk:
            raise RuntimeError(chunk["error"]["message"])
        for choice in chunk["choices"]:
            text += choice["delta"].get("content") or ""
    return text


airust.check("nb16.ex2", read_stream)


# %% nb16.ex3
def highest_rate(service_s, wait_s):
    return 2 * wait_s / (service_s * (service_s + 2 * wait_s))


airust.check("nb16.ex3", highest_rate)


# %% nb16.ex4
def as_users_wait(took_s, every_s):
    waited, end = [], 0.0
    for number, took in enumerate(took_s):
        due = number * every_s
        end = max(end, due) + took
        waited.append(end - due)
    return waited


airust.check("nb16.ex4", as_users_wait)


# %% nb16.ex5
def histogram_quantile(q, buckets):
    rank, low, below = q * buckets[-1][1], 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count


airust.check("nb16.ex5", histogram_quantile)


# %% nb16.ex6
def best_slots(alpha, beta, tpot_s):
    n = int((tpot_s - alpha) / beta + 1e-9)
    return n, n / (alpha + beta * n)


airust.check("nb16.ex6", best_slots)


# %% nb16.ex7
def choose(waiting, now):
    in_time = [i for i, (arrival, _, _) in enumerate(waiting) if now - arrival < 0.9]
    return min(in_time, key=lambda i: waiting[i][2], default=-1)  # the shortest of them


airust.check("nb16.ex7", choose)
