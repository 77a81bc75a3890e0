"""From the records of timed training to results.json: a pure function of ``raw.jsonl``.

* **training rate**, tokens/s: tokens of a step, padding not counted / its time;
* **step time**, s;
* **share of the ceiling**: rate * FLOP a token / the matrix rate that the same process measured;
* **scaling**: rate with t threads / rate with the fewest, against how many times the threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from airust.bench.contention import reasons, usual_times
from airust.bench.journal import Record
from airust.bench.metrics import metric_summary
from airust.bench.run_folder import frame
from airust.bench.statistics import warm_up

SCHEMA = 1
KEYS = ("rate", "step", "share", "memory", "start")
SAME_LOSS = 0.05  # nats; other thread counts add in another order, and training amplifies it
SLOWED = 1.5  # times: the second half of a launch's steps against the first


def build_results(records: Sequence[Record]) -> dict[str, Any]:
    """Everything that is known so far."""
    plan, launched = records[0], [x for x in records if x["key"][0] == "launch"]
    calibrations = [c for record in launched for c in record["calibration"]]
    usual = usual_times(calibrations) if calibrations else None
    return frame(SCHEMA, "train", records) | {
        "calibration": {"usual": usual, "measured": len(calibrations)},
        "settings": plan["settings"],
        "learning": plan["learning"],
        "presets": [
            _preset(plan, name, [x for x in launched if x["key"][1] == name], usual)
            for name in plan["parameters"]["presets"]
        ],
    }


def _preset(
    plan: Record, name: str, records: Sequence[Record], usual: Mapping[str, float] | None
) -> dict[str, Any]:
    labels = [setting["label"] for setting in plan["settings"]]
    expected = next((x["losses"][-1] for x in records if not x["error"]), None)
    launches = [_compact(record, expected, usual) for record in records]
    good = [x for x in launches if not x["error"]]
    timed = [label for label in labels if any(x["label"] == label for x in good)]
    known = next((x for x in records if not x["error"]), {})
    seed = plan["parameters"]["seed"]
    summary = {key: metric_summary(good, timed, labels[0], key, seed) for key in KEYS}
    return {
        "name": name,
        "parameters": known.get("parameters"),
        "flops_per_token": known.get("flops_per_token"),
        "tokens_a_step": known.get("tokens_a_step"),
        "data_sha256": known.get("data_sha256"),
        "baseline": labels[0],
        "entries": [_entry(setting, launches) for setting in plan["settings"]],
        "losses": known.get("losses", []),
        "summary": {key: found for key, found in summary.items() if found["engines"]},
        "scaling": _scaling(plan["settings"], summary["rate"]),
        "launches": launches,
    }


def _entry(setting: Mapping[str, Any], launches: Sequence[Record]) -> dict[str, Any]:
    own = [x for x in launches if x["label"] == setting["label"]]
    errors = [x["error"] for x in own if x["error"]]
    good = [x for x in own if not x["error"]]
    return dict(setting) | {
        "reason": errors[0] if errors and not good else None,
        "dtype": good[0]["dtype"] if good else None,
        "final_loss": median(x["final_loss"] for x in good) if good else None,
        "ceiling_flops": max((x["ceiling_flops"] for x in good), default=None),
    }


def _scaling(settings: Sequence[Mapping[str, Any]], rate: Mapping[str, Any]) -> dict[str, Any]:
    """Label -> how many times the threads, how many times the rate, and the one / the other."""
    base = settings[0]
    found = {}
    for setting in settings:
        ratio = rate["ratios"].get(setting["label"])
        if ratio and setting["precision"] == base["precision"]:
            times = setting["threads"] / base["threads"]
            efficiency = ratio["estimate"] / times
            found[setting["label"]] = {
                "threads": times,
                "rate": ratio["estimate"],
                "efficiency": efficiency,
            }
    return found


def _compact(
    record: Record, expected: float | None, usual: Mapping[str, float] | None
) -> dict[str, Any]:
    shared = {
        "label": record["label"],
        "block": record["block"],
        "error": record["error"],
        "steal_share": record["steal_share"],
        "others_share": record["others_share"],
        "load_average": record["load_average"],
        "contended": reasons(record, usual) if usual else [],
    }
    empty = dict.fromkeys(("dtype", "final_loss", "ceiling_flops", "warm_up_steps", "slow_down"))
    if record["error"]:
        return shared | empty | {"marks": [], "values": {}}
    seconds, loss = record["steps_s"], record["losses"][-1]
    dropped = warm_up(seconds)
    kept, rates = seconds[dropped:], record["rates"][dropped:]
    half = len(kept) // 2
    slow = median(kept[half:]) / median(kept[:half])
    marks = []
    if slow > SLOWED:
        marks.append(f"a step took {slow:.2f} times as long in the second half")
    wrong = expected is not None and not abs(loss - expected) <= SAME_LOSS
    if wrong:
        shared["error"] = (
            f"it reached a loss of {loss:.4f} where the first launch had {expected:.4f}"
        )
    per_token = record["flops_per_token"] / record["ceiling_flops"]
    return shared | {
        "dtype": record["dtype"],
        "final_loss": loss,
        "ceiling_flops": record["ceiling_flops"],
        "warm_up_steps": dropped,
        "slow_down": slow,
        "marks": marks,
        "values": {}
        if wrong
        else {
            "rate": rates,
            "step": kept,
            "share": [rate * per_token for rate in rates],
            "memory": [record["peak_memory_bytes"]],
            "start": [record["load_s"]],
        },
    }
