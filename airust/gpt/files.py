"""A user's own data: text, JSONL, Parquet, a folder of these, or a name on the Hugging Face hub.

Rows have a column ``text`` (anything to learn to continue) or ``messages`` (a list of role and
content: a conversation to learn the answers of). Plain text is read as it is, a file a row; the
rest by ``datasets``: files are memory-mapped, hub data sets are streamed.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from airust.files import write_atomic
from airust.gpt.data import TokenDocument, chat_document, text_document
from airust.gpt.tokenizer import Tokenizer
from airust.types import Message, UserError

READERS = {".txt": "text", ".md": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}


@dataclass(frozen=True, slots=True)
class UserData:
    """Rows that can be read again and again."""

    rows: Any  # a datasets.Dataset, a datasets.IterableDataset or TextFiles
    column: str  # "text" or "messages"
    name: str

    def __iter__(self) -> Iterator[Any]:
        for row in self.rows:
            if row[self.column]:
                yield row[self.column]

    def texts(self) -> Iterator[str]:
        """Everything that is said, for training a tokenizer."""
        for row in self:
            if self.column == "text":
                yield row
            else:
                yield from (turn["content"] for turn in row)


@dataclass(frozen=True, slots=True)
class TextFiles:
    """Plain text files, each a row; loading ``datasets`` for them would take over a second."""

    files: Sequence[Path]

    def __iter__(self) -> Iterator[dict[str, str]]:
        for file in self.files:
            try:
                yield {"text": file.read_bytes().decode()}
            except UnicodeDecodeError:
                raise UserError(f"'{file}' is not UTF-8 text; convert it first.") from None
            except OSError as error:
                raise UserError(f"'{file}' cannot be read: {error.strerror or error}.") from None


def open_data(name: str) -> UserData:
    """Open a file, a folder or a hub data set (its train split).

    Raises:
        UserError: it does not exist, is empty, is not UTF-8, or has neither column.
    """
    path = Path(name).expanduser()
    if path.exists():
        rows = _open_files(path)
    elif path.suffix in READERS or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"The data '{name}' does not exist.")
    else:
        rows = _open_hub(name)
    first = next(iter(rows), None)
    if first is None:
        raise UserError(f"The data '{name}' is empty.")
    column = next((c for c in ("messages", "text") if c in first), None)
    if column is None:
        found = ", ".join(first)
        raise UserError(f"The data '{name}' has no column 'text' or 'messages', only: {found}.")
    data = UserData(rows, column, name)
    if column == "messages":
        _check_turns(first["messages"], name)
    if next(iter(data), None) is None:
        raise UserError(f"The data '{name}' holds only empty rows.")
    return data


def _open_files(path: Path) -> Any:
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.suffix in READERS)
    if not files:
        raise UserError(f"The folder '{path}' holds no {', '.join(READERS)} file.")
    suffixes = {READERS.get(file.suffix) for file in files}
    if None in suffixes:
        raise UserError(f"'{path}' is none of {', '.join(READERS)}.")
    if len(suffixes) > 1:
        raise UserError(f"The folder '{path}' mixes kinds of files; keep one kind in a folder.")
    if not any(file.stat().st_size for file in files):
        raise UserError(f"The data '{path}' is empty.")
    reader = suffixes.pop()
    return TextFiles(files) if reader == "text" else _load_files(path, files, reader)


def _load_files(path: Path, files: list[Path], reader: str | None) -> Any:
    from datasets import load_dataset
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        return load_dataset(reader, data_files=[str(f) for f in files], split="train")
    except Exception as error:  # datasets wraps the reader's own error
        cause = error.__cause__ or error
        if isinstance(cause, UnicodeDecodeError) or "codec can't decode" in str(cause):
            raise UserError(f"'{path}' is not UTF-8 text; convert it first.") from error
        raise UserError(f"'{path}' cannot be read as {reader}: {_line(cause)}.") from error


def _open_hub(name: str) -> Any:
    from datasets import load_dataset

    try:
        return load_dataset(name, split="train", streaming=True)
    except Exception as error:  # missing, private, or no network
        raise UserError(
            f"'{name}' is neither a file here nor a data set that the hub gives: {_line(error)}."
        ) from error


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def _check_turns(turns: Any, name: str) -> None:
    good = isinstance(turns, list) and all(
        isinstance(turn, dict) and {"role", "content"} <= set(turn) for turn in turns
    )
    if not good:
        raise UserError(f"In '{name}' the messages are not a list of role and content.")


def chat_documents(data: UserData, tokenizer: Tokenizer) -> list[TokenDocument]:
    """Every conversation as ids, with the users' turns masked."""
    return [
        chat_document(tokenizer, [Message(turn["role"], turn["content"]) for turn in row])
        for row in data
    ]


def shuffled(documents: Sequence[TokenDocument], seed: int, epoch: int) -> list[TokenDocument]:
    """The documents in an order of this epoch's own."""
    order = list(documents)
    random.Random(f"{seed}-{epoch}").shuffle(order)
    return order


def token_file(data: UserData, tokenizer: Tokenizer, path: Path, most: int) -> np.ndarray:
    """Tokenise texts into one file of ids and memory-map it.

    At most ``most`` tokens are written: of a streamed hub data set no more is fetched than the
    run needs.

    Raises:
        UserError: the file cannot be written.
    """
    dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            written = 0
            for text in data.texts():
                ids = text_document(tokenizer, text).ids
                file.write(np.asarray(ids, dtype=dtype).tobytes())
                written += len(ids)
                if written >= most:
                    break

    write_atomic(path, write)
    return np.memmap(path, dtype=dtype, mode="r")


def sha256_of(texts: Iterator[str], most: int = 1_000_000) -> str:
    """A hash of the first texts, to tell data sets apart."""
    digest = hashlib.sha256()
    for text in itertools.islice(texts, most):
        digest.update(text.encode())
    return digest.hexdigest()
