"""The tests of the Python half: `airust grade` builds the program and says where it is."""

from __future__ import annotations

import os
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

import torch
from engine import PipeEngine

from airust.engines.registry import load_engine
from airust.gpt.checkpoint import save_model
from airust.gpt.config import GPTConfig
from airust.gpt.model import GPT
from airust.gpt.tokenizer import train_bpe
from airust.types import Request, SamplingParams, UserError

PROGRAM = os.environ.get("AIRUST_PROGRAM", "")
SENTENCES = ("What is rain? Rain is water that falls.", "水为什么往低处流？因为重力。") * 3


def random_model(folder: Path) -> None:
    """A small model whose likeliest tokens differ clearly."""
    tokenizer = train_bpe(SENTENCES, vocab_size=300)
    config = GPTConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, layers=2, heads=4, kv_heads=2,
        head_dim=16, ffn_size=48, context=64,
    )  # fmt: skip
    model, dice = GPT(config), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2:
                weight.normal_(std=0.3 if "embed" in name else 0.5, generator=dice)
    save_model(model, tokenizer, folder)


class Grade(unittest.TestCase):
    longMessage = False

    def setUp(self) -> None:
        self.assertTrue(Path(PROGRAM).is_file(), "no program was built: see the Rust half first")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        random_model(self.folder)

    def engine(self) -> PipeEngine:
        engine = PipeEngine.load(self.folder, program=PROGRAM)
        self.addCleanup(engine.close)
        return engine

    def test_greedy_answers_are_those_of_torch(self) -> None:
        with load_engine("torch", self.folder, threads=1) as torch_engine:
            for text in ("What is rain?", "水"):
                params = SamplingParams(max_tokens=24, logprobs=2, ignore_eos=True)
                request = Request(prompt=text, params=params)
                ours, theirs = (e.generate(request) for e in (self.engine(), torch_engine))
                self.assertEqual(ours.text, theirs.text, f"the answers to {text!r} differ")
                pairs = zip(ours.tokens, theirs.tokens, strict=False)
                gap = max(abs(a.logprob - b.logprob) for a, b in pairs if a.token_id is not None)
                self.assertLess(gap, 1e-3, f"the logprobs of {text!r} differ by {gap:.1e}")

    def test_the_contract_is_kept(self) -> None:
        with self.assertRaises(UserError, msg="an unknown option was accepted"):
            PipeEngine.load(self.folder, program=PROGRAM, speed="fast")
        engine = self.engine()
        five = SamplingParams(max_tokens=5, ignore_eos=True)
        answer = engine.generate(Request(prompt="What", params=five))
        self.assertEqual(answer.usage.completion_tokens, 5, "max_tokens is 5")
        lucky = SamplingParams(max_tokens=8, temperature=1.0, seed=3, ignore_eos=True)
        again = [engine.generate(Request(prompt="a", params=lucky)).text for _ in range(2)]
        self.assertEqual(*again, "the same seed gives the same answer")
        stop = answer.text[1:3]
        stopped = engine.generate(Request(prompt="What", params=replace(five, stop=(stop,))))
        self.assertEqual(stopped.text, answer.text.partition(stop)[0], "a stop string was shown")
        with self.assertRaises(UserError, msg="a prompt that is too long was accepted"):
            engine.generate(Request(prompt="rain " * 200, params=SamplingParams(max_tokens=5)))


if __name__ == "__main__":
    unittest.main()
