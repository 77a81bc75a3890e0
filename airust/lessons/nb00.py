"""Where do you start, and where does this path lead?

Checks of notebook 00.
"""

from __future__ import annotations

import math
from typing import Any

from airust.corpus.curriculum import Corpus
from airust.corpus.exam import fact_questions
from airust.lessons.checker import Wrong, close, digest, require


def ex1(answer: Any) -> None:
    """The folder of the trained model."""
    found = digest("nb00.ex1", str(answer).strip("/"))
    hint = "Look again at the table of places: one of them is the folder of the model."
    require(found == "c14f759914be", hint)


def ex2(answer: Any) -> None:
    """The parameters of the preset `small`."""
    from airust.gpt.presets import PRESETS

    config = PRESETS["small"].model
    wide, head = config.hidden_size, config.head_dim
    attention = wide * head * (2 * config.heads + 2 * config.kv_heads) + 2 * head
    block = attention + 3 * wide * config.ffn_size + 2 * wide
    expected = config.vocab_size * wide + config.layers * block + wide
    if answer == expected + config.vocab_size * wide:
        raise Wrong("You counted the embedding twice: input and output share one table here.")
    close(answer, expected, 0, "Call count_parameters with the right preset, and add up all parts.")


def ex3(answer: Any) -> None:
    """A conversation in the chat form."""
    require(isinstance(answer, str), "Your function should return a text.")
    expected = [
        "<|im_start|>user\nWhat is rust?<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>user\n水为什么往低处流？<|im_end|>\n<|im_start|>assistant\n",
    ]
    require("<|im_start|>" in answer, "Every turn begins with the special token <|im_start|>.")
    hint = "Compare your text with the one printed above, character by character; repr() shows \\n."
    require(answer in expected, hint)


def ex4(answer: Any) -> None:
    """From logprobs of tokens to the probability of the text."""
    for logprobs in ([-0.1, -0.2, -0.7], [math.log(0.5)] * 3, [0.0], []):
        hint = "Probabilities of tokens in a row multiply; their logarithms add up."
        close(answer(logprobs), math.exp(sum(logprobs)), 1e-9, hint)


def ex5(answer: Any) -> None:
    """A question from the exam."""
    require(isinstance(answer, str), "Write the question as a text.")
    asked = {question.text: question.part for question in fact_questions(Corpus.load())}
    require(answer in asked, "The exam has no such question; take the text as it stands there.")
    require(asked[answer].startswith("held_out"), "Training had questions about this entity.")


def ex6(answer: Any) -> None:
    """A configuration of a given size."""
    from airust.gpt.config import GPTConfig

    require(isinstance(answer, GPTConfig), "The answer should be a GPTConfig.")
    import torch

    from airust.gpt.model import GPT

    with torch.device("meta"):
        count = GPT(answer).parameter_count()
    share = answer.vocab_size * answer.hidden_size / count
    require(count <= 1_000_000, f"It has {count:,} parameters, which is more than a million.")
    require(count >= 900_000, f"It has {count:,} parameters; come closer to a million.")
    hint = f"The embedding takes {share:.0%} of it, which leaves too little for the blocks."
    require(share < 0.5, hint)
