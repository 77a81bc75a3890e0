"""Python packages, asked for through the user's own pip: ``pip index versions NAME``."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping

from airust.rust.process import run_process
from airust.watch.answers import Absent, Answer, Entry, NoAnswer, utc_today, without_addresses
from airust.watch.topics import Topic

TIMEOUT_S = 120
# Where nobody answers, pip's own defaults would take minutes for each package.
PATIENCE = {"PIP_DEFAULT_TIMEOUT": "15", "PIP_RETRIES": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


class Pip:
    """The packages that this Python could install; index, mirror and proxy are pip's affair."""

    name = "pip"

    def ask(self, topic: Topic, before: Mapping[str, Entry]) -> Answer:
        """The newest version that is no pre-release.

        Raises:
            NoAnswer: pip is not there, or nobody answered it.
        """
        command = [sys.executable, "-m", "pip", "index", "versions", "--no-color", topic.name]
        env = {name: value for name, value in PATIENCE.items() if name not in os.environ}
        done = run_process(command, env=env, timeout_s=TIMEOUT_S)
        if done.timed_out:
            raise NoAnswer(f"pip took more than {TIMEOUT_S} s")
        if done.exit_code:
            _explain(done.stderr)
        return Answer((Entry(newest(done.stdout)),), utc_today())


def newest(answer: str) -> str:
    """The version that an answer of pip begins with, or the first that it lists.

    >>> newest("vllm (0.33.0)\\nAvailable versions: 0.33.0, 0.32.0\\n")
    '0.33.0'

    Raises:
        NoAnswer: there is none.
    """
    found = re.search(r"^\S+ \(([^()\s]+)\)$", answer, flags=re.MULTILINE)
    if found is None:
        raise NoAnswer("pip's answer has no version in it")
    return found[1]


def _explain(said: str) -> None:
    errors = re.findall(r"^ERROR: (.*)$", said, flags=re.MULTILINE)
    if "No module named pip" in said:
        raise NoAnswer("this Python has no pip")
    if "Retrying (" in said or not errors:
        # pip then goes on to say that there is no such package, which nobody knows
        raise NoAnswer("pip got no connection")
    raise Absent(f"pip says: {without_addresses(errors[0])}")
