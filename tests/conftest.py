"""What many tests share: one small random model on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

SENTENCES = (
    "What is the capital of France? The capital of France is Paris.",
    "Rust has one owner for each value; the borrow checker proves it.",
    "Rain falls when drops in a cloud grow too heavy. user assistant system",
    "水为什么往低处流？因为重力把水拉向低处。",
    "太阳为什么发光？太阳的中心发生核聚变。",
)


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder with a GPT of 60k parameters, context 256.

    Its weights are random and wide: the likeliest tokens differ clearly, so that two engines
    that compute the same function also choose the same tokens.
    """
    import torch

    from airust.gpt.checkpoint import save_model
    from airust.gpt.config import GPTConfig
    from airust.gpt.model import GPT
    from airust.gpt.tokenizer import train_bpe

    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_bpe(SENTENCES * 3, vocab_size=400)
    config = GPTConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=64,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=16,
        ffn_size=96,
        context=256,
    )
    model = GPT(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2:
                # The blocks outweigh the embedding, or a tied model only repeats its input.
                gain = {"o_proj": 6.0, "down_proj": 6.0}.get(name.split(".")[-2], 1.5)
                std = 0.3 if "embed" in name else gain * weight.shape[1] ** -0.5
                weight.normal_(std=std, generator=generator)
    save_model(model, tokenizer, folder)
    return folder


RECITED = "水🦀abc"  # what the reciter says again and again


@pytest.fixture(scope="session")
def reciter_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that can be predicted: it recites 水🦀abc水🦀abc... byte by byte, one token each.

    Its blocks add nothing, its embedding is the identity, and its head is a table of successors.
    After any other token it begins from the start, after "x" with a space before it; after "z" it
    ends the text.
    """
    import torch

    from airust.gpt.checkpoint import save_model
    from airust.gpt.config import GPTConfig
    from airust.gpt.model import GPT
    from airust.gpt.tokenizer import train_bpe

    folder = tmp_path_factory.mktemp("reciter")
    tokenizer = train_bpe(SENTENCES[:3], vocab_size=262)  # nearly bytes: 水 is three, 🦀 four
    size = 288  # of the vocabulary, rounded up
    config = GPTConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=size,
        layers=1,
        heads=2,
        kv_heads=1,
        head_dim=16,
        ffn_size=32,
        context=256,
        tie_embeddings=False,
    )
    cycle = tokenizer.encode(RECITED)
    successor = dict.fromkeys(range(tokenizer.vocab_size), cycle[0])
    successor |= dict(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    successor[tokenizer.encode("x")[0]] = tokenizer.encode(" ")[0]
    successor[tokenizer.encode("z")[0]] = tokenizer.turn_end
    model = GPT(config)
    with torch.no_grad():
        model.embed_tokens.weight.copy_(torch.eye(tokenizer.vocab_size, size))
        model.lm_head.weight.zero_()
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.zero_()
        for token, following in successor.items():
            model.lm_head.weight[following, token] = 1
    save_model(model, tokenizer, folder)
    return folder
