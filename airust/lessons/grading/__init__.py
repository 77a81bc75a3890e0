"""Graded assignments: what is given, what is asked, and how many points an answer is worth.

An assignment is a folder with a README, starter code, tests and a manifest ``assignment.toml``:

    title = "Whose text is it?"
    edit = ["src/lib.rs"]      # the files that a learner changes

    [rust]                     # a cargo package; its tests are in tests/grade.rs
    timeout_s = 10             # of each test
    [rust.points]
    counts_every_word = 40     # the name of a test, and what it is worth

    [python]                   # or, or also: unittest in grade.py, class Grade
    [python.points]
    test_empty_texts = 60      # all points together are 100

- ``assignment``: the manifest, read strictly
- ``cargo_tests``, ``python_tests``: build and run the tests, each in a process of its own
- ``grade``: the points

``airust grade PATH`` shows them.
"""

from __future__ import annotations

from airust.lessons.grading.assignment import Assignment, find_assignments, read_assignment
from airust.lessons.grading.grade import Check, Grade, grade

__all__ = ["Assignment", "Check", "Grade", "find_assignments", "grade", "read_assignment"]
