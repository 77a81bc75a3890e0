"""The tests of this assignment: `python grade.py`, or with points `airust grade`."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

import repairer

from airust.lessons.broken_programs import PROGRAMS
from airust.rust import Options, compile, run
from airust.rust.assistant import Limits, open_project, repair
from airust.rust.assistant.changelog import apply_edits, parse_changelog
from airust.types import Message, Request

PROMPT = """`rustc a.rs` says:

error[E0502]: cannot borrow `v` as mutable because it is also borrowed as immutable
 --> src/a.rs:3:5
  |
2 |     let first = &v[0];
  |                  - immutable borrow occurs here
3 |     v.push(1);
  |     ^^^^^^^^^ mutable borrow occurs here

src/a.rs:
[1] fn f(mut v: Vec<i32>) -> i32 {
[2]     let first = &v[0];
[3]     v.push(1);
[4]     *first
[5] }"""
UNKNOWN = """`rustc a.rs` says:

error[E0119]: conflicting implementations of trait `Clone` for type `A`
 --> a.rs:1:10

a.rs:
[1] #[derive(Clone)] struct A;"""


def answer(prompt: str) -> str:
    with repairer.RuleEngine() as engine:
        return engine.generate(Request(messages=(Message("user", prompt),))).text


def repaired(source: str) -> str:
    """A program after the whole loop, with one greedy answer a step."""
    with tempfile.TemporaryDirectory() as folder, repairer.RuleEngine() as engine:
        file = Path(folder, "a.rs")
        file.write_text(source, "utf-8")
        with open_project(file) as project:
            work = repair(project, engine, Limits(completions=1, temperature=0.0))
            while True:
                try:
                    next(work)
                except StopIteration as end:
                    return str(end.value.files["a.rs"])


def is_right(source: str, test: str) -> bool:
    """Whether the repaired program builds, and its hidden test passes."""
    program = f"{repaired(source)}\n{test}"
    options = Options(test=True)
    return compile(program, options).ok and run(program, options, timeout_s=20).exit_code == 0


class Grade(unittest.TestCase):
    longMessage = False

    def test_an_error_is_read_from_a_prompt(self) -> None:
        found = repairer.read_prompt(PROMPT)
        self.assertIsNotNone(found, "there is an error in the prompt")
        self.assertEqual((found.code, found.file, found.line), ("E0502", "src/a.rs", 3))
        self.assertTrue(found.message.startswith("cannot borrow `v` as mutable"), found.message)
        self.assertEqual(sorted(found.lines), [1, 2, 3, 4, 5], "the numbered lines of the source")
        self.assertEqual(found.lines[2], "    let first = &v[0];", "a line with its indentation")
        self.assertIsNone(repairer.read_prompt("Good morning!"), "here is no error: None")

    def test_changelogs_can_be_applied(self) -> None:
        text = repairer.changelog("a.rs", 2, "  b", ["  c", "  d"], "b is two")
        edits = parse_changelog(text)
        self.assertEqual(edits[0].description, "b is two", "the description")
        found = apply_edits({"a.rs": "a\n  b\ne\n"}, edits)["a.rs"]
        self.assertEqual(found, "a\n  c\n  d\ne\n", f"the file behind it is {found!r}")

    def test_it_says_so_when_it_does_not_know(self) -> None:
        self.assertIn("ChangeLog", answer(PROMPT), "this one it should know")
        self.assertNotIn("ChangeLog", answer(UNKNOWN), "no rule and no advice: no change")
        self.assertNotIn("ChangeLog", answer("Good morning!"), "no error: no change")

    def test_it_follows_the_compiler(self) -> None:
        source = "pub fn f() -> usize {\n    let v = vec![1];\n    v.push(2);\n    v.len()\n}\n"
        test = "#[test]\nfn hidden() { assert_eq!(f(), 2); }"
        self.assertTrue(is_right(source, test), "E0596: the compiler advises `mut`")

    def test_a_borrow_in_the_way_is_copied(self) -> None:
        source = (
            "pub fn f(mut words: Vec<String>) -> String {\n"
            "    let last = &words[words.len() - 1];\n"
            '    words.push(String::from("end"));\n    format!("{last} {}", words.len())\n}\n'
        )
        test = '#[test]\nfn hidden() { assert_eq!(f(vec!["a".into()]), "a 2"); }'
        self.assertTrue(is_right(source, test), "E0502 in a program that you have not seen")

    def test_an_index_gets_its_type(self) -> None:
        source = (
            "pub fn f(counts: &[u8], place: u16) -> u8 {\n    let wanted = counts[place];\n"
            "    wanted + 1\n}\n"
        )
        test = "#[test]\nfn hidden() { assert_eq!(f(&[3, 4], 1), 5); }"
        self.assertTrue(is_right(source, test), "E0277 in a program that you have not seen")

    def test_eight_of_ten_programs_are_right(self) -> None:
        left = [p.name for p in PROGRAMS if not is_right(p.source, p.test)]
        right = len(PROGRAMS) - len(left)
        self.assertGreaterEqual(right, 8, f"{right} are right; not yet: {', '.join(left)}")


if __name__ == "__main__":
    unittest.main()
