"""Small Rust programs that do not compile, each with a hidden test of what it should do.

Written for notebook R5, after the error classes of the RustAssistant paper's micro-benchmarks. A
repair counts only if the test passes: taking the failing line out also makes a program compile.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BrokenProgram:
    """One exercise for a repairer."""

    name: str
    code: str  # of the error that it has
    source: str
    test: str  # a #[test] function on what the program defines


def _program(name: str, code: str, source: str, test: str) -> BrokenProgram:
    body = f"#[test]\nfn hidden() {{\n    {test}\n}}\n"
    return BrokenProgram(name, code, source.strip("\n") + "\n", body)


PROGRAMS = (
    _program(
        "use after move",
        "E0382",
        """
pub fn describe(name: String) -> String {
    let owner = name;
    format!("{} has {} letters", owner, name.len())
}
""",
        'assert_eq!(describe("rust".into()), "rust has 4 letters");',
    ),
    _program(
        "missing mut",
        "E0596",
        """
pub fn doubled(values: &[i32]) -> Vec<i32> {
    let out = Vec::new();
    for value in values {
        out.push(value * 2);
    }
    out
}
""",
        "assert_eq!(doubled(&[1, 2]), [2, 4]);",
    ),
    _program(
        "missing import",
        "E0433",
        """
pub fn distinct(words: &[&str]) -> usize {
    HashSet::<&&str>::from_iter(words).len()
}
""",
        'assert_eq!(distinct(&["a", "b", "a"]), 2);',
    ),
    _program(
        "wrong kind of string",
        "E0308",
        """
pub fn greeting(polite: bool) -> String {
    if polite { String::from("good day") } else { "hi" }
}
""",
        'assert_eq!(greeting(false), "hi");',
    ),
    _program(
        "missing lifetime",
        "E0106",
        """
pub fn longer(a: &str, b: &str) -> &str {
    if a.len() >= b.len() { a } else { b }
}
""",
        'assert_eq!(longer("aa", "b"), "aa");',
    ),
    _program(
        "index of the wrong type",
        "E0277",
        """
pub fn nth(values: &[i32], index: i32) -> i32 {
    values[index]
}
""",
        "assert_eq!(nth(&[5, 6, 7], 2), 7);",
    ),
    _program(
        "borrowed while changed",
        "E0502",
        """
pub fn grown(mut values: Vec<i32>) -> (i32, usize) {
    let first = &values[0];
    values.push(9);
    (*first, values.len())
}
""",
        "assert_eq!(grown(vec![4]), (4, 2));",
    ),
    _program(
        "a semicolon too many",
        "E0308",
        """
pub fn area(width: u32, height: u32) -> u32 {
    width * height;
}
""",
        "assert_eq!(area(3, 4), 12);",
    ),
    _program(
        "a case forgotten",
        "E0004",
        """
pub enum Stage { Pretrain, Tune, Chat }

pub fn number(stage: Stage) -> u8 {
    match stage {
        Stage::Pretrain => 1,
        Stage::Tune => 2,
    }
}
""",
        "assert_eq!(number(Stage::Chat), 3);",
    ),
    _program(
        "closure outlives its data",
        "E0373",
        """
pub fn total_in_thread(values: Vec<i32>) -> i32 {
    let worker = std::thread::spawn(|| values.iter().sum());
    worker.join().unwrap()
}
""",
        "assert_eq!(total_in_thread(vec![1, 2, 3]), 6);",
    ),
)
