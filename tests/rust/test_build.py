"""Programs are compiled and run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airust.rust import CompileError, NoToolchainError, Options, RunError, compile, run
from airust.rust.cache import prune
from airust.rust.toolchain import find_toolchain
from airust.types import UserError

MOVED = 'let a = String::new();\nlet b = a;\nprintln!("{a}{b}");'


@pytest.mark.usefixtures("no_toolchain")
def test_without_a_toolchain_it_says_what_to_do():
    with pytest.raises(NoToolchainError, match=r"no Rust compiler \(rustc\) here: install one"):
        compile("let a = 1;")


@pytest.mark.skipif(os.name == "nt", reason="the fake compiler is a shell script")
def test_a_broken_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake = tmp_path / "rustc"
    fake.write_text("#!/bin/sh\necho no default toolchain >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoToolchainError, match="does not work: no default toolchain"):
        compile("let a = 1;")


@pytest.mark.skipif(os.name == "nt", reason="the fake compiler is a shell script")
def test_an_old_compiler_uses_its_newest_edition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake = tmp_path / "rustc"
    fake.write_text("#!/bin/sh\necho 'rustc 1.63.0'\necho 'host: x86_64-unknown-linux-gnu'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_toolchain().edition == "2021"
    with pytest.raises(UserError, match=r"Edition 2024 needs rustc 1\.85 or newer"):
        compile("let a = 1;", Options(edition="2024"))
    with pytest.raises(NoToolchainError, match="no cargo"):
        compile("let a = 1;", Options(deps={"serde": "1"}))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"edition": "1999"}, "There is no edition 1999"),
        ({"test": True, "library": True}, "not both"),
        ({"modules": {"a-b": ""}}, "'a-b' is not a name"),
    ],
)
def test_options_are_checked(options: dict[str, object], sentence: str):
    with pytest.raises(UserError, match=sentence):
        Options(**options)


def test_the_builds_used_longest_ago_go(tmp_path: Path):
    for age, name in enumerate(["new", "middle", "old"]):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1_000_000 - age, 1_000_000 - age))
    prune(tmp_path, kept=2)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["middle", "new"]


@pytest.mark.full
def test_a_program_runs_with_input_and_arguments():
    source = """
use std::io::Read;
let mut text = String::new();
std::io::stdin().read_to_string(&mut text)?;
println!("{} {:?}", text.trim(), std::env::args().skip(1).collect::<Vec<_>>());
std::process::exit(3);
#[allow(unreachable_code)]
Ok(())
"""
    done = run(source, args=["a b", "水"], stdin="hello")
    assert (done.exit_code, done.stdout) == (3, 'hello ["a b", "水"]\n')


@pytest.mark.full
def test_a_refusal_has_code_place_and_text():
    build = compile(MOVED)
    assert not build.ok and build.executable is None
    assert build.codes == ("E0382",)
    primary = next(span for span in build.errors[0].spans if span.primary)
    assert (primary.file, primary.line) == ("cell.rs", 3)
    assert build.errors[0].text.startswith("error[E0382]: borrow of moved value: `a`\n --> cell.rs")
    assert "\x1b[" in build.errors[0].rendered
    with pytest.raises(CompileError, match="borrow of moved value"):
        run(MOVED)


@pytest.mark.full
def test_warnings_are_kept_also_from_the_cache():
    first, second = (compile("let unused = 1;") for _ in range(2))
    assert [w.code for w in first.warnings] == ["unused_variables"]
    assert first == second and first.ok


@pytest.mark.full
def test_the_same_program_is_compiled_once(monkeypatch: pytest.MonkeyPatch):
    source = 'println!("once");'
    first = compile(source)
    monkeypatch.setattr("airust.rust.build._rustc", None)
    assert compile(source).executable == first.executable


@pytest.mark.full
def test_a_release_build_is_optimised():
    source = 'println!("{}", cfg!(debug_assertions));'
    assert run(source).stdout == "true\n"
    assert run(source, Options(release=True)).stdout == "false\n"


@pytest.mark.full
def test_modules_are_found_through_each_other():
    modules = {"a": "mod b;\npub use b::f;", "b": "pub fn f() -> i32 { 5 }", "c": "broken"}
    # `mod b;` inside a.rs lives in a/b.rs for rustc; siblings are declared where they are used.
    modules["a"] = "pub fn g() -> i32 { crate::b::f() + 1 }"
    program = 'mod a;\nmod b;\nprintln!("{}", a::g());'
    assert run(program, Options(modules=modules)).stdout == "6\n"


@pytest.mark.full
def test_endless_programs_are_stopped():
    with pytest.raises(RunError, match="ran longer than 1 s"):
        run("loop {}", timeout_s=1)
    with pytest.raises(RunError, match="printed more than 1,000 bytes"):
        run('loop { println!("x"); }', max_output_bytes=1000)


@pytest.mark.full
def test_a_compiler_that_takes_too_long_is_stopped():
    with pytest.raises(CompileError, match="The compiler was stopped: it ran longer than 0"):
        compile('println!("slow");', Options(timeout_s=0.0))


@pytest.mark.full
def test_two_processes_compile_the_same_at_once(tmp_path: Path):
    script = "from airust.rust import run; print(run('println!(\"both\");').stdout, end='')"
    env = {**os.environ, "AIRUST_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", script]
    both = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=120)[0] for process in both] == ["both\n", "both\n"]


@pytest.mark.full
def test_crates_by_cargo(tmp_path: Path):
    crate = tmp_path / "greeting"
    (crate / "src").mkdir(parents=True)
    (crate / "Cargo.toml").write_text('[package]\nname = "greeting"\nversion = "0.1.0"\n')
    (crate / "src" / "lib.rs").write_text('pub fn hello() -> &\'static str { "hello" }\n')
    # A crate on disk: the same path as one from a registry, without one.
    options = Options(deps={"greeting": f"{{ path = {str(crate)!r} }}"})
    lines: list[str] = []
    source = 'let unused = greeting::hello();\nprintln!("{}", greeting::hello());'
    build = compile(source, options, lines.append)
    assert build.ok and [w.code for w in build.warnings] == ["unused_variables"]
    assert any(line.startswith("Compiling") for line in lines)
    assert run(source, options).stdout == "hello\n"
    refused = compile("let n: u8 = greeting::hello();", options)
    assert refused.codes == ("E0308",) and "cell.rs:1" in refused.errors[0].text


@pytest.mark.full
def test_a_crate_that_is_not_there(tmp_path: Path):
    with pytest.raises(UserError, match="cargo could not get the crates"):
        compile("let a = 1;", Options(deps={"gone": f"{{ path = {str(tmp_path / 'no')!r} }}"}))
