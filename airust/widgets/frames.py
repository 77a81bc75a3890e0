"""What was recorded, as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airust.types import DoneEvent, TokenEvent
from airust.widgets.recorder import Recorded

if TYPE_CHECKING:
    import pandas as pd


def tokens_frame(recorded: Recorded | None) -> pd.DataFrame:
    """A row a token: text, id, logprob, probability, entropy over what is known, top, time.

    ``top`` holds (text, logprob) of the likeliest alternatives; ``entropy`` in nats is that of
    these alternatives with all others taken as one. ``time_s`` counts from the request's start.
    """
    import pandas as pd

    columns = ["token", "token_id", "logprob", "probability", "entropy", "top", "time_s"]
    rows = [_token_row(at, event) for at, event in _tokens(recorded)]
    return pd.DataFrame(rows, columns=columns)


def race_frame(recorded: Mapping[str, Recorded]) -> pd.DataFrame:
    """A row a model: its text and speed, and how far it agrees with the first one's tokens.

    ``agreed`` counts the first tokens that are the same by id, or by text where an engine tells
    no ids; ``first_difference`` shows the two tokens behind them, or None.
    """
    import pandas as pd

    first = [event for _, event in _tokens(next(iter(recorded.values())))]
    rows = {name: _race_row(entry, first) for name, entry in recorded.items()}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index.name = "model"
    return frame


def shown_race_frame(result: Mapping[str, Any]) -> pd.DataFrame:
    """What the front end tells of a race (``airust/ui/race.js``), a row a model."""
    import pandas as pd

    columns = ["engine", "text", "tokens", "ttft_s", "tokens_per_s", "finish_reason"]
    frame = pd.DataFrame(result.get("rows", []), columns=["model", *columns]).set_index("model")
    frame.attrs.update({name: value for name, value in result.items() if name != "rows"})
    return frame


def _tokens(recorded: Recorded | None) -> list[tuple[float, TokenEvent]]:
    """Text that was held back comes as an event without an id behind the tokens: no row of it."""
    found = list(recorded.tokens) if recorded is not None else []
    if any(event.token_id is not None for _, event in found):
        found = [(at, event) for at, event in found if event.token_id is not None]
    return found


def _token_row(at: float, event: TokenEvent) -> tuple[Any, ...]:
    probability = None if event.logprob is None else math.exp(event.logprob)
    top = [(choice.text, choice.logprob) for choice in event.top]
    return (event.text, event.token_id, event.logprob, probability, _entropy(event), top, at)


def _entropy(event: TokenEvent) -> float | None:
    if not event.top:
        return None
    shares = [math.exp(choice.logprob) for choice in event.top]
    shares.append(max(0.0, 1 - sum(shares)))
    return -sum(share * math.log(share) for share in shares if share > 0)


def _race_row(entry: Recorded, first: Sequence[TokenEvent]) -> dict[str, Any]:
    timed = _tokens(entry)
    tokens = [event for _, event in timed]
    agreed = 0
    for mine, other in zip(tokens, first, strict=False):
        if not _same(mine, other):
            break
        agreed += 1
    differs = agreed < min(len(tokens), len(first))
    spent = timed[-1][0] - timed[0][0] if len(timed) > 1 else 0.0
    done = entry.last if isinstance(entry.last, DoneEvent) else None
    return {
        "text": entry.text,
        "tokens": len(tokens),
        "ttft_s": timed[0][0] if timed else None,
        "tokens_per_s": (len(timed) - 1) / spent if spent else None,
        "finish_reason": done.finish_reason if done else "error",
        "agreed": agreed,
        "first_difference": (first[agreed].text, tokens[agreed].text) if differs else None,
    }


def _same(a: TokenEvent, b: TokenEvent) -> bool:
    if a.token_id is None or b.token_id is None:
        return a.text == b.text
    return a.token_id == b.token_id
