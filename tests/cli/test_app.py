"""What all commands share: help, exit codes, errors as one sentence, a quick start."""

import os
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from airust import __version__
from airust.cli import COMMANDS, build_app
from airust.cli.errors import handled
from airust.types import AirustError, UserError

APP = build_app()
REGISTERED = [command.name for command in APP.registered_commands]
GROUPS = {
    group.name: [command.name for command in group.typer_instance.registered_commands]
    for group in APP.registered_groups
}
WORDS = [(name,) for name in REGISTERED]
WORDS += [(group, name) for group, names in GROUPS.items() for name in names]


def failing_app(error: BaseException) -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)

    def fail() -> None:
        raise error

    app.command()(handled(fail))
    return app


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("No such file."), 2, "Error: No such file.\n"),
        (AirustError("The engine failed."), 1, "Error: The engine failed.\n"),
        (
            ValueError("first\nsecond"),
            1,
            "Error: ValueError: first (AIRUST_DEBUG=1 shows the whole trace)\n",
        ),
        (KeyError(), 1, "Error: KeyError (AIRUST_DEBUG=1 shows the whole trace)\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(32, "Broken pipe"), 1, ""),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(error, code, message):
    done = CliRunner().invoke(failing_app(error), [])
    assert (done.exit_code, done.stderr) == (code, message)


def test_airust_debug_adds_the_trace():
    done = CliRunner().invoke(failing_app(ValueError("why")), [], env={"AIRUST_DEBUG": "1"})
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.endswith("shows the whole trace)\n")


def test_an_unknown_command_or_option_is_a_mistake(airust):
    assert airust("fly").exit_code == 2
    assert airust("ask", "--warp").exit_code == 2


def test_every_command_is_listed_in_order(airust):
    done = airust("--help")
    assert done.exit_code == 0
    assert [name for name in COMMANDS if name in REGISTERED] == REGISTERED
    assert {*REGISTERED, *GROUPS} == set(COMMANDS)
    assert all(f" {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_help_shows_an_example(airust, words):
    done = airust(*words, "--help")
    assert done.exit_code == 0
    assert f"Example: airust {' '.join(words)}" in done.stdout


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_lists_its_commands(airust, group):
    assert all(f" {name} " in airust(group).output for name in GROUPS[group])


def test_module_and_script_are_the_same_program():
    done = subprocess.run(
        [sys.executable, "-m", "airust", "--version"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, f"airust {__version__}\n")


def test_help_and_the_engine_list_load_no_heavy_library():
    """What makes both quick, and unlike a time it does not depend on the machine's load."""
    script = (
        "import sys; from airust.cli import build_app\n"
        "for args in (['--help'], ['engines'], ['engines', '--json']):\n"
        "    try: build_app()(args)\n"
        "    except SystemExit as done: assert not done.code\n"
        "heavy = {'torch', 'numpy', 'transformers', 'datasets', 'mistralrs', 'llama_cpp',\n"
        "         'tokenizers', 'pandas', 'matplotlib', 'papermill'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="counts processor time the POSIX way")
@pytest.mark.parametrize(("args", "seconds"), [(["--help"], 1.0), (["engines"], 1.0)])
def test_the_start_takes_little_processor_time(args, seconds):
    before = os.times()
    subprocess.run([sys.executable, "-m", "airust", *args], check=True, capture_output=True)
    after = os.times()
    children = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    assert children < seconds


def test_chinese_goes_through_a_pipe_in_any_locale():
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-m", "airust", "ask", "--engine", "dummy", "-"],
        input="水".encode(),
        capture_output=True,
        env=os.environ | {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"},
        timeout=60,
    )
    assert (done.returncode, done.stdout.decode()) == (0, "水" + os.linesep)
