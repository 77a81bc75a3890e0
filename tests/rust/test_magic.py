"""%%rust in a real IPython."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest
from jupyter_client.manager import start_new_kernel

MOVED = 'let a = String::from("x");\nlet b = a;\nprintln!("{a} {b}");'


@pytest.mark.usefixtures("no_toolchain")
def test_without_a_toolchain_the_cell_fails_with_one_sentence(cell):
    shown = cell("", "let a = 1;")
    assert not shown.ok and shown.refusal.startswith("There is no Rust compiler (rustc) here")
    assert "Traceback" not in shown.stdout + shown.stderr


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--warp", "unrecognized arguments: --warp; `%%rust --help` lists the options."),
        ("--edition 1999", "There is no edition 1999"),
        ("--dep 1x", "--dep '1x' is not NAME"),
        ("--args 'open", "cannot be split into words"),
        ("--name a-b", "'a-b' is not a name that Rust allows"),
    ],
)
def test_mistakes_are_one_sentence(cell, line, sentence):
    shown = cell(line, "let a = 1;")
    assert sentence in shown.refusal
    assert "Traceback" not in shown.stdout + shown.stderr


def test_help_lists_the_options(cell):
    assert "--expect-error CODE" in cell("--help", "x").stdout


@pytest.mark.full
def test_loose_statements_run(cell):
    assert cell("", 'let x = 6 * 7;\nprintln!("{x}");').stdout == "42\n"


@pytest.mark.full
def test_an_expected_error_is_shown_and_the_cell_succeeds(cell):
    shown = cell("--expect-error E0382", MOVED)
    assert shown.ok
    assert "borrow of moved value" in shown.stdout and "cell.rs:4:" in shown.stdout
    assert "Refused with E0382, as expected." in shown.stdout


@pytest.mark.full
@pytest.mark.parametrize(
    ("line", "body", "sentence"),
    [
        ("--expect-error E0382", "let a = 1;", "accepts this cell, but it should refuse it"),
        ("--expect-error E0499", MOVED, "should be refused with E0499. The compiler refuses the"),
        ("", MOVED, "The compiler refuses the cell: 1 error (E0382). `rustc --explain E0382`"),
        ("--expect-error E0382", "let a = ;", "The compiler refuses the cell: 1 error."),
        ("", "panic!();", "The program failed: its exit code is 101 (a panic)."),
        ("--expect-exit 101", "let a = 1;", "its exit code is 0 and should be 101"),
        ("--timeout 1", "loop {}", "ran longer than 1 s"),
        ("--max-output 100", 'loop { println!("x"); }', "printed more than 100 bytes"),
    ],
)
def test_a_cell_that_does_not_do_what_it_should_fails(cell, line, body, sentence):
    shown = cell(line, body)
    assert not shown.ok and sentence in shown.refusal


@pytest.mark.full
def test_warnings_are_shown_and_the_cell_runs(cell):
    shown = cell("", 'let unused = 1;\nprintln!("ran");')
    assert shown.ok and "unused variable" in shown.stdout and shown.stdout.endswith("ran\n")


@pytest.mark.full
def test_a_panic_can_be_expected(cell):
    shown = cell("--expect-exit 101", 'panic!("on purpose");')
    assert shown.ok and "on purpose" in shown.stderr


@pytest.mark.full
def test_named_cells_are_modules_of_later_ones(cell):
    kept = cell("--name shapes", "pub fn area(side: f64) -> f64 { side * side }")
    assert kept.stdout == "Kept as a module: a later cell says `mod shapes;`.\n"
    assert cell("", 'mod shapes;\nprintln!("{}", shapes::area(3.0));').stdout == "9\n"


@pytest.mark.full
def test_named_cells_use_each_other_through_the_crate(cell):
    assert cell("--name one", "pub fn f() -> i32 { 1 }\npub fn unused() {}").ok
    assert cell("--name two", "use crate::one::f;\npub fn g() -> i32 { f() + 1 }").ok
    assert cell("--name three", "use crate::{one::f, two::g};\npub fn h() -> i32 { f() + g() }").ok
    shown = cell("", 'mod one;\nmod two;\nmod three;\nprintln!("{}", three::h());')
    assert shown.stdout == "3\n"


@pytest.mark.full
def test_a_named_cell_with_an_error_is_not_kept(cell):
    assert not cell("--name broken", "pub fn f() -> u8 { 300 }").ok
    assert cell("--expect-error E0583", "mod broken;\nbroken::f();").ok


@pytest.mark.full
def test_tests_run(cell):
    body = "fn two() -> i32 { 2 }\n#[test]\nfn it_is_two() { assert_eq!(two(), 2); }"
    assert "test it_is_two ... ok" in cell("--test", body).stdout
    assert not cell("--test", body.replace("{ 2 }", "{ 3 }")).ok


@pytest.mark.full
def test_input_arguments_and_the_result_as_a_variable(cell, shell):
    shell.push({"name": "Ferris"})
    body = (
        "let mut line = String::new();\nstd::io::stdin().read_line(&mut line)?;\n"
        'println!("{line}|{:?}", std::env::args().nth(1));\nOk(())'
    )
    shown = cell('--stdin "hello {name}" --args "\'a b\' c" --into done', body)
    assert shown.ok and shown.stdout == ""
    assert shell.user_ns["done"].stdout == 'hello Ferris|Some("a b")\n'


@pytest.mark.full
def test_check_does_not_run(cell):
    shown = cell("--check", 'println!("no");')
    assert shown.ok and shown.stdout == ""


@pytest.mark.full
def test_the_stop_button_ends_the_program(tmp_path: Path):
    """In a real kernel, whose interrupt is a signal."""
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        client.execute("%load_ext airust.rust")
        pid_file = tmp_path / "pid"
        body = f'std::fs::write("{pid_file}", std::process::id().to_string()).unwrap();\nloop {{}}'
        sent = client.execute(f"%%rust\n{body}")
        deadline = time.monotonic() + 120
        while not (pid_file.exists() and pid_file.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        pid = int(pid_file.read_text())
        manager.interrupt_kernel()
        while (reply := client.get_shell_msg(timeout=60))["parent_header"]["msg_id"] != sent:
            pass
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        assert not psutil.pid_exists(pid)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
