"""Text from the model, one token at a time.

Generation has two phases. **Prefill** runs the prompt through the model and fills the KV cache,
many positions at once. **Decode** then repeats: choose a token from the last logits, run it alone,
get the next logits.

This is the plain way, for one text. ``airust.engines.torch`` serves many at once with the same
sampling.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from airust.gpt.kv_cache import KVCache
from airust.gpt.model import GPT
from airust.gpt.sampling import Adjustments, Dice, choose, top_logprobs
from airust.gpt.text import TextStream
from airust.gpt.tokenizer import Tokenizer
from airust.types import ContextOverflowError, Message, SamplingParams, UserError


class Step(NamedTuple):
    """One generated token."""

    token_id: int
    logprob: float  # of this token, before temperature and filters; natural logarithm
    top: tuple[tuple[int, float], ...]  # the likeliest tokens there, as asked by params.logprobs


def prefill(
    model: GPT,
    token_ids: Sequence[int],
    cache: KVCache,
    chunk: int | None = None,
    length: int | None = None,
) -> Tensor:
    """Run tokens through the model into the cache; logits (V) after the last of them.

    Args:
        chunk: positions at a time; smaller chunks need less memory. None is all at once.
        length: of the whole text, as in ``GPT.hidden``; up to these tokens if not given.
    """
    ids = torch.tensor([token_ids], device=model.embed_tokens.weight.device)  # (1, T)
    chunk, length = chunk or ids.shape[1], length or cache.length + ids.shape[1]
    for start in range(0, ids.shape[1], chunk):
        part = ids[:, start : start + chunk]
        hidden = model.hidden(part, cache=cache, length=length)  # (1, chunk, C)
    logits: Tensor = model.lm_head(hidden[0, -1])  # (V): one position instead of all
    return logits


@torch.inference_mode()
def generate(
    model: GPT,
    token_ids: Sequence[int],
    params: SamplingParams,
    eos_ids: Collection[int] = (),
    chunk: int | None = None,
) -> Iterator[Step]:
    """Tokens that follow the prompt, as they are chosen.

    Ends after ``params.max_tokens``, at the end of the model's context, or before a token of
    ``eos_ids``, which is not part of the answer. ``params.stop`` is for ``stream_text``.

    A text that grows beyond LongRoPE's original context has all its keys turned by other factors
    from there on; its cache is computed anew, as in transformers.

    Raises:
        UserError: the prompt is empty.
        ContextOverflowError: the prompt leaves no room for a token.
    """
    if not token_ids:
        raise UserError("Generation needs at least one token to go on from.")
    room = model.config.context - len(token_ids)
    if room < 1:
        raise ContextOverflowError(
            f"The prompt has {len(token_ids)} tokens but the model's context holds "
            f"{model.config.context}; shorten it."
        )
    weight = model.embed_tokens.weight
    limit = min(params.max_tokens, room)
    capacity = len(token_ids) + limit
    cache = KVCache(model.config, capacity=capacity, dtype=weight.dtype, device=weight.device)
    dice = Dice(params.seed)
    adjust = Adjustments(params, token_ids, model.config.vocab_size, weight.device)
    ids, rotary_start = [*token_ids], model.config.rotary_start
    for _ in range(limit):
        if rotary_start(len(ids)) != rotary_start(cache.length):
            cache.truncate(0)
        fresh = ids[cache.length :]
        logits = prefill(model, fresh, cache, chunk).float()  # decoding is a prefill of one token
        token = choose(logits, params, dice, adjust)
        if token in eos_ids and not params.ignore_eos:
            return
        logprob = float(logits.log_softmax(-1)[token])
        yield Step(token, logprob, top_logprobs(logits, params.logprobs or 0))
        adjust.note(token)
        ids.append(token)


def stream_text(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str | Sequence[Message],
    params: SamplingParams | None = None,
) -> Iterator[str]:
    """The answer's text in pieces, ending before the first of ``params.stop``.

    Args:
        prompt: a conversation to answer, or raw text to go on from.
        params: greedy decoding if not given.
    """
    params = params or SamplingParams()
    ids = tokenizer.encode(prompt) if isinstance(prompt, str) else tokenizer.encode_chat(prompt)
    stream = TextStream(tokenizer.decode, params.stop, tokenizer.whole)
    for step in generate(model, ids, params, tokenizer.eos_ids):
        if piece := stream.push(step.token_id):
            yield piece
        if stream.stopped:
            return
    if rest := stream.finish():
        yield rest


def generate_text(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str | Sequence[Message],
    params: SamplingParams | None = None,
) -> str:
    """The whole answer at once; see ``stream_text``."""
    return "".join(stream_text(model, tokenizer, prompt, params))
