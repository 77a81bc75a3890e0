"""Solutions of 01-map-the-field. A test puts each behind its stub and runs it there."""

# %% nb01.ex1
placed = {
    "Deep Blue": "search", "route planner": "search", "Prolog": "logic",
    "Lean proof assistant": "logic", "naive Bayes spam filter": "uncertainty",
    "Kalman filter": "uncertainty", "k-means": "learning", "AdaBoost": "learning",
    "GPT-2": "language", "word trigrams": "language", "face detection": "perception",
    "auction mechanism design": "society",
}  # fmt: skip
airust.check("nb01.ex1", placed)


# %% nb01.ex2
def posterior(prior, p_if_true, p_if_false):
    yes, no = prior * p_if_true, (1 - prior) * p_if_false
    return yes / (yes + no)


airust.check("nb01.ex2", posterior)


# %% nb01.ex3
def tile_distance(state):
    away = 0
    for at, tile in enumerate(state):
        if tile != " ":
            goal = SOLVED.index(tile)
            away += abs(at // 3 - goal // 3) + abs(at % 3 - goal % 3)
    return away


airust.check("nb01.ex3", tile_distance)


# %% nb01.ex4
def best_of(run, starts):
    return min(map(run, starts), key=lambda result: result[2][-1])


airust.check("nb01.ex4", best_of)


# %% nb01.ex5
def hard_case(n):
    # nearly opposite: what one correction adds, the next takes away, but for a little height
    height = 1 / (10 * n)
    return [((0.99, height), 1), ((-0.9, height), 1)] * n


airust.check("nb01.ex5", hard_case)

# %% nb01.ex6
from itertools import combinations


def stable_extensions(arguments, attacks):
    found = []
    for size in range(len(arguments) + 1):
        for chosen in combinations(sorted(arguments), size):
            if {b for a, b in attacks if a in chosen} == arguments - set(chosen):
                found.append(set(chosen))
    return found


airust.check("nb01.ex6", stable_extensions)


# %% nb01.ex7
def my_heuristic(state):
    conflicts = 0
    for row in range(3):
        here = [SOLVED.index(t) for t in state[3 * row : 3 * row + 3] if t != " "]
        here = [goal for goal in here if goal // 3 == row]
        conflicts += any(a > b for a, b in combinations(here, 2))
    return tile_distance(state) + 2 * conflicts


airust.check("nb01.ex7", my_heuristic)
