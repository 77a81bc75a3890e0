"""The machine, the versions and the model that a report is about. Nothing here names the host."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from airust.gpt.fingerprint import file_sha256
from airust.types import UserError

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "CANDLE_NUM_THREADS",
)
WAIT_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")  # how threads of OpenMP wait for each other
PACKAGES = (
    "airust",
    "torch",
    "transformers",
    "mistralrs",
    "llama-cpp-python",
    "airust-candle",
    "tokenizers",
    "safetensors",
    "gguf",
    "numpy",
    "papermill",
)


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_environment(threads: int | None) -> dict[str, str]:
    """Variables that give every engine's thread pools the same size; none leaves it to them."""
    return {} if threads is None else {name: str(threads) for name in THREAD_VARIABLES}


def thread_settings() -> dict[str, Any]:
    """The thread settings in force in this process."""
    names = THREAD_VARIABLES + WAIT_VARIABLES
    settings: dict[str, Any] = {name: os.environ.get(name) for name in names}
    settings["cores"] = usable_cores()
    settings["os_threads"] = psutil.Process().num_threads()
    torch = sys.modules.get("torch")
    settings["torch_threads"] = torch.get_num_threads() if torch else None
    return settings


def memory_bytes() -> int:
    """Resident memory of this process."""
    return int(psutil.Process().memory_info().rss)


def peak_memory_bytes(pid: int | None = None) -> int:
    """The most resident memory that a process has had, this one if none is named.

    Linux: VmHWM, because getrusage's figure also counts the parent that this process was forked
    from. Windows: the peak working set. macOS: getrusage, in bytes there.
    """
    status = Path(f"/proc/{pid or 'self'}/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process(pid).memory_info().peak_wset)
    if pid is not None:  # macOS tells the peak of oneself alone
        return int(psutil.Process(pid).memory_info().rss)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def describe_host() -> dict[str, Any]:
    """Processor, cores, memory and operating system."""
    return {
        "cpu": _cpu_name(),
        "cores_usable": usable_cores(),
        "cores_physical": psutil.cpu_count(logical=False),
        "memory_bytes": psutil.virtual_memory().total,
        "os": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Installed versions of what the figures depend on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def describe_model(folder: Path) -> dict[str, Any]:
    """Name, fingerprints and sizes of a model folder.

    Raises:
        UserError: there is no model in the folder.
    """
    weights = sorted(folder.glob("*.safetensors"))
    if not weights or not (folder / "config.json").is_file():
        raise UserError(f"There is no model in '{folder}': config.json or the weights are missing.")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    tensors = [entry for path in weights for entry in _tensors(path)]
    return {
        "name": folder.resolve().name,
        "config": config,
        "weights_sha256": {path.name: file_sha256(path) for path in weights},
        "tokenizer_sha256": file_sha256(folder / "tokenizer.json"),
        "parameters": sum(count for _, count, _ in tensors),
        # A tied table is read by the output projection; an untied one a row a token.
        "parameters_read_per_token": sum(
            count
            for name, count, _ in tensors
            if config.get("tie_word_embeddings") or "embed_tokens" not in name
        ),
        "dtype": sorted({dtype for _, _, dtype in tensors}),
        "weight_bytes": sum(path.stat().st_size for path in weights),
    }


def _tensors(path: Path) -> list[tuple[str, int, str]]:
    """Name, element count and dtype of each tensor, from the header of a safetensors file."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    except (ValueError, MemoryError, OverflowError) as error:
        raise UserError(f"'{path}' is truncated or not a safetensors file.") from error
    found = []
    for name, entry in header.items():
        if name != "__metadata__":
            count = 1
            for size in entry["shape"]:
                count *= size
            found.append((name, count, entry["dtype"]))
    return found
