"""A whole training run in one folder: data, tokenizer, model, trainer, exam.

The folder becomes a Hugging Face model folder that every engine loads, with ``metrics.jsonl``,
``training.pt`` (to resume from), ``train.json`` (the settings) and ``eval.json`` beside it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from airust.corpus.curriculum import Corpus
from airust.files import write_json
from airust.gpt.checkpoint import load_model, save_model
from airust.gpt.data import Batch, PackedSource, Source, StagedSource, StreamSource, corpus_source
from airust.gpt.distributed import Place
from airust.gpt.evaluate import evaluate
from airust.gpt.files import (
    UserData,
    chat_documents,
    open_data,
    sha256_of,
    shuffled,
    token_file,
)
from airust.gpt.model import GPT
from airust.gpt.presets import TrainConfig
from airust.gpt.tokenizer import Tokenizer, character_tokenizer, train_bpe
from airust.gpt.train import CHECKPOINT, METRICS, Trainer
from airust.types import UserError

SETTINGS = "train.json"
EVALUATION = "eval.json"


@dataclass(frozen=True)
class Run:
    """Everything that ``airust train`` drives."""

    trainer: Trainer
    tokenizer: Tokenizer
    corpus: Corpus | None  # None: the user's own data, which has no exam
    validation: list[Batch]  # all of the validation part

    def save(self) -> None:
        """Write the model folder."""
        save_model(self.trainer.model, self.tokenizer, self.trainer.out)

    def evaluate(self) -> dict[str, object] | None:
        """Sit the exam and write eval.json; None where there is no exam."""
        if self.corpus is None:
            return None
        result = evaluate(
            self.trainer.model.eval(), self.tokenizer, self.corpus, self.trainer.config.exam_every
        )
        result["training"] = {
            "preset": self.trainer.config.preset,
            "stages": self.trainer.config.stages,
            "steps": self.trainer.step,
            "tokens": self.trainer.tokens,
            "seconds": round(self.trainer.elapsed_s, 1),
        }
        write_json(self.trainer.out / EVALUATION, result)
        self.trainer.model.train()
        return result


def prepare(
    config: TrainConfig,
    out: Path,
    *,
    data: str | None = None,
    init: Path | None = None,
    resume: bool = False,
    force: bool = False,
    place: Place | None = None,
) -> Run:
    """Make ready to train; nothing in ``out`` is lost without ``force``.

    Args:
        data: a file, folder or hub name; None is the embedded corpus.
        init: a model folder whose weights and tokenizer to start from (tuning).
        resume: go on with the run in ``out`` if there is one.
        force: begin anew although ``out`` holds a run.

    Raises:
        UserError: ``out`` holds a run, or settings, data and model do not fit each other.
    """
    place = place or Place()
    if (out / CHECKPOINT).is_file() and not resume and not force:
        raise UserError(
            f"'{out}' already holds a training run: --resume goes on with it, --force begins anew."
        )
    _check_writable(out)
    corpus = Corpus.load() if data is None else None
    user_data = open_data(data) if data is not None else None
    tokenizer = _tokenizer(config, out, corpus, user_data, init, resume)
    config = replace(config, model=replace(config.model, vocab_size=tokenizer.vocab_size))
    torch.manual_seed(config.seed)
    model = GPT(config.model) if init is None else load_model(init).train()
    if init is not None:
        config = replace(config, model=model.config)
    if corpus is not None:
        source, validation = _corpus_source(config, corpus, tokenizer), list[Batch]()
    else:
        assert user_data is not None
        source, validation = _data_source(config, user_data, tokenizer, out)
    trainer = Trainer(
        config,
        model,
        source,
        out,
        validation=validation[: config.validation_batches],
        place=place,
        resume=resume,
    )
    if place.is_first:
        tokenizer.save(out)
        write_json(out / SETTINGS, {"data": data or "embedded corpus", **config.to_dict()})
    return Run(trainer, tokenizer, corpus, validation)


def _check_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):  # each of torchrun's processes has its own
            pass
    except OSError as error:
        raise UserError(f"Cannot write to '{out}': {error.strerror or error}.") from error


def _tokenizer(
    config: TrainConfig,
    out: Path,
    corpus: Corpus | None,
    data: UserData | None,
    init: Path | None,
    resume: bool,
) -> Tokenizer:
    if init is not None:
        return Tokenizer.load(init)
    if resume and (out / METRICS).is_file() and (out / "tokenizer.json").is_file():
        return Tokenizer.load(out)
    texts = corpus.tokenizer_texts() if corpus is not None else data.texts() if data else iter(())
    if config.tokenizer == "character":
        return character_tokenizer(texts)
    return train_bpe(texts, config.model.vocab_size)


def _corpus_source(config: TrainConfig, corpus: Corpus, tokenizer: Tokenizer) -> Source:
    make = partial(corpus_source, corpus, tokenizer, config.rows, config.length, config.seed)
    if config.stages == "mixed":
        return make()
    return StagedSource(make(stage="statements"), make(stage="questions"), config.steps // 2)


def _data_source(
    config: TrainConfig, data: UserData, tokenizer: Tokenizer, out: Path
) -> tuple[Source, list[Batch]]:
    sha256 = sha256_of(data.texts())
    if data.column == "messages":
        documents = chat_documents(data, tokenizer)
        held = int(len(documents) * config.validation)
        kept, checked = documents[: len(documents) - held], documents[len(documents) - held :]

        def packed(part: list) -> PackedSource:  # type: ignore[type-arg]
            return PackedSource(
                lambda epoch: shuffled(part, config.seed, epoch),
                config.rows,
                config.length,
                tokenizer.end_of_text,
                sha256,
            )

        return packed(kept), _first(packed(checked), config.validation_batches) if held else []
    wanted = config.steps * config.rows * config.length * 2
    tokens = token_file(data, tokenizer, out / "tokens.bin", wanted)
    border = int(len(tokens) * (1 - config.validation))
    train = StreamSource(tokens[:border], config.rows, config.length, config.seed, sha256)
    return train, windows(tokens[border:], config.length) if config.validation else []


def _first(source: Source, count: int) -> list[Batch]:
    return [batch for batch, _ in zip(source.batches(0), range(count), strict=False)]


def windows(tokens: np.ndarray, length: int, rows: int = 128) -> list[Batch]:
    """Every token of a text once as a target, in rows that follow each other."""
    count = (len(tokens) - 1) // length
    if count < 1:
        raise UserError(
            f"The validation part has {len(tokens)} tokens, but one context needs {length + 1}; "
            f"give more text or a smaller context."
        )
    ids = torch.from_numpy(np.asarray(tokens[: count * length + 1]).astype(np.int64))
    inputs, targets = ids[:-1].view(count, length), ids[1:].view(count, length)
    return [
        Batch(i, t, None, i.numel(), 0)
        for i, t in zip(inputs.split(rows), targets.split(rows), strict=True)
    ]
