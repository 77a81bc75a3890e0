"""Rust crates, asked for through the user's own cargo.

The newest version comes from ``cargo add --dry-run`` in an empty project. It reads nothing but the
registry's index, also where the user has put a mirror in its place (there ``cargo info`` refuses to
answer), and it passes over pre-releases and yanked versions. Licence and the oldest rustc that will
do come from ``cargo info``, once for each new version, because cargo downloads the crate for it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from airust.rust.process import Finished, run_process
from airust.watch.answers import Absent, Answer, Entry, NoAnswer, utc_today, without_addresses
from airust.watch.topics import Topic

TIMEOUT_S = 120
PATIENCE = {"CARGO_HTTP_TIMEOUT": "15", "CARGO_NET_RETRY": "1"}
MANIFEST = '[package]\nname = "watch"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n'


class Cargo:
    """The crates of the registry that cargo is set up for."""

    name = "cargo"

    def ask(self, topic: Topic, before: Mapping[str, Entry]) -> Answer:
        """The newest version, with its licence and the rustc that it needs.

        Raises:
            NoAnswer: cargo is not there, or nobody answered it.
        """
        with tempfile.TemporaryDirectory(prefix="airust-watch-") as name:
            project = Path(name)
            (project / "Cargo.toml").write_text(MANIFEST, encoding="utf-8")
            (project / "src").mkdir()
            (project / "src" / "lib.rs").touch()
            version = _newest(topic.name, project)
            known = before.get(version)
            title = known.title if known and known.title else _facts(topic.name, version, project)
        return Answer((Entry(version, title),), utc_today())


def _newest(crate: str, project: Path) -> str:
    manifest = str(project / "Cargo.toml")
    # In the user's folder: cargo looks for its settings there and above.
    done = _run("add", "--dry-run", "--ignore-rust-version", "--manifest-path", manifest, crate)
    found = re.search(r"^ *Adding \S+ v(\S+) to dependencies", done.stderr, flags=re.MULTILINE)
    if done.exit_code == 0 and found:
        return found[1]
    errors = re.findall(r"^error: (.*)$", done.stderr, flags=re.MULTILINE)
    reason = without_addresses(errors[0]) if errors else "nothing about it"
    if "could not be found" in reason:
        raise Absent(f"cargo says: {reason}")
    raise NoAnswer(f"cargo says: {reason}")


def _facts(crate: str, version: str, project: Path) -> str:
    """Licence and rustc in words; "" where this cargo does not tell."""
    done = _run("info", "--quiet", f"{crate}@{version}", cwd=project)
    if done.exit_code:
        return ""
    return facts(done.stdout)


def facts(answer: str) -> str:
    """What an answer of ``cargo info`` says about licence and compiler.

    >>> facts("version: 0.8.1\\nlicense: MIT\\nrust-version: 1.88\\n")
    'MIT, rustc 1.88'
    >>> facts("version: 0.4.0\\nlicense: MIT/Apache-2.0\\nrust-version: unknown\\n")
    'MIT/Apache-2.0'
    """
    found = dict(re.findall(r"^(license|rust-version): (.+)$", answer, flags=re.MULTILINE))
    told = {name: value.strip() for name, value in found.items() if value.strip() != "unknown"}
    rustc = f"rustc {told['rust-version']}" if "rust-version" in told else ""
    return ", ".join(part for part in (told.get("license", ""), rustc) if part)


def _run(*arguments: str, cwd: Path | None = None) -> Finished:
    program = shutil.which("cargo")
    if program is None:
        raise NoAnswer("there is no cargo here")
    env = {name: value for name, value in PATIENCE.items() if name not in os.environ}
    command = [program, "--color", "never", *arguments]
    done = run_process(command, cwd=cwd, env=env, timeout_s=TIMEOUT_S)
    if done.timed_out:
        raise NoAnswer(f"cargo took more than {TIMEOUT_S} s")
    return done
