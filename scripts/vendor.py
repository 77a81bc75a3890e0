"""Fetch the libraries of the front end from npm into airust/ui/vendor, pinned by their hashes.

``python scripts/vendor.py`` reads ``airust/ui/vendor/versions.json``, fetches the versions named
there and writes the hashes of what it found. Nobody needs it to use or to build airust; it is how
a version is changed. The licences that a package does not hold lie in the folder by hand.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "airust" / "ui" / "vendor"


def fetch(name: str, library: dict[str, Any], scratch: Path) -> None:
    """Put one library's files into the folder, and their hashes into its entry."""
    package = f"{library['package']}@{library['version']}"
    command = ["npm", "pack", package, "--silent", "--pack-destination", str(scratch)]
    packed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    with tarfile.open(scratch / packed.stdout.strip()) as archive:
        for path, file in library["files"].items():
            if file["from"] is not None:
                member = archive.extractfile(f"package/{file['from']}")
                assert member is not None, path
                target = FOLDER / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(member.read())
            file["sha256"] = hashlib.sha256((FOLDER / path).read_bytes()).hexdigest()


def main() -> None:
    """Fetch all of them."""
    versions = FOLDER / "versions.json"
    libraries = json.loads(versions.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        for name, library in libraries.items():
            fetch(name, library, Path(scratch))
    versions.write_text(json.dumps(libraries, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
