"""``airust doctor``: what this machine has, what it can do at best, and what is missing."""

from __future__ import annotations

import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from airust.cli.common import print_json

EXAMPLE = "airust doctor --json"
INSTALL_ALL = "python scripts/install.py"


def run(
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
    ceilings: Annotated[bool, typer.Option(help="Measure bandwidth and matrix rates.")] = True,
) -> None:
    """Show versions, cores, memory, measured ceilings and what is missing.

    Exit code 1 if a package that airust needs is missing; an absent optional engine is no fault.
    """
    from airust.bench.host import describe_host, thread_settings, versions
    from airust.engines.registry import list_engines

    missing = missing_packages(_requirements())
    found: dict[str, Any] = {
        "host": describe_host() | _free(),
        "versions": versions(),
        "accelerator": _accelerator() if "torch" not in missing else None,
        "ceilings": _ceilings() if ceilings and "torch" not in missing else None,
        "threads": thread_settings(),
        "engines": {
            engine.name: (engine.version or "there")
            if engine.available
            else f"missing: {engine.install_hint}"
            for engine in list_engines()
        },
        "missing": missing,
    }
    if as_json:
        print_json(found)
    else:
        _show(found)
    if missing:
        raise typer.Exit(1)


def _requirements() -> list[str]:
    try:
        return metadata.requires("airust") or []
    except metadata.PackageNotFoundError:  # run from a folder and not installed
        return []


def missing_packages(requirements: list[str]) -> list[str]:
    """The packages among requirements that are not installed; those of extras do not count.

    >>> missing_packages(["typer>=0.16", "no-such-thing>=1", "also-none; extra == 'dev'"])
    ['no-such-thing']
    """
    missing = []
    for requirement in requirements:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            if "extra ==" not in requirement:
                missing.append(name)
    return missing


def _free() -> dict[str, int]:
    import psutil

    return {
        "memory_available_bytes": psutil.virtual_memory().available,
        "disk_free_bytes": shutil.disk_usage(Path.cwd()).free,
    }


def _accelerator() -> str | None:
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return "Apple GPU (Metal)" if torch.backends.mps.is_available() else None


def _ceilings() -> dict[str, Any]:
    from airust.bench.ceilings import measure

    return measure().to_dict()


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    for section, values in found.items():
        rows = _rows(section, values)
        for number, (name, value) in enumerate(rows):
            table.add_row(section if number == 0 else "", name, value)
        if rows:
            table.add_section()
            table.add_row()
    Console(markup=False).print(table)
    if found["missing"]:
        typer.echo(f"Missing: {', '.join(found['missing'])}. Install with: {INSTALL_ALL}")


def _rows(section: str, values: Any) -> list[tuple[str, str]]:
    if section == "ceilings" and values:
        return _ceiling_rows(values)
    if isinstance(values, dict):
        return [_row(name, value) for name, value in values.items()]
    if section == "missing":
        return [("", ", ".join(values) or "nothing that airust needs")]
    return [("", "none" if values is None else str(values))]


def _row(name: str, value: Any) -> tuple[str, str]:
    """A name with its unit taken from the end and the value made readable.

    >>> _row("disk_free_bytes", 78_100_000_000)
    ('disk free', '78.1 GB')
    >>> _row("OMP_NUM_THREADS", None)
    ('OMP_NUM_THREADS', 'not set')
    """
    if name.endswith("_bytes"):
        return name.removesuffix("_bytes").replace("_", " "), f"{value / 1e9:.1f} GB"
    label = name if name.isupper() else name.replace("_", " ")
    return label, "not set" if value is None else str(value)


def _ceiling_rows(values: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        (f"read, {int(size) / 1e6:.0f} MB working set", f"{rate:.1f} GB/s")
        for size, rate in values["bandwidth"].items()
    ]
    rows.append(("matrix product, fp32", f"{values['matmul_fp32']:,.0f} GFLOP/s"))
    rows.append(("matrix product, bf16", f"{values['matmul_bf16']:,.0f} GFLOP/s"))
    return rows
