"""From logits to the next token.

The model gives one number (logit) for each token of the vocabulary. The steps, in this order,
which is that of Hugging Face's ``generate``:

1. ``add_bias``             the request likes or dislikes single tokens (logit_bias)
2. ``penalise_repetition``  tokens seen before lose (CTRL, Keskar et al. 2019, section 4.1)
3. ``penalise_frequency``   tokens generated before lose (presence and frequency, as OpenAI's API)
4. ``keep_allowed``         only tokens that a grammar allows here, if there is one
5. greedy decoding ends here: the largest logit wins
6. ``apply_temperature``    below 1 sharpens the distribution, above 1 flattens it
7. ``keep_top_k``           only the k likeliest tokens (Fan et al. 2018, section 5.2)
8. ``keep_top_p``           only the nucleus (Holtzman et al. 2020, section 3.1)
9. ``keep_min_p``           only tokens near the likeliest (Nguyen et al. 2024, section 3)
10. ``draw``                one token at random, as likely as what is left says

Each step takes and returns logits (B, V); a token that is out has the logit minus infinity. The
logprobs that an engine reports are those of the model itself, before the first step.

>>> logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
>>> probabilities(logits, SamplingParams(temperature=1.0, top_k=2))
tensor([[0.7311, 0.2689, 0.0000, 0.0000]])
>>> draw(probabilities(logits, SamplingParams(temperature=1.0)), torch.tensor([0.9]))
tensor([2])
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from airust.types import SamplingParams, UserError

OUT = float("-inf")


def add_bias(logits: Tensor, tokens: Tensor, bias: Tensor) -> Tensor:
    """Add to the logits of some tokens: ``tokens`` (n) are their ids, ``bias`` (n) what to add.

    >>> add_bias(torch.zeros(1, 4), torch.tensor([2, 0]), torch.tensor([5.0, -1.0]))
    tensor([[-1.,  0.,  5.,  0.]])
    """
    return logits.index_add(-1, tokens, bias.expand(*logits.shape[:-1], -1))


def penalise_repetition(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make tokens less likely that are in the text already; ``seen`` is (B, V), true for those.

    A positive logit is divided by the penalty and a negative one multiplied, so that both sink.
    """
    penalised = torch.where(logits < 0, logits * penalty, logits / penalty)
    return torch.where(seen, penalised, logits)


def penalise_frequency(logits: Tensor, counts: Tensor, presence: float, frequency: float) -> Tensor:
    """Make tokens less likely that have been generated; ``counts`` (B, V) says how often.

    ``presence`` is taken off once, ``frequency`` once for each time. The prompt does not count.

    >>> penalise_frequency(torch.zeros(3), torch.tensor([0.0, 1.0, 3.0]), 0.5, 0.25)
    tensor([ 0.0000, -0.7500, -1.2500])
    """
    return logits - presence * (counts > 0) - frequency * counts


def keep_allowed(logits: Tensor, allowed: Tensor) -> Tensor:
    """Drop the tokens that ``allowed`` (B, V) is false for."""
    return logits.masked_fill(~allowed, OUT)


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
    """Steps 6 to 9: the distribution that a token is drawn from, (B, V) -> (B, V)."""
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


class Adjustments:
    """Steps 1 to 3 for one text: what its parameters and its tokens so far do to the logits.

    >>> adjust = Adjustments(SamplingParams(frequency_penalty=1.0), prompt=[0], vocab_size=3)
    >>> adjust.note(2)
    >>> adjust(torch.zeros(3))
    tensor([ 0.,  0., -1.])

    Args:
        prompt: counts for the repetition penalty only.
        vocab_size: of the logits.

    Raises:
        UserError: logit_bias names a token outside the vocabulary.
    """

    def __init__(
        self,
        params: SamplingParams,
        prompt: Sequence[int],
        vocab_size: int,
        device: torch.device | None = None,
    ) -> None:
        self._params = params
        self._bias: tuple[Tensor, Tensor] | None = None
        self._seen: Tensor | None = None
        self._counts: Tensor | None = None
        for token, _ in params.logit_bias:
            if not 0 <= token < vocab_size:
                raise UserError(
                    f"logit_bias names token id {token}, which is outside the vocabulary of "
                    f"{vocab_size}."
                )
        if params.logit_bias:
            tokens, bias = zip(*params.logit_bias, strict=True)
            values = torch.tensor(bias, dtype=torch.float32, device=device)
            self._bias = torch.tensor(tokens, device=device), values
        if params.repetition_penalty != 1:
            self._seen = torch.zeros(vocab_size, dtype=torch.bool, device=device)
            self._seen[list(prompt)] = True
        if params.presence_penalty or params.frequency_penalty:
            self._counts = torch.zeros(vocab_size, device=device)

    @property
    def needed(self) -> bool:
        """Whether the logits would change at all."""
        return any(part is not None for part in (self._bias, self._seen, self._counts))

    def note(self, token: int) -> None:
        """The token has been generated."""
        if self._seen is not None:
            self._seen[token] = True
        if self._counts is not None:
            self._counts[token] += 1

    def __call__(self, logits: Tensor) -> Tensor:  # (V) -> (V)
        params = self._params
        if self._bias is not None:
            logits = add_bias(logits, *self._bias)
        if self._seen is not None:
            logits = penalise_repetition(logits, self._seen, params.repetition_penalty)
        if self._counts is not None:
            logits = penalise_frequency(
                logits, self._counts, params.presence_penalty, params.frequency_penalty
            )
        return logits


def choose(
    logits: Tensor,
    params: SamplingParams,
    dice: Dice,
    adjust: Adjustments | None = None,
    allowed: Tensor | None = None,
) -> int:
    """One token from the logits (V) of one position; ``allowed`` (V) is a grammar's."""
    if adjust is not None:
        logits = adjust(logits)
    if allowed is not None:
        logits = keep_allowed(logits, allowed)
    if params.temperature == 0:
        return int(logits.argmax())
    luck = torch.tensor([dice.roll()], device=logits.device)
    return int(draw(probabilities(logits[None], params), luck))


def top_logprobs(logits: Tensor, k: int) -> tuple[tuple[int, float], ...]:
    """The k likeliest tokens of logits (V) with the natural logarithms of their probabilities."""
    top = logits.float().log_softmax(-1).topk(min(k, logits.shape[-1]))
    return tuple(zip(top.indices.tolist(), top.values.tolist(), strict=True))
