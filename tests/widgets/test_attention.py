"""Attention maps and the logit lens, without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from airust.gpt.checkpoint import load_model
from airust.gpt.lens import look
from airust.gpt.tokenizer import Tokenizer
from airust.types import UserError
from airust.widgets.attention import MOST_TOKENS, AttentionView

TEXT = "What is the capital of France? 水"


@pytest.fixture
def view(model_dir: Path) -> AttentionView:
    return AttentionView(model_dir, TEXT)


def test_the_maps_are_the_ones_that_the_model_uses(model_dir: Path):
    """A block fed with them by hand gives the model's own output."""
    model = load_model(model_dir)
    ids = Tokenizer.load(model_dir).encode(TEXT)
    inside = look(model, ids)
    block = model.layers[0]
    x = model.embed_tokens(torch.tensor([ids]))  # (1, T, C)
    attention, T = block.self_attn, len(ids)
    normed = block.input_layernorm(x)
    values = attention.v_proj(normed).view(1, T, attention.kv_heads, attention.head_dim)
    values = values.transpose(1, 2).repeat_interleave(attention.heads // attention.kv_heads, 1)
    mixed = (inside.attention[0] @ values[0]).transpose(0, 1).reshape(1, T, -1)  # (1, T, H D)
    by_hand = x + attention.o_proj(mixed)
    by_hand = by_hand + block.mlp(block.post_attention_layernorm(by_hand))
    after = model.lm_head(model.norm(by_hand))[0].log_softmax(-1)
    assert torch.allclose(after, inside.logprobs[1], atol=1e-4)


def test_the_last_layer_of_the_lens_is_the_models_prediction(model_dir: Path):
    model = load_model(model_dir)
    ids = Tokenizer.load(model_dir).encode(TEXT)
    logprobs = model(torch.tensor([ids]))[0].log_softmax(-1)
    assert torch.allclose(look(model, ids).logprobs[-1], logprobs, atol=1e-5)


def test_what_it_shows(view: AttentionView):
    layers, heads, T = view._shape
    assert (layers, heads) == (2, 4)
    assert T == len(view.tokens) == view.position + 1
    assert len(view._weights) == layers * heads * T * T
    frame = view.frame
    assert set(frame.layer) == {0, 1, 2}
    top = frame[frame["rank"] == 0].groupby("layer").size()
    assert (top == T).all()
    assert frame.probability.between(0, 1).all()
    markup, text = view.still()
    assert "Attention maps of 2 layers with 4 heads" in text
    assert markup.startswith("<img alt=")


def test_another_text(view: AttentionView):
    view.text = "Rust has"
    assert "".join(view.tokens) == "Rust has"
    assert view.position == len(view.tokens) - 1
    before = view.tokens
    view.text = "x " * 300
    assert str(MOST_TOKENS) in view.message
    assert view.tokens == before  # what is shown stays
    view.text = ""
    assert "no tokens" in view.message
    view.text = "Rust"
    assert view.message == ""


def test_choices_stay_inside(view: AttentionView):
    view.layer, view.head, view.position = 9, -3, 10_000
    assert (view.layer, view.head, view.position) == (1, 0, len(view.tokens) - 1)


def test_a_question(model_dir: Path):
    view = AttentionView(model_dir, "Why?", chat=True)
    assert view.tokens[0] == "<|im_start|>"
    assert view.tokens[-1] == "⏎"
    view.chat = False
    assert "".join(view.tokens) == "Why?"


def test_parts_of_a_character_are_bytes(reciter_dir: Path):
    view = AttentionView(reciter_dir, "水")
    assert view.tokens == ["‹E6›", "‹B0›", "‹B4›"]


def test_a_model_needs_its_tokenizer(model_dir: Path):
    model, tokenizer = load_model(model_dir), Tokenizer.load(model_dir)
    with pytest.raises(UserError, match="tokenizer"):
        AttentionView(model, TEXT)
    assert AttentionView(model, TEXT, tokenizer=tokenizer).tokens
    with pytest.raises(UserError, match="no model at"):
        AttentionView(model_dir / "nothing", TEXT)
