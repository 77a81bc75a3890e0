"""The tests of this assignment: `python grade.py`, or with points `airust grade`."""

from __future__ import annotations

import contextlib
import random
import unittest
from collections.abc import Iterator

import harness

from airust.engines.dummy import DummyEngine
from airust.types import Message, Request

REQUEST = Request(messages=(Message("user", "one two three"),))


class Clock:
    """A clock that goes on by a second each time that somebody looks at it."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return float(self.looks)


class Spy(DummyEngine):
    """An echo that notes whether the clock was running when it was asked."""

    def __init__(self, clock: Clock, script: tuple[str, ...] = ()) -> None:
        super().__init__(script)
        self.clock, self.seen = clock, []

    def prepare(self, request: Request) -> list[str]:
        self.seen.append(self.clock.looks)
        return super().prepare(request)


def lucky_launches(dice: random.Random, launches: int, repeats: int) -> list[list[float]]:
    """Rates around 100: between launches they differ by 5, within one by 0.5."""
    found = []
    for _ in range(launches):
        luck = dice.gauss(100, 5)
        found.append([dice.gauss(luck, 0.5) for _ in range(repeats)])
    return found


def intervals() -> Iterator[tuple[float, float]]:
    dice = random.Random(1)
    for number in range(100):
        yield harness.interval(lucky_launches(dice, 8, 10), seed=number)


class Grade(unittest.TestCase):
    longMessage = False

    def test_tokens_are_counted_and_not_chunks(self) -> None:
        found = harness.decode_rate([(0.5, 1), (1.0, 4), (1.5, 1), (2.5, 5)])
        self.assertEqual(
            found, 5.0, f"10 tokens in 2 s behind the first chunk are 5/s, not {found}"
        )
        late = harness.decode_rate([(9.0, 3), (10.0, 2)])
        self.assertEqual(late, 2.0, "the wait for the first chunk is no decoding, nor its tokens")

    def test_every_round_has_every_engine_once(self) -> None:
        names = ["torch", "candle", "mistralrs"]
        found = harness.schedule(names, 50, seed=3)
        self.assertEqual(len(found), 50, "there should be 50 rounds")
        for order in found:
            self.assertEqual(sorted(order), sorted(names), f"a round was {order}")
        self.assertGreater(len({tuple(order) for order in found}), 4, "the orders should differ")
        self.assertEqual(found, harness.schedule(names, 50, seed=3), "the same seed, another plan")
        self.assertNotEqual(
            found, harness.schedule(names, 50, seed=4), "another seed, the same plan"
        )
        self.assertEqual(names, ["torch", "candle", "mistralrs"], "your caller's list was changed")

    def test_the_unit_is_the_launch(self) -> None:
        held = sum(low <= 100 <= high for low, high in intervals())
        self.assertGreaterEqual(
            held, 80, f"only {held} of 100 intervals hold the true mean: repeats are no launches"
        )
        wide = sum(high - low for low, high in intervals()) / 100
        self.assertLess(wide, 10, f"intervals are {wide:.1f} wide on average, which says little")
        again = [harness.interval([[1.0, 2.0], [3.0]], seed=5) for _ in range(2)]
        self.assertEqual(*again, "the same seed should give the same interval")

    def test_ratios_are_taken_within_a_round(self) -> None:
        found = harness.ratio([200.0, 20.0], [100.0, 10.0])
        self.assertAlmostEqual(found, 2.0, msg=f"twice as fast in each round, not {found} times")
        mixed = harness.ratio([200.0, 50.0], [100.0, 100.0])
        self.assertAlmostEqual(
            mixed,
            1.0,
            msg=f"twice and half are no difference, not {mixed}: take the geometric mean",
        )

    def test_a_ratio_inside_the_control_is_no_difference(self) -> None:
        control = (0.96, 1.05)
        cases = {
            (1.2, 1.4): "faster", (0.7, 0.8): "slower", (1.02, 1.3): "no difference",
            (0.9, 0.97): "no difference", (0.99, 1.01): "no difference",
        }  # fmt: skip
        for found, wanted in cases.items():
            said = harness.verdict(found, control)
            self.assertEqual(said, wanted, f"{found} beside {control} is {wanted!r}, not {said!r}")

    def test_wrong_output_is_not_timed(self) -> None:
        clock = Clock()
        for script, hint in (
            (("one two four",), "a wrong answer was accepted"),
            (("one two three", "!!!"), "the timed answer was not compared"),
        ):
            with DummyEngine() as reference, Spy(clock, script) as wrong:
                try:
                    harness.measure(wrong, reference, REQUEST, clock)
                except harness.WrongOutputError:
                    continue
            self.fail(hint)

    def test_nothing_is_timed_before_it_is_right(self) -> None:
        clock = Clock()
        with DummyEngine() as reference, Spy(clock, ("one two four",)) as wrong:
            with contextlib.suppress(harness.WrongOutputError):
                harness.measure(wrong, reference, REQUEST, clock)
            self.assertTrue(wrong.seen, "the engine was not asked at all")
        self.assertEqual(clock.looks, 0, "the clock ran before the answer was known to be right")

    def test_time_is_measured_from_request_to_token(self) -> None:
        clock = Clock()
        with DummyEngine() as reference, Spy(clock) as engine:
            found = harness.measure(engine, reference, REQUEST, clock)
        self.assertEqual(found.text, "one two three", "the text of the timed answer")
        self.assertEqual(found.tokens, 3, f"the engine counts 3 tokens, you {found.tokens}")
        self.assertEqual(engine.seen[0], 0, "ask once before the clock runs")
        self.assertEqual(engine.seen[-1], 1, "read the clock once, then submit the request")
        self.assertEqual(found.first_token_s, 1.0, "the clock is read at the first piece of text")
        self.assertGreater(
            found.total_s, found.first_token_s, "the end comes after the first token"
        )


if __name__ == "__main__":
    unittest.main()
