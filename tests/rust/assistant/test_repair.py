"""The loop: groups of errors, the best of several answers, back to the snapshot."""

from __future__ import annotations

import pytest

from airust.engines.dummy import DummyEngine
from airust.rust.assistant import Limits, repair
from airust.types import ContextOverflowError
from tests.rust.assistant.conftest import FakeProject, change

ONE = Limits(completions=1)


def work(project: FakeProject, answers: list[str], limits: Limits = ONE):
    """Steps and outcome of a repair with these answers."""
    steps, generator = [], repair(project, DummyEngine(script=answers), limits)
    try:
        while True:
            steps.append(next(generator))
    except StopIteration as end:
        return steps, end.value


def test_one_error_one_answer(project):
    steps, outcome = work(project("good\nbad 1\n"), [change(2, "bad 1", "good")])
    assert [(s.state, s.errors_left, s.description) for s in steps] == [
        ("repaired", 0, "mend line 2")
    ]
    assert outcome.repaired and outcome.files == {"a.rs": "good\ngood\n"}


def test_no_error_no_question(project):
    steps, outcome = work(project("good\n"), [])
    assert steps == [] and outcome.repaired and outcome.questions == 0


def test_the_answer_that_leaves_fewest_errors_is_taken(project):
    answers = [
        "I do not know.",
        change(1, "bad 1", "bad 2", "bad 3"),
        change(1, "bad 1", "good"),
        change(1, "bad 1", "never tried"),
    ]
    steps, outcome = work(project("bad 1\n"), answers, Limits(completions=4))
    assert outcome.files == {"a.rs": "good\n"} and outcome.questions == 3
    assert steps[0].rejected == ("the answer holds no change in the form that was asked for",)


def test_uncovered_errors_belong_to_the_group(project):
    answers = [change(1, "bad 1", "bad 2"), change(1, "bad 2", "good")]
    steps, outcome = work(project("bad 1\n"), answers)
    assert [s.state for s in steps] == ["goes on", "repaired"] and outcome.repaired


def test_an_error_that_is_given_up_leaves_no_trace_and_the_others_go_on(project):
    there = project("bad 1\nbad 9\n")
    answers = [
        change(1, "bad 1", "bad 2"),  # uncovers another error,
        change(1, "bad 2", "bad 2 // the same"),  # then another,
        "I give up.",  # and has no answer: back to the start of the group
        change(2, "bad 9", "good"),
    ]
    steps, outcome = work(there, answers)
    assert [s.state for s in steps] == ["goes on", "goes on", "given up", "repaired"]
    assert outcome.files == there.files == {"a.rs": "bad 1\ngood\n"}
    assert [key.message for key in outcome.after] == ["bad 1"]


def test_no_progress_is_given_up(project):
    steps, outcome = work(project("bad 1\n"), [change(1, "bad 1", "bad 1", "good")])
    assert steps[0].because == "the best answer leaves the same errors"
    assert outcome.files == {"a.rs": "bad 1\n"}


@pytest.mark.parametrize(
    ("limits", "because"),
    [
        (Limits(completions=1, steps=3), "not done after 3 changes"),
        (Limits(completions=1, seen_errors=2), "more than 2 different errors"),
    ],
)
def test_limits_end_a_group(project, limits, because):
    answers = [change(1, f"bad {n}", f"bad {n + 1}") for n in range(1, 9)]
    steps, outcome = work(project("bad 1\n"), answers, limits)
    assert steps[-1].because == because
    assert outcome.files == {"a.rs": "bad 1\n"} and not outcome.repaired


def test_the_same_answer_is_judged_once(project):
    there = project("bad 1\n")
    work(there, [change(1, "bad 1", "bad 2")] * 5, Limits(completions=5, steps=1))
    assert there.checks == 2


def test_greedy_asks_once(project):
    limits = Limits(completions=5, temperature=0.0)
    _, outcome = work(project("bad 1\n"), ["nothing"] * 5, limits)
    assert outcome.questions == 1


def test_a_short_context_is_shown_less(project):
    lengths = []

    class Small(DummyEngine):
        def prepare(self, request):
            lengths.append(len(request.messages[-1].content))
            if lengths[-1] > 200:
                raise ContextOverflowError("too long")
            return super().prepare(request)

    there = project("good and long\n" * 40 + "bad 1\n" + "good and long\n" * 40)
    engine = Small(script=[change(41, "bad 1", "good")])
    generator = repair(there, engine, ONE)
    assert next(generator).state == "repaired"
    assert lengths == sorted(lengths, reverse=True) and len(lengths) > 1
