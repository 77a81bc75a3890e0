"""pyproject.toml, constraints.txt, environment.yml and the Makefile tell the same story."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCK_LINES = [
    line
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]
PINS: dict[str, list[Requirement]] = {}
for _line in LOCK_LINES:
    PINS.setdefault(canonicalize_name(Requirement(_line).name), []).append(Requirement(_line))

DEPENDENCIES = [
    Requirement(text)
    for group in (PROJECT["dependencies"], *EXTRAS.values())
    for text in group
    if Requirement(text).name != "airust"
]


@pytest.mark.parametrize("dependency", DEPENDENCIES, ids=str)
def test_every_dependency_is_pinned_within_its_bounds(dependency: Requirement):
    pins = PINS.get(canonicalize_name(dependency.name))
    assert pins, "run scripts/lock.py"
    for pin in pins:
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert dependency.specifier.contains(specifier.version), "run scripts/lock.py"


def test_pins_fit_cpu_and_cuda_builds():
    """`==2.13.0` takes 2.13.0+cpu too; `==2.13.0+cpu` would take nothing else."""
    assert not [line for line in LOCK_LINES if "+" in line.split(";")[0]]
    assert PINS["torch"][0].specifier.contains(
        Version(f"{next(iter(PINS['torch'][0].specifier)).version}+cpu")
    )


def test_the_lock_names_no_index():
    assert not [line for line in LOCK_LINES if "://" in line or line.startswith("-")]


def test_the_extra_all_is_all_extras():
    (text,) = EXTRAS["all"]
    assert Requirement(text).extras == set(EXTRAS) - {"all"}


def test_conda_gets_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    *conda, pip = environment["dependencies"]
    versions = dict(entry.partition("=")[::2] for entry in conda)
    assert versions == {"python": "3.11", "pip": ""}
    assert SpecifierSet(PROJECT["requires-python"]).contains(versions["python"])
    assert pip["pip"] == [
        f"--extra-index-url {torch_index()}",
        "--constraint constraints.txt",
        "--editable .[dev]",
    ]


def torch_index() -> str:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    found = re.search(r"^TORCH_INDEX \?= (\S+)$", makefile, flags=re.MULTILINE)
    assert found
    return found[1]


def test_one_torch_index_everywhere():
    install = (ROOT / "scripts/install.py").read_text("utf-8")
    assert f'PYTORCH_CPU = "{torch_index()}"' in install
