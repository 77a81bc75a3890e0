"""Which model is this? SHA-256 fingerprints of its weights and of its vocabulary.

Two folders with the same weights have the same fingerprint wherever they lie and whatever they
are called; one changed bit gives another. The vocabulary's fingerprint says which token each id
is, in whichever file that is written, so that a folder and its GGUF export share it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from airust.types import UserError


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"Cannot read '{path}': {error.strerror or error}.") from error


def weights_sha256(model: Path) -> str:
    """SHA-256 of a model's weights: of a GGUF file, or of the safetensors files of a folder.

    It is that of the file itself where there is one; of several, that of their digests, one a
    line, in the order of their names.

    Raises:
        UserError: a file is missing or cannot be read.
    """
    from airust.gpt.checkpoint import weight_files  # torch with it, which a file does not need

    digests = [file_sha256(path) for path in ([model] if model.is_file() else weight_files(model))]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def vocabulary_sha256(model: Path) -> str:
    """SHA-256 over the tokens of a model folder or GGUF file, in the order of their ids.

    Raises:
        UserError: there is no tokenizer, or it cannot be read.
    """
    vocabulary = _vocabulary(model)
    by_id = sorted((token_id, token) for token, token_id in vocabulary.items())
    return hashlib.sha256(json.dumps(by_id).encode()).hexdigest()


def _vocabulary(model: Path) -> dict[str, int]:
    if model.is_file():
        from airust.gpt.gguf import load_gguf_tokenizer

        backend = load_gguf_tokenizer(model).backend
    else:
        from tokenizers import Tokenizer as Backend

        path = model / "tokenizer.json"
        try:
            backend = Backend.from_file(str(path))
        except Exception as error:  # the Rust side raises a bare Exception
            raise UserError(f"'{path}' is not a readable tokenizer: {error}.") from error
    found: dict[str, int] = backend.get_vocab(with_added_tokens=True)
    return found
