"""llama.cpp's C interface, as much of it as an engine needs: load a file, decode a batch.

A context holds the keys and values of several sequences. One call of ``decode`` advances any of
them by any number of tokens and returns logits for the positions that ask for them. Everything
is float32 except what the file itself stores in fewer bits. One thread at a time may use it.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from airust.types import EngineError, EngineUnavailableError, UserError

Rows = npt.NDArray[np.float32]

BATCH_TOKENS = 512  # at most, in one decode call; a long prompt goes in chunks
OUTPUT_BYTES = 64 * 2**20  # at most, of the logits of one call
CACHE_BYTES = 2**30  # for keys and values, unless the caller asks for a number of sequences
MOST_SEQUENCES = 16  # unless the caller asks for more
FLOAT32 = 0  # ggml_type
LOG_ERROR = 4  # ggml_log_level


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive tokens of one sequence."""

    sequence: int
    start: int  # position of the first
    tokens: Sequence[int]
    outputs: int  # how many of them, counted from the end, want logits


@functools.cache
def library() -> tuple[Any, deque[str], Any]:
    """The llama_cpp module, silenced, and its last error lines.

    Raises:
        EngineUnavailableError: it is not installed, or does not load on this machine.
    """
    try:
        llama = importlib.import_module("llama_cpp")
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineUnavailableError(
            "The engine 'llamacpp' needs llama-cpp-python; "
            "install with: pip install llama-cpp-python"
        ) from error
    errors: deque[str] = deque(maxlen=3)

    def log(level: int, text: bytes, user_data: object) -> None:
        if level == LOG_ERROR and (line := text.decode("utf-8", "replace").strip()):
            errors.append(line)

    callback = llama.llama_log_callback(log)
    llama.llama_log_set(callback, None)
    llama.llama_backend_init()
    return llama, errors, callback  # llama.cpp keeps a bare pointer to the callback


class LlamaContext:
    """One loaded GGUF file with room for ``sequences`` sequences of ``context`` tokens each."""

    def __init__(
        self, path: Path, threads: int, sequences: int | None = None, context: int | None = None
    ) -> None:
        """Load.

        Args:
            path: the GGUF file.
            threads: that compute.
            sequences: decoded side by side; None for what fits into CACHE_BYTES, MOST_SEQUENCES
                at most.
            context: tokens of one sequence; None for what the model was trained with.

        Raises:
            EngineUnavailableError: llama.cpp is not installed.
            UserError: the file is not one that llama.cpp can load, or the context is too long.
        """
        self._llama, self._errors, _ = library()
        self._model: Any = None
        self._context: Any = None
        self._memory: Any = None
        self._batch = _Batch(self._llama)
        self._errors.clear()
        self.threads = threads
        try:
            self._load(path)
            self._size(sequences, context)
            self._start(path)
        except BaseException:
            self.close()
            raise

    def _load(self, path: Path) -> None:
        self._model = self._llama.llama_model_load_from_file(
            str(path).encode(), self._llama.llama_model_default_params()
        )
        if not self._model:
            raise UserError(f"llama.cpp cannot load '{path}': {self._reason()}.")
        self.vocab_size = int(self._llama.llama_vocab_n_tokens(self.vocabulary))

    def _size(self, sequences: int | None, context: int | None) -> None:
        trained = int(self._llama.llama_model_n_ctx_train(self._model))
        if context is not None and context > trained:
            raise UserError(f"context is {context}, but the model was trained with {trained}.")
        self.context = context or trained
        self.sequences = sequences or self._affordable()
        row_bytes = 4 * self.vocab_size
        self.most_outputs = max(self.sequences, min(BATCH_TOKENS, OUTPUT_BYTES // row_bytes))

    def _start(self, path: Path) -> None:
        params = self._llama.llama_context_default_params()
        params.n_ctx = self.context * self.sequences
        params.n_seq_max = self.sequences
        params.n_batch = params.n_ubatch = BATCH_TOKENS
        params.n_outputs_max = self.most_outputs
        params.n_threads = params.n_threads_batch = self.threads
        params.type_k = params.type_v = FLOAT32
        params.flash_attn_type = 0  # it rounds keys and values to float16
        # A buffer for each sequence: in a common one every token would look at, and mask, the
        # tokens of all others.
        params.kv_unified = False
        self._context = self._llama.llama_init_from_model(self._model, params)
        if not self._context:
            raise UserError(
                f"llama.cpp has no room for {self.sequences} sequences of {self.context} tokens "
                f"of '{path}': {self._reason()}; ask for fewer (max_batch) or shorter (context)."
            )
        self._memory = self._llama.llama_get_memory(self._context)
        self.decode([Piece(0, 0, [0], 1)])  # the first call is slow, and may fail: now, not later
        self.keep(0, 0)

    def _reason(self) -> str:
        if not self._errors:
            return "no reason given"
        what = self._errors[0].partition(": ")[2]  # behind the C function's name
        return what.removeprefix("error loading model: ").rstrip(".")

    def _affordable(self) -> int:
        """Sequences whose keys and values fit into CACHE_BYTES."""
        llama, model = self._llama, self._model
        family = self._metadata("general.architecture")
        head_size = llama.llama_model_n_embd(model) // llama.llama_model_n_head(model)
        sizes = [
            int(self._metadata(f"{family}.attention.{name}_length") or head_size)
            for name in ("key", "value")
        ]
        heads = llama.llama_model_n_head_kv(model) * llama.llama_model_n_layer(model)
        sequence_bytes = 4 * heads * sum(sizes) * self.context
        return int(max(1, min(MOST_SEQUENCES, CACHE_BYTES // sequence_bytes)))

    def _metadata(self, key: str) -> str:
        text = ctypes.create_string_buffer(128)
        self._llama.llama_model_meta_val_str(self._model, key.encode(), text, len(text))
        return text.value.decode()

    @property
    def vocabulary(self) -> Any:
        """llama.cpp's handle of the file's own tokenizer."""
        return self._llama.llama_model_get_vocab(self._model)

    def describe(self) -> str:
        """Family, size and number format of the weights, as llama.cpp tells them."""
        text = ctypes.create_string_buffer(128)
        self._llama.llama_model_desc(self._model, text, len(text))
        return text.value.decode()

    def decode(self, pieces: Sequence[Piece]) -> Rows:
        """Advance sequences and return logits, (outputs, vocabulary), in the order of the pieces.

        The array is a window on llama.cpp's memory: the next call overwrites it.

        Raises:
            EngineError: llama.cpp failed.
        """
        outputs = self._batch.fill(pieces)
        if status := self._llama.llama_decode(self._context, self._batch.native):
            raise EngineError(f"llama.cpp failed to decode (status {status}).")
        if not outputs:
            return np.empty((0, self.vocab_size), dtype=np.float32)
        logits = self._llama.llama_get_logits(self._context)
        return np.ctypeslib.as_array(logits, shape=(outputs, self.vocab_size))

    def keep(self, sequence: int, length: int) -> bool:
        """Forget what a sequence holds behind its first ``length`` tokens.

        False if the model cannot: its layers hold a summary or a window, not each token.
        """
        return bool(self._llama.llama_memory_seq_rm(self._memory, sequence, length, -1))

    def close(self) -> None:
        """Free the model. Safe to repeat."""
        self._batch.close()
        if self._context:
            self._llama.llama_free(self._context)
            self._context = None
        if self._model:
            self._llama.llama_model_free(self._model)
            self._model = None


class _Batch:
    """llama.cpp's arrays for one decode call, seen through numpy."""

    def __init__(self, llama: Any) -> None:
        self._free = llama.llama_batch_free
        self.native: Any = llama.llama_batch_init(BATCH_TOKENS, 0, 1)
        native = self.native
        shape = (BATCH_TOKENS,)
        self._tokens = np.ctypeslib.as_array(native.token, shape)
        self._positions = np.ctypeslib.as_array(native.pos, shape)
        self._wanted = np.ctypeslib.as_array(native.logits, shape)
        np.ctypeslib.as_array(native.n_seq_id, shape)[:] = 1
        self._sequences = [native.seq_id[i] for i in range(BATCH_TOKENS)]

    def fill(self, pieces: Sequence[Piece]) -> int:
        """Write the pieces one after the other; returns how many logits rows they ask for."""
        at = outputs = 0
        for piece in pieces:
            end = at + len(piece.tokens)
            self._tokens[at:end] = piece.tokens
            self._positions[at:end] = range(piece.start, piece.start + len(piece.tokens))
            self._wanted[at:end] = 0
            self._wanted[end - piece.outputs : end] = 1
            for i in range(at, end):
                self._sequences[i][0] = piece.sequence
            at, outputs = end, outputs + piece.outputs
        self.native.n_tokens = at
        return outputs

    def close(self) -> None:
        if self.native is not None:
            self._free(self.native)
            self.native = None
