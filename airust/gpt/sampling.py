"""From logits to the next token.

The model gives one number (logit) for each token of the vocabulary. The steps, in this order,
which is that of Hugging Face's ``generate``:

1. ``penalise_repetition``  tokens seen before lose (CTRL, Keskar et al. 2019, section 4.1)
2. greedy decoding ends here: the largest logit wins
3. ``apply_temperature``    below 1 sharpens the distribution, above 1 flattens it
4. ``keep_top_k``           only the k likeliest tokens (Fan et al. 2018, section 5.2)
5. ``keep_top_p``           only the nucleus (Holtzman et al. 2020, section 3.1)
6. ``keep_min_p``           only tokens near the likeliest (Nguyen et al. 2024, section 3)
7. ``draw``                 one token at random, as likely as what is left says

Each step takes and returns logits (B, V); a token that is out has the logit minus infinity.

>>> logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
>>> probabilities(logits, SamplingParams(temperature=1.0, top_k=2))
tensor([[0.7311, 0.2689, 0.0000, 0.0000]])
>>> draw(probabilities(logits, SamplingParams(temperature=1.0)), torch.tensor([0.9]))
tensor([2])
"""

from __future__ import annotations

import torch
from torch import Tensor

from airust.types import SamplingParams

OUT = float("-inf")


def penalise_repetition(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make tokens less likely that are in the text already; ``seen`` is (B, V), true for those.

    A positive logit is divided by the penalty and a negative one multiplied, so that both sink.
    """
    penalised = torch.where(logits < 0, logits * penalty, logits / penalty)
    return torch.where(seen, penalised, logits)


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divide by the temperature, after a shift that changes no probability.

    With the largest logit at 0 even a temperature near 0 cannot overflow to infinity.
    """
    return (logits - logits.amax(-1, keepdim=True)) / temperature


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Drop what is less likely than the k-th likeliest token; ties with it stay."""
    if k >= logits.shape[-1]:
        return logits
    return logits.masked_fill(logits < logits.topk(k).values[..., -1:], OUT)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the nucleus: the fewest likeliest tokens that together have the probability p.

    Only candidates are sorted. Tokens below (1 - p) / V weigh less than 1 - p all together, so
    none of them is in the nucleus, and of a trained model's vocabulary that is nearly all.
    """
    probability = logits.softmax(-1)
    bound = (1 - p) / logits.shape[-1]
    candidates = max(int((probability > bound).sum(-1).max()), 1)
    likely, tokens = probability.topk(candidates)  # (B, candidates), likeliest first
    before = likely.cumsum(-1, dtype=torch.float64) - likely
    inside = before < p
    inside[..., 0] = True
    nucleus = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, tokens, inside)
    return logits.masked_fill(~nucleus, OUT)


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Drop tokens that are less likely than p times the likeliest."""
    probability = logits.softmax(-1)
    return logits.masked_fill(probability < p * probability.amax(-1, keepdim=True), OUT)


def probabilities(logits: Tensor, params: SamplingParams) -> Tensor:
    """Steps 3 to 6: the distribution that a token is drawn from, (B, V) -> (B, V)."""
    logits = apply_temperature(logits.float(), params.temperature)
    if params.top_k:
        logits = keep_top_k(logits, params.top_k)
    if params.top_p < 1:
        logits = keep_top_p(logits, params.top_p)
    if params.min_p:
        logits = keep_min_p(logits, params.min_p)
    return logits.softmax(-1)


def draw(probability: Tensor, luck: Tensor) -> Tensor:
    """The tokens at which the cumulative probability reaches ``luck``: (B, V), (B) -> (B).

    This is inverse transform sampling: one random number above 0 and up to 1 for each row. The
    sum runs in float64, and a token of probability 0 is never drawn, because the sum first
    reaches every value at a token that adds to it.
    """
    cumulative = probability.cumsum(-1, dtype=torch.float64)
    target = luck.to(torch.float64)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, target).squeeze(-1)


class Dice:
    """The random numbers of one request. The same seed gives the same numbers, on any machine.

    >>> first, again = Dice(7), Dice(7)
    >>> [first.roll() for _ in range(3)] == [again.roll() for _ in range(3)]
    True
    """

    def __init__(self, seed: int | None = None) -> None:
        self.generator = torch.Generator()
        if seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(seed % 2**64)
        self._numbers: list[float] = []

    def roll(self) -> float:
        """A number above 0 and up to 1."""
        if not self._numbers:
            # A call costs the same for one number as for many.
            numbers = 1 - torch.rand(64, generator=self.generator, dtype=torch.float64)
            self._numbers = numbers.tolist()
        return self._numbers.pop()


def choose(logits: Tensor, params: SamplingParams, dice: Dice, seen: Tensor | None = None) -> int:
    """One token from the logits (V) of one position; ``seen`` (V) is for the penalty."""
    if seen is not None and params.repetition_penalty != 1:
        logits = penalise_repetition(logits, seen, params.repetition_penalty)
    if params.temperature == 0:
        return int(logits.argmax())
    luck = torch.tensor([dice.roll()], device=logits.device)
    return int(draw(probabilities(logits[None], params), luck))


def top_logprobs(logits: Tensor, k: int) -> tuple[tuple[int, float], ...]:
    """The k likeliest tokens of logits (V) with the natural logarithms of their probabilities."""
    top = logits.float().log_softmax(-1).topk(min(k, logits.shape[-1]))
    return tuple(zip(top.indices.tolist(), top.values.tolist(), strict=True))
