"""What is reported, in which unit, and the summary of all launches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airust.bench.runner import AA_SUFFIX
from airust.bench.statistics import Samples, aa_band, ratio, summarise, verdict


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of an engine. Stored in the base unit, shown in ``unit``."""

    key: str
    title: str
    unit: str  # as shown
    scale: float  # stored value * scale = shown value
    higher_is_better: bool


def metrics(streams: Sequence[int]) -> tuple[Metric, ...]:
    """All metrics of a run."""
    fixed = (
        Metric("ttft", "Time to first token", "ms", 1e3, False),
        Metric("prefill", "Prefill rate", "tokens/s", 1, True),
        Metric("memory", "Peak memory", "MB", 1e-6, False),
        Metric("load", "Load time", "s", 1, False),
    )
    decode = tuple(
        Metric(f"decode_{s}", f"Decode rate, {_streams(s)}", "tokens/s", 1, True) for s in streams
    )
    cpu = tuple(
        Metric(f"cpu_per_token_{s}", f"CPU time per token, {_streams(s)}", "ms", 1e3, False)
        for s in streams
    )
    return (*fixed[:2], *decode, *fixed[2:], *cpu)


def _streams(count: int) -> str:
    return "1 stream" if count == 1 else f"{count} streams"


Blocks = dict[int, list[float]]  # block -> the repeats of that launch


def collect(launches: Sequence[dict[str, Any]], label: str, key: str) -> Blocks:
    """The repeats of one metric of one entry, by block; failed launches have none."""
    return {
        record["block"]: record["values"][key]
        for record in launches
        if record["label"] == label and record["values"].get(key)
    }


def withheld(launches: Sequence[dict[str, Any]], label: str) -> str | None:
    """Why an entry gets no figures: a wrong answer in any launch, or no launch that worked."""
    records = [record for record in launches if record["label"] == label]
    for record in records:
        if record["checks"]["wrong"]:
            return str(record["error"])
    if records and all(record["error"] for record in records):
        return str(records[0]["error"])
    return None


def loaded_settings(launches: Sequence[dict[str, Any]], label: str) -> dict[str, Any]:
    """What the engine said it had loaded: dtype, threads and the like."""
    found = (launch.get("settings") for launch in launches if launch["label"] == label)
    settings: dict[str, Any] = next(filter(None, found), {})
    return {"settings": settings, "dtype": settings.get("dtype")}


def summary(
    launches: Sequence[dict[str, Any]], labels: Sequence[str], streams: Sequence[int], seed: int
) -> dict[str, Any]:
    """Estimates, ratios to the first label, and the A/A band of every metric.

    ``labels[0]`` is the baseline; its twin carries the A/A suffix.
    """
    good = [label for label in labels if withheld(launches, label) is None]
    return {
        metric.key: metric_summary(launches, good, labels[0], metric.key, seed)
        for metric in metrics(streams)
    }


def metric_summary(
    launches: Sequence[dict[str, Any]], labels: Sequence[str], base: str, key: str, seed: int
) -> dict[str, Any]:
    """One metric: estimates, ratios to the label ``base``, and its A/A band."""
    blocks = {label: collect(launches, label, key) for label in labels}
    baseline = blocks.get(base, {})
    band = _band(baseline, blocks.get(base + AA_SUFFIX, {}))
    return {
        "aa_band": band,
        "engines": {
            label: summarise(list(values.values()), seed).to_dict()
            for label, values in blocks.items()
            if values
        },
        "ratios": {
            label: _ratio(values, baseline, band, seed)
            for label, values in blocks.items()
            if label != base and set(values) & set(baseline)
        },
    }


def _paired(a: Blocks, b: Blocks) -> tuple[Samples, Samples]:
    both = sorted(set(a) & set(b))
    return [a[block] for block in both], [b[block] for block in both]


def _band(first: Blocks, second: Blocks) -> float | None:
    a, b = _paired(first, second)
    return aa_band(a, b) if a else None


def _ratio(values: Blocks, baseline: Blocks, band: float | None, seed: int) -> dict[str, Any]:
    interval = ratio(*_paired(values, baseline), seed=seed)
    found = "not known" if band is None else verdict(interval, band)
    return interval.to_dict() | {"verdict": found}


def cross_check(launches: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Label -> decode rate at one stream / the rate at which one answer streams; 1 is right."""
    found = {}
    for label in dict.fromkeys(record["label"] for record in launches):
        both = _paired(collect(launches, label, "decode_1"), collect(launches, label, "streamed_1"))
        if both[0]:
            found[label] = ratio(*both).estimate
    return found


# A parameter; Q8_0 stores 32 of them as 32 int8 and a float16.
BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "int8": 1.0, "q8_0": 34 / 32}
# float16 has no fast matrix units on most processors: it is converted to float32
MATRIX_RATE = {"bfloat16": "matmul_bf16", "int8": "matmul_int8", "q8_0": "matmul_int8"}


def shares(
    summary: dict[str, Any],
    entries: Sequence[dict[str, Any]],
    ceilings: dict[str, Any],
    parameters: int,
    streams: Sequence[int],
) -> dict[str, Any]:
    """Every rate beside its ceiling: metric -> label -> {"ceiling": tokens/s, "share": of 1}.

    Ceiling at S streams = min(S * bandwidth / bytes per token, matrix rate / FLOP per token),
    with bytes per token = parameters read * bytes each, and 2 FLOP a parameter (a multiplication
    and an addition). The KV cache and attention scores are left out: at these lengths they are
    small beside the weights. Prefill has the matrix rate alone as its ceiling.
    """
    found: dict[str, Any] = {}
    for key, count in [("prefill", math.inf), *((f"decode_{s}", float(s)) for s in streams)]:
        for entry in entries:
            dtype = str(entry["dtype"]).lower()
            estimate = summary[key]["engines"].get(entry["label"])
            if estimate and dtype in BYTES:
                ceiling = attainable(ceilings, parameters, dtype, count)
                found.setdefault(key, {})[entry["label"]] = {
                    "ceiling": ceiling,
                    "share": estimate["estimate"] / ceiling,
                }
    return found


def nearest_bandwidth(ceilings: dict[str, Any], size: float) -> float:
    """GB/s at the measured working set that is nearest to so many bytes."""
    nearest = min(ceilings["bandwidth"], key=lambda text: abs(int(text) - size))
    return float(ceilings["bandwidth"][nearest])


def attainable(ceilings: dict[str, Any], parameters: int, dtype: str, streams: float) -> float:
    """Tokens/s at S streams that the measured ceilings allow."""
    size = parameters * BYTES[dtype]
    by_memory = streams * nearest_bandwidth(ceilings, size) * 1e9 / size
    rate = ceilings[MATRIX_RATE.get(dtype, "matmul_fp32")]
    return float(min(by_memory, rate * 1e9 / (2 * parameters)))
