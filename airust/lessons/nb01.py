"""What is artificial intelligence made of?

Checks of notebook 01.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from airust.lessons.checker import close, digest, require
from airust.lessons.field import FIELD

SOLVED = "12345678 "
PLACES = {
    "Deep Blue": "1bfd0c259a02",
    "route planner": "e19038ec5300",
    "Prolog": "e909cd366505",
    "Lean proof assistant": "d9302c1b39e3",
    "naive Bayes spam filter": "44661fe4ba26",
    "Kalman filter": "3e03d903d73c",
    "k-means": "cc47325e8247",
    "AdaBoost": "8d81a7c48b79",
    "GPT-2": "2aab675c58c4",
    "word trigrams": "1cfd04ed9630",
    "face detection": "97c58413a09a",
    "auction mechanism design": "5f406506bedb",
}
BRANCHES = tuple(branch.key for branch in FIELD)


def ex1(answer: Any) -> None:
    """Twelve systems on the map."""
    require(set(answer) == set(PLACES), "Keep the twelve names as they are.")
    unknown = [place for place in answer.values() if place not in BRANCHES]
    require(not unknown, f"A place is one of: {', '.join(BRANCHES)}.")
    right = sum(digest(f"nb01.ex1.{name}", answer[name]) == PLACES[name] for name in PLACES)
    require(
        right == len(PLACES), f"{right} of {len(PLACES)} are right; two share each of some places."
    )


def ex2(answer: Any) -> None:
    """Bayes' rule."""
    for prior, yes, no in ((0.001, 0.99, 0.05), (0.5, 0.2, 0.1), (0.9, 0.0, 0.3)):
        expected = prior * yes / (prior * yes + (1 - prior) * no)
        hint = "Weigh both cases with what was believed before, then divide by their sum."
        close(answer(prior, yes, no), expected, 1e-12, hint)


def ex3(answer: Any) -> None:
    """Manhattan distance in the 8-puzzle."""
    for state in (SOLVED, "1234567 8", " 12345678", "87654321 ", "213456 78"):
        hint = f"Wrong for {state!r}; the hole does not count."
        close(answer(state), _manhattan(state), 0, hint)


def ex4(answer: Any) -> None:
    """The best of several starts."""
    results = {3: ("a", "x", [9.0, 4.0]), 1: ("b", "y", [5.0, 5.0]), 7: ("c", "z", [20.0, 3.5])}
    found = answer(results.__getitem__, [3, 1, 7])
    hint = "Compare the last entry of each history and return the whole result."
    require(found == results[7], hint)
    require(answer(results.__getitem__, [1, 3]) == results[3], hint)


def ex5(answer: Any) -> None:
    """Many mistakes on data that can be separated."""
    count = 20
    data = list(answer(count))
    require(len(data) >= count, f"Give at least {count} points.")
    points = np.array([point for point, _ in data], dtype=float)
    labels = np.array([label for _, label in data], dtype=float)
    require(points.shape == (len(data), 2), "Each point is a pair (x, y).")
    require(set(labels) <= {1.0, -1.0}, "Labels are 1 or -1.")
    require(
        np.linalg.norm(points, axis=1).max() <= 1 + 1e-9, "A point lies outside the unit circle."
    )
    angles = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    lines = np.stack([np.cos(angles), np.sin(angles)])
    signed = points * labels[:, None]
    margin = (signed @ lines).min(0).max()
    require(margin > 0, "No line through the origin separates them.")
    w, mistakes = np.zeros(2), 0
    for _ in range(200):
        for point in signed:
            if w @ point <= 0:
                w, mistakes = w + point, mistakes + 1
    text = f"The perceptron makes {mistakes} mistakes; the bound is {1 / margin**2:.0f}."
    require(mistakes >= count, f"{text} A smaller margin allows more.")


def ex6(answer: Any) -> None:
    """Stable extensions."""
    cases = (
        ("ab", [("a", "b"), ("b", "a")]),
        ("abc", [("a", "b"), ("b", "c"), ("c", "a")]),
        ("abcd", [("a", "b"), ("b", "a"), ("b", "c"), ("d", "c")]),
        ("a", [("a", "a")]),
    )
    for names, attacks in cases:
        found = [frozenset(extension) for extension in answer(set(names), set(attacks))]
        expected = _stable(set(names), set(attacks))
        hint = f"Wrong for {names!r} with {attacks}: no attack inside, and one on each outside."
        require(len(found) == len(expected) and set(found) == expected, hint)


def ex7(answer: Any) -> None:
    """An admissible heuristic above Manhattan's."""
    states = _distances()
    total = 0.0
    for state, distance in states.items():
        value = answer(state)
        if value > distance:
            require(False, f"{state!r} is {distance} moves from the goal; you say {value}.")
        total += value
    mean, other = total / len(states), sum(map(_manhattan, states)) / len(states)
    require(mean >= other + 0.2, f"Its mean is {mean:.2f}; Manhattan's is {other:.2f}.")


def _manhattan(state: str) -> int:
    away = 0
    for at, tile in enumerate(state):
        if tile != " ":
            goal = int(tile) - 1
            away += abs(at // 3 - goal // 3) + abs(at % 3 - goal % 3)
    return away


def _slides(state: str) -> Iterator[str]:
    hole = state.index(" ")
    for step, fits in ((-3, hole > 2), (3, hole < 6), (-1, hole % 3 > 0), (1, hole % 3 < 2)):
        if fits:
            tiles = list(state)
            tiles[hole], tiles[hole + step] = tiles[hole + step], " "
            yield "".join(tiles)


@cache
def _distances() -> dict[str, int]:
    distance, queue = {SOLVED: 0}, deque([SOLVED])
    while queue:
        state = queue.popleft()
        for following in _slides(state):
            if following not in distance:
                distance[following] = distance[state] + 1
                queue.append(following)
    return distance


def _stable(arguments: set[str], attacks: set[tuple[str, str]]) -> set[frozenset[str]]:
    found = set()
    for size in range(len(arguments) + 1):
        for chosen in map(frozenset, itertools.combinations(sorted(arguments), size)):
            attacked = {b for a, b in attacks if a in chosen}
            if attacked == arguments - chosen:
                found.add(chosen)
    return found
