"""Cells become programs, and no line moves."""

from __future__ import annotations

import pytest

from airust.rust.cell import modules_of, whole_program

ITEMS = [
    "use std::collections::{BTreeMap, HashMap};",
    "struct Point { x: i32 }",
    "pub(crate) struct Pair(i32, i32);",
    "enum Shape { Round(f64), Square { side: f64 } }",
    "union Bits { a: u32, b: f32 }",
    "fn f<'a>(s: &'a str) -> [u8; 2] { [b'{', b'}'] }",
    "const fn g() -> i32 { 3 }",
    "const N: [i32; 2] = [1, { 2 }];",
    "static S: &str = \"};\";",
    "type T = Vec<i32>;",
    "impl Point { fn x(&self) -> i32 { self.x } }",
    "unsafe impl Send for Point {}",
    "trait Area { fn area(&self) -> f64 { 0.0 } }",
    "async fn h() {}",
    "extern \"C\" { fn abs(x: i32) -> i32; }",
    "extern crate core;",
    "mod shapes;",
    "mod inner { pub fn f() {} }",
    "macro_rules! two { ($x:expr) => { $x * 2 } }",
    "#[derive(Debug, Clone)] #[allow(dead_code)] struct D;",
    "#![allow(dead_code)]\nstruct E;",
    "/* { /* nested } */ */ fn c() { let c = '\"'; let s = r#\"}\"#; }",
]  # fmt: skip


@pytest.mark.parametrize("item", ITEMS)
def test_items_stay_outside_main(item: str):
    program = whole_program(f"{item}\nlet x = 1;")
    assert program == f"{item} fn main() {{\nlet x = 1;\n}}\n"


@pytest.mark.parametrize("item", ITEMS)
def test_only_items_get_an_empty_main(item: str):
    assert whole_program(item) == f"{item}\n\nfn main() {{}}\n"


@pytest.mark.parametrize(
    "statement",
    [
        "let x = 1;",
        'println!("{}", 1);',
        "for i in 0..3 {}",
        "unsafe { f() }",
        "const { assert!(true) }",
        "'outer: loop { break 'outer; }",
        "#[allow(unused)] let x = 1;",
        "use_it(3);",
        "type_of(3);",
        "(1 + 2).pow(2);",
    ],
)
def test_statements_go_into_main(statement: str):
    assert whole_program(statement) == f"fn main() {{ {statement}\n}}\n"


def test_a_main_is_left_alone():
    program = "use std::env;\n\n/// Start here.\nfn main() {\n    let x = 1;\n}\n"
    assert whole_program(program) == program


def test_lines_keep_their_numbers():
    cell = "\n// a comment\nuse std::mem;\n\nlet a = 1;\nlet b = 2;"
    lines = whole_program(cell).splitlines()
    assert lines[4:6] == ["let a = 1;", "let b = 2;"]
    assert lines[3] == "fn main() {"


def test_a_comment_above_does_not_swallow_main():
    program = whole_program("use std::mem; // why\nlet a = 1;")
    assert program == "use std::mem; // why\nfn main() { let a = 1;\n}\n"


def test_ok_at_the_end_allows_the_question_mark():
    program = whole_program('let n: u8 = "7".parse()?;\nOk(())')
    assert program.startswith("fn main() -> Result<(), Box<dyn std::error::Error>> {")


def test_an_unclosed_brace_is_left_to_the_compiler():
    assert whole_program("fn f() {\nlet x = 1;").endswith("fn main() {}\n")


def test_modules_in_files_are_found():
    assert modules_of("mod a;\npub mod b ;\nmod c { }\n// mod d;\n") == ["a", "b"]
