"""The figures of serving, by formula. All times in seconds; t0 is when a request was due.

With arrivals a_1 ... a_n of an answer's n tokens (tokens that came in one piece arrive together):

* **TTFT**, time to first token: a_1 - t0;
* **ITL**, inter-token latency: every a_k - a_(k-1);
* **TPOT**, time per output token: (a_n - a_1) / (n - 1), the mean of the answer's ITL. vLLM's and
  ours; guidellm's ``time_per_output_token`` is (a_n - t0) / n, with TTFT in it;
* **E2E**: a_n - t0 (not the end of the stream: a server may linger over closing it);
* **output rate**: tokens of all answers / time from the first due request to the last token;
* **request rate**: answers / the same time;
* **goodput**: answers that meet the limits of TTFT, TPOT and E2E, all three / the same time.

A quantile is given only where at least one value lies beyond it on average: n (1 - q) >= 1.
Failed and wrong answers are in no latency; they count against goodput and are told.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from airust.types import UserError

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
LATENCIES = ("ttft", "itl", "tpot", "e2e")
RATES = ("output_rate", "request_rate", "goodput")
Asked = Mapping[str, Any]  # serve_load.Asked as a dict


@dataclass(frozen=True, slots=True)
class Targets:
    """What an answer must keep to count as good; None is no limit.

    Raises:
        UserError: one is not above 0.
    """

    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not value > 0:
                raise UserError(f"The limit {name} is {value} but must be above 0.")

    def met(self, times: Mapping[str, float]) -> bool:
        """Whether an answer with these times is good.

        >>> Targets(ttft_s=0.2).met({"ttft": 0.1}), Targets(tpot_s=0.01).met({"tpot": 0.02})
        (True, False)
        """
        limits = {"ttft": self.ttft_s, "tpot": self.tpot_s, "e2e": self.e2e_s}
        return all(v is None or k not in times or times[k] <= v for k, v in limits.items())


def answer_times(asked: Asked) -> dict[str, float]:
    """TTFT, TPOT and E2E of one answer; TPOT only of two tokens or more.

    >>> found = answer_times({"due_s": 1.0, "arrivals_s": [1.5, 1.6, 1.7], "tokens": 3})
    >>> {name: round(value, 3) for name, value in found.items()}
    {'ttft': 0.5, 'e2e': 0.7, 'tpot': 0.1}
    """
    arrivals, due = asked["arrivals_s"], asked["due_s"]
    if not arrivals:
        return {}
    found = {"ttft": arrivals[0] - due, "e2e": arrivals[-1] - due}
    if asked["tokens"] > 1 and arrivals[-1] > arrivals[0]:
        found["tpot"] = (arrivals[-1] - arrivals[0]) / (asked["tokens"] - 1)
    return found


def inter_token_latencies(asked: Asked) -> list[float]:
    """Gaps between the arrivals of tokens."""
    arrivals = asked["arrivals_s"]
    return [after - before for before, after in itertools.pairwise(arrivals)]


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """The quantiles that so many values support.

    >>> sorted(quantiles([0.1] * 10))
    ['p50', 'p90']
    """
    count = len(values)
    kept = {name: q for name, q in QUANTILES.items() if round(count * (1 - q), 9) >= 1}
    return {name: float(np.quantile(values, q)) for name, q in kept.items()}


def point_values(requests: Sequence[Asked], limits: Targets) -> dict[str, float]:
    """The figures of one point in one launch; every request says in ``right`` if it counts."""
    good = [asked for asked in requests if asked["right"]]
    times = [answer_times(asked) for asked in good]
    found: dict[str, float] = {}
    for name in LATENCIES:
        values = (
            [gap for asked in good for gap in inter_token_latencies(asked)]
            if name == "itl"
            else [each[name] for each in times if name in each]
        )
        found |= {f"{name}_{q}": value for q, value in quantiles(values).items()}
    last = max((a["arrivals_s"][-1] for a in good if a["arrivals_s"]), default=0.0)
    seconds = last - min((a["due_s"] for a in requests), default=0.0)
    if seconds > 0:
        found["output_rate"] = sum(asked["tokens"] for asked in good) / seconds
        found["request_rate"] = len(good) / seconds
        found["goodput"] = sum(map(limits.met, times)) / seconds
    return found


def lateness(requests: Sequence[Asked]) -> float:
    """How late this client sent its requests: the largest of all."""
    return max((asked["sent_s"] - asked["due_s"] for asked in requests), default=0.0)


def slow_down(requests: Sequence[Asked]) -> float | None:
    """How much longer a token took in the second half of the answers than in the first.

    The geometric mean over answers of two tokens or more on either side; None without any.
    """
    logs = []
    for asked in requests:
        arrivals = asked["arrivals_s"]
        middle = len(arrivals) // 2
        if min(middle, len(arrivals) - 1 - middle) >= 2:
            first = (arrivals[middle] - arrivals[0]) / middle
            second = (arrivals[-1] - arrivals[middle]) / (len(arrivals) - 1 - middle)
            if first > 0 and second > 0:
                logs.append(np.log(second / first))
    return float(np.exp(np.mean(logs))) if logs else None
