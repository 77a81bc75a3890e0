"""scripts/install.py chooses the build of torch; pip itself is replaced."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "install.py"
INDEX = "https://index.example/cpu"


@pytest.fixture
def install(monkeypatch) -> ModuleType:
    """The script on a Linux machine without a GPU and without torch; pip only takes notes."""
    spec = importlib.util.spec_from_file_location("install_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.calls = []
    monkeypatch.setattr(module, "pip", lambda *args: module.calls.append(args))
    monkeypatch.setattr(module, "installed_torch", lambda: None)
    monkeypatch.setattr(module, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(module.sys, "platform", "linux")
    return module


def offering(*sources: tuple[str, ...]):
    return lambda version, *source: version == "2.13.0+cpu" and source in sources


def test_a_cpu_build_that_pip_finds_by_itself(install, monkeypatch):
    monkeypatch.setattr(install, "offers", offering((), ("--index-url", INDEX)))
    install.install_torch("2.13.0", INDEX)
    assert install.calls == [("install", "--no-deps", "torch==2.13.0+cpu")]


def test_a_cpu_build_from_the_index(install, monkeypatch):
    monkeypatch.setattr(install, "offers", offering(("--index-url", INDEX)))
    install.install_torch("2.13.0", INDEX)
    assert install.calls == [("install", "--no-deps", "--index-url", INDEX, "torch==2.13.0+cpu")]


@pytest.mark.parametrize("index", ["", INDEX])
def test_without_one_the_large_build_comes_with_a_warning(install, monkeypatch, capsys, index):
    monkeypatch.setattr(install, "offers", offering())
    install.install_torch("2.13.0", index)
    assert install.calls == [("install", "--no-deps", "torch==2.13.0")]
    warning = capsys.readouterr().err
    assert "several gigabytes" in warning and index in warning


def test_an_empty_index_is_not_asked(install, monkeypatch):
    asked = []
    monkeypatch.setattr(install, "offers", lambda version, *source: asked.append(source))
    install.install_torch("2.13.0", "")
    assert asked == [()]


def test_a_gpu_or_another_system_takes_the_standard_build(install, monkeypatch):
    monkeypatch.setattr(install, "offers", offering((), ("--index-url", INDEX)))
    monkeypatch.setattr(install, "has_nvidia_gpu", lambda: True)
    install.install_torch("2.13.0", INDEX)
    monkeypatch.setattr(install, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(install.sys, "platform", "darwin")
    install.install_torch("2.13.0", INDEX)
    assert install.calls == [("install", "--no-deps", "torch==2.13.0")] * 2


def test_a_torch_of_the_pinned_version_stays(install, monkeypatch):
    monkeypatch.setattr(install, "installed_torch", lambda: "2.13.0")
    install.install_torch("2.13.0", INDEX)
    assert install.calls == []


def test_the_project_follows_with_its_extras(install, monkeypatch):
    monkeypatch.setattr(install, "install_torch", lambda version, index: None)
    for args, project in (([], "."), (["--extras", "dev,llamacpp"], ".[dev,llamacpp]")):
        monkeypatch.setattr(sys, "argv", ["install.py", *args])
        install.main()
        assert install.calls.pop() == (
            "install", "--constraint", "constraints.txt", "--editable", project
        )  # fmt: skip


def test_an_unreachable_index_offers_nothing_and_does_not_hang(install, monkeypatch):
    # A folder of wheels that the tester's pip searches everywhere would answer instead.
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    # Port 9 is "discard": nothing listens there, the connection is refused at once.
    assert not install.offers("2.13.0+cpu", "--index-url", "http://127.0.0.1:9/simple")


def test_the_pin_is_read_from_the_lock(install):
    text = (install.ROOT / "constraints.txt").read_text("utf-8")
    assert install.pinned_torch(text).count(".") == 2
    with pytest.raises(SystemExit, match="does not pin torch"):
        install.pinned_torch("numpy==2.0\n")
