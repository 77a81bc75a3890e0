"""Our own engine: the GPT of ``airust.gpt`` served to many at once.

    engine      the engine contract: options, requests in, scores
    scheduler   one thread; continuous batching, chunked prefill
    job         one request on its way
    sampler     the next token of every row
    slots       the KV cache of many sequences, prefix reuse
    steps       what one forward pass computes
    weights     the weights of a block, joined
    forward     the forward pass, flattened for speed
    compiled    a step in one compiled call
    kernels     the compiled loops
    panels      the innermost one: a tile of a matrix product
    team        threads that work through a step together
    linear      matrix products by a library
    threads     how many threads a step should use
    device      CPU or GPU, and which numbers
    graphs      decode steps on a GPU, recorded once

>>> from airust.gpt.config import GPTConfig
>>> from airust.gpt.model import GPT
>>> from airust.gpt.tokenizer import character_tokenizer
>>> from airust.types import Request, SamplingParams
>>> tokenizer = character_tokenizer(["abc"])
>>> config = GPTConfig(tokenizer.vocab_size, hidden_size=16, layers=1, heads=1, kv_heads=1,
...                    head_dim=16, ffn_size=16, context=32)
>>> with TorchEngine(GPT(config), tokenizer) as engine:
...     params = SamplingParams(max_tokens=5, ignore_eos=True)
...     answer = engine.generate(Request(prompt="abc", params=params))
>>> answer.usage.prompt_tokens, answer.usage.completion_tokens
(3, 5)
"""

import airust.gpt  # noqa: F401  before torch: it tells OpenMP how to wait
from airust.engines.torch.engine import TorchEngine, TorchOptions

__all__ = ["TorchEngine", "TorchOptions"]
