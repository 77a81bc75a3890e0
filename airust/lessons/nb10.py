"""A model has read everything: how do you teach it to answer, and to answer as you like?

Checks of notebook 10.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import torch

from airust.corpus.curriculum import Corpus
from airust.corpus.documents import Fact
from airust.gpt.config import GPTConfig
from airust.gpt.data import IGNORE, PackedSource, TokenDocument
from airust.gpt.evaluate import ask_all
from airust.gpt.loss import NextTokenLoss
from airust.gpt.model import GPT
from airust.gpt.optimizer import OptimizerConfig, lr_factor, make_optimizers, set_lr
from airust.gpt.tokenizer import Tokenizer
from airust.lessons.checker import close, digest, require

RELATIONS = ("capital", "continent", "currency", "language")
COUNTRIES = 24  # of the notebook's world; every second one is for the exam
FEWEST_WORDS = 4  # of a sentence
IN_SENTENCES, RIGHT = 0.95, 0.8  # shares that exercise 7 asks for


def world() -> tuple[list[Fact], list[Fact]]:
    """Facts about countries: of those that training asks about, and of those kept for the exam."""
    known = [f for f in Corpus.load().facts if f.language == "en" and f.entity.kind == "country"]
    names = list(dict.fromkeys(fact.name for fact in known))
    names = names[:: len(names) // COUNTRIES][:COUNTRIES]  # from all continents
    asked, held_out = (
        [f for f in known if f.name in names[part::2] and f.relation.id in RELATIONS]
        for part in (0, 1)
    )
    return asked, held_out


def train(
    model: GPT,
    documents: Callable[[random.Random], list[TokenDocument]],
    tokenizer: Tokenizer,
    steps: int,
    config: OptimizerConfig,
) -> float:
    """The training loop of notebook 08, on whatever is not frozen; returns the last loss.

    Args:
        documents: those of an epoch, drawn with a generator; rows of 64 tokens, 16 a step.
    """
    source = PackedSource(
        lambda epoch: documents(random.Random(epoch)), 16, 64, tokenizer.end_of_text, ""
    )
    loss_of, optimizers = NextTokenLoss(model), make_optimizers(model, config, torch.float32)
    for step, batch in zip(range(steps), source.batches(0), strict=False):
        set_lr(optimizers, lr_factor(step, steps, config))
        count = (batch.targets != IGNORE).sum()
        loss = loss_of(batch.inputs, batch.targets, batch.mask) / count
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return float(loss.item())


def ex1(answer: Any) -> None:
    """The factor without a gradient."""
    hint = "By the chain rule, the gradient of each factor has the other one in it."
    require(digest("nb10.ex1", answer) == "7238a45e30f5", hint)


def ex2(answer: Any) -> None:
    """The adapter nearest to a change."""
    torch.manual_seed(3)
    for rows, columns, r in ((8, 5, 2), (4, 9, 1), (6, 6, 6)):
        change = torch.randn(rows, columns)
        B, A = answer(change, r)
        shapes = tuple(B.shape), tuple(A.shape)
        require(shapes == ((rows, r), (r, columns)), "B is (rows, r) and A is (r, columns).")
        least = torch.linalg.svdvals(change)[r:].square().sum().sqrt().item()
        hint = "There is a nearer product of that rank: which decomposition gives the best one?"
        close((change - B @ A).norm().item(), least, 1e-3, hint)


def ex3(answer: Any) -> None:
    """Numbers that LoRA trains."""
    small = GPTConfig(10, 64, layers=2, heads=2, kv_heads=2, head_dim=32, ffn_size=192)
    grouped = GPTConfig(10, 96, layers=3, heads=4, kv_heads=2, head_dim=32, ffn_size=256)
    for config in (small, grouped):
        queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
        sides = 2 * (config.hidden_size + queries) + 2 * (config.hidden_size + keys)
        sides += 3 * (config.hidden_size + config.ffn_size)
        for rank in (1, 4):
            hint = f"Wrong for {config.heads} heads over {config.kv_heads} of keys at rank {rank}."
            close(answer(config, rank), config.layers * rank * sides, 0, hint)


def ex4(answer: Any) -> None:
    """The slope of DPO's loss."""
    for margin, beta in ((0.0, 0.1), (2.0, 0.1), (-3.0, 1.0), (8.0, 0.5)):
        expected = -beta / (1 + math.exp(margin))
        hint = f"Wrong for a margin of {margin:g} and β = {beta:g}: mind the sign, and the inside."
        close(answer(margin, beta), expected, 1e-6, hint)


def ex5(answer: Any) -> None:
    """Prompts in the sums."""
    hint = "Both answers have the same prompt; write ln p(x, y) as ln p(x) + ln p(y | x)."
    require(digest("nb10.ex5", answer) == "c0065f1b7fe9", hint)


def ex6(answer: Any) -> None:
    """Rewards behind a policy."""
    reference = [0.1, 0.4, 0.3, 0.2]
    rewards = [0.0, 1.5, -2.0, 0.25]
    for beta in (0.1, 1.0, 4.0):
        weights = [p * math.exp(r / beta) for p, r in zip(reference, rewards, strict=True)]
        policy = [weight / sum(weights) for weight in weights]
        found = [float(value) for value in answer(policy, list(reference), beta)]
        require(len(found) == len(rewards), "One reward for each answer is expected.")
        for mine, expected in zip(found, rewards, strict=True):
            hint = "Solve the formula of the best policy for r; Z shifts all rewards alike."
            close(mine, expected, 1e-4, hint)


def ex7(answer: Any) -> None:
    """A model that answers in sentences."""
    require(isinstance(answer, tuple) and len(answer) == 2, "Hand in (model, tokenizer).")
    model, tokenizer = answer
    require(isinstance(model, GPT), "The first of the two should be a GPT.")
    require(isinstance(tokenizer, Tokenizer), "The second of the two should be its tokenizer.")
    plain = {name for name, _ in GPT(model.config).named_parameters()}
    hint = "It has parameters that a GPT of its shape has not: merge the adapters."
    require({name for name, _ in model.named_parameters()} == plain, hint)
    facts, _ = world()
    questions = [f.question(f.relation.templates["en"].questions[-1]) for f in facts]
    replies = ask_all(model, tokenizer, questions)
    whole = sum(len(reply.split()) >= FEWEST_WORDS for reply in replies) / len(facts)
    right = sum(f.answer == a for f, a in zip(facts, replies, strict=True)) / len(facts)
    text = f"{whole:.0%} of its answers are sentences and {right:.0%} are right"
    require(whole >= IN_SENTENCES, f"{text}; {IN_SENTENCES:.0%} sentences are asked.")
    require(right >= RIGHT, f"{text}; {RIGHT:.0%} right ones are asked.")
