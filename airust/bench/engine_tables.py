"""The words of ``airust bench engines``: Markdown made from its results.json alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airust.bench import tables
from airust.bench.metrics import BYTES, Metric, cross_check, metrics
from airust.bench.parity_gate import EXACT
from airust.bench.runner import AA_SUFFIX
from airust.bench.tables import NOTHING, is_twin, number, percent, table

Results = dict[str, Any]
Model = Results  # one of results["models"]
BEYOND = 1.1  # times the ceiling: not to be believed
DISAGREE = 1.25  # times: the decode rate against the streamed one


def view(results: Results, model: Model) -> Results:
    """One model as if it were all: what tables and figures about a single model read."""
    shared = {
        name: results[name] for name in ("host", "versions", "ceilings", "command", "missing")
    }
    given: Results = model["parameters"] | {
        "cores": results["parameters"]["cores"], "launches": results["parameters"]["launches"],
    }  # fmt: skip
    about: Results = model | model["learning"] | shared
    return about | {"parameters": given}


def headline(results: Results) -> str:
    """The run in a few sentences."""
    lines = []
    for model in results["models"]:
        name, engines = model["model"]["name"], model["parity"]["engines"]
        good = [
            e["label"] for e in model["entries"] if e["reason"] is None and not is_twin(e["label"])
        ]
        passed = f"**{len(good)} of {len(engines)}** engines computed the same function"
        lines.append(f"{name}: {passed}{': ' + ', '.join(good) if good else ''}.")
        for metric in metrics(model["parameters"]["streams"]):
            found = model["summary"].get(metric.key, {}).get("engines", {})
            named = {label: v for label, v in found.items() if not is_twin(label)}
            if named and metric.key.startswith(("decode_", "prefill")):
                best = max(named, key=lambda label: float(named[label]["estimate"]))
                value = named[best]
                lines.append(
                    f"{name}, {metric.title.lower()}: **{best}** has the highest estimate, "
                    f"{number(value['estimate'])} tokens/s ({tables.interval(value)})"
                    f"{_share(model, metric.key, best)}."
                )
    return "\n".join(f"- {line}" for line in lines) or "*Nothing was timed.*"


def _share(model: Model, key: str, label: str) -> str:
    found = model["shares"].get(key, {}).get(label)
    return f", {percent(found['share'])} of the ceiling" if found else ""


def losses(model: Model) -> str:
    """Where each engine is behind the best one, as prominent as where it is ahead."""
    rows = []
    for metric in shown_metrics(model):
        found = model["summary"].get(metric.key, {}).get("engines", {})
        named = {label: v["estimate"] for label, v in found.items() if not is_twin(label)}
        if len(named) > 1:
            pick, other = (max, min) if metric.higher_is_better else (min, max)
            best, worst = (f(named, key=lambda label: float(named[label])) for f in (pick, other))
            factor = named[best] / named[worst]
            factor = factor if metric.higher_is_better else 1 / factor
            rows.append((metric_title(model, metric), best, worst, f"{factor:.2f}x"))
    if not rows:
        return "*Nothing to compare.*"
    return table(("figure", "best", "worst", "between them"), rows, ":--")


def quality_table(model: Model) -> str:
    """Parity distance, perplexity and the exam of every engine and precision."""
    rows = []
    for found in model["parity"]["engines"]:
        quality = model["quality"].get(found["engine"])
        text, exam = (quality or {}).get("text"), (quality or {}).get("exam")
        rows.append(
            (
                found["engine"],
                found["dtype"] or NOTHING,
                number(found["mean_kl"]),
                number(found["max_delta"]),
                number(text["perplexity"]) if text else NOTHING,
                f"{text['excess']:+.4f}" if text else NOTHING,
                f"{text['scored']} of {text['tokens']}" if text else NOTHING,
                f"{exam['right']} of {exam['n']}" if exam else NOTHING,
                (quality or {}).get("error") or "",
            )
        )
    header = (
        "engine", "dtype", "mean KL (nats)", "largest abs. Δ logprob", "perplexity",
        "nats a token above float32", "tokens scored", "held-out questions right", "",
    )  # fmt: skip
    return table(header, rows)


def trade_table(model: Model) -> str:
    """What a precision costs in quality, and what it saves in bytes and time."""
    rates = model["summary"].get("decode_1", {"engines": {}, "ratios": {}})
    kl = {found["engine"]: found["mean_kl"] for found in model["parity"]["engines"]}
    rows = []
    for entry in model["entries"]:
        label = entry["label"]
        if is_twin(label):
            continue
        size, rate = weight_bytes(model, entry), rates["engines"].get(label)
        exam = (model["quality"].get(label) or {}).get("exam")
        ratio = rates["ratios"].get(label)
        rows.append(
            (
                label,
                entry["dtype"] or NOTHING,
                number(size / 1e6) if size else NOTHING,
                number(kl.get(label)),
                percent(exam["right"] / exam["n"]) if exam else NOTHING,
                number(rate["estimate"]) if rate else NOTHING,
                f"{number(ratio['estimate'])}x ({tables.interval(ratio)})" if ratio else NOTHING,
            )
        )
    header = (
        "engine", "weights in", "MB of weights", "mean KL (nats)", "held-out questions right",
        "tokens/s, 1 stream", f"against {model['baseline']}",
    )  # fmt: skip
    return table(header, rows)


def trade_headline(results: Results) -> str:
    """The quantisation report in a few sentences."""
    lines = []
    for model in results["models"]:
        kl = {found["engine"]: found["mean_kl"] for found in model["parity"]["engines"]}
        ratios = model["summary"].get("decode_1", {"ratios": {}})["ratios"]
        for label, ratio in ratios.items():
            if not is_twin(label) and kl.get(label) is not None:
                times = f"{number(ratio['estimate'])} times ({tables.interval(ratio)})"
                lines.append(
                    f"{model['model']['name']}: **{label}** decodes {times} as fast as "
                    f"{model['baseline']}, at a mean divergence of {number(kl[label])} nats."
                )
    return "\n".join(f"- {line}" for line in lines) or "*Nothing was timed.*"


def weight_bytes(model: Model, entry: Results) -> float | None:
    """Bytes of the weights in an engine's number format; None where that is not known."""
    size = BYTES.get(str(entry["dtype"]).lower())
    return None if size is None else size * float(model["model"]["parameters"])


def marks(results: Results) -> str:
    """Launches that slowed down, warmed up for longer, or failed."""
    rows = []
    for model in results["models"]:
        for launch in model["launches"]:
            notes = list(launch["marks"])
            notes += [f"{k}: {n} more repeats were warm-up" for k, n in launch["warm_up"].items()]
            notes += [launch["error"]] if launch["error"] else []
            name = model["model"]["name"]
            rows += [(name, launch["label"], str(launch["block"]), note) for note in notes]
    if not rows:
        return "No launch failed, slowed down, or needed more warm-up than one repeat."
    return table(("model", "engine", "block", "what happened"), rows, ":--")


def learning(results: Results, model: Model) -> str:
    """Training and exam of a model that was trained here; nothing for others."""
    if model["learning"]["training"] is None and model["learning"]["evaluation"] is None:
        return ""
    shown = view(results, model)
    parts = [tables.training(shown), tables.evaluation(shown), tables.comparison(shown)]
    return "\n\n".join(part for part in parts if part)


def summary_page(results: Results) -> str:
    """summary.md: everything on one page."""
    given = results["parameters"]
    parts = [
        "# Engines compared",
        f"{results['created']} · {results['host']['cpu']} · {given['cores']} cores",
        results["ended"],
        headline(results),
        tables.host(results),
        *(part for model in results["models"] for part in _model_parts(results, model)),
        "## Ceilings",
        tables.ceilings(results) if results["ceilings"] else "*Not measured.*",
        "## The machine meanwhile",
        contention(results),
        marks(results),
        tables.jobs(results),
        "## What the figures say and do not say",
        "\n".join(f"- {point}" for point in limits(results)),
        "## Again",
        f"```bash\n{results['command']}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _model_parts(results: Results, model: Results) -> list[str]:
    model = view(results, model)
    parts = [
        f"## {model['model']['name']}: {model['model']['parameters']:,} parameters",
        tables.model(model),
        "\n".join(f"- {note}" for note in notes(model)),
        "### Parity, before anything was timed",
        tables.parity(model) if model["parity"]["engines"] else "*Not checked yet.*",
        tables.not_timed(model),
        "### Quality",
        quality_table(model),
        f"### Threads, chosen in a sweep of at most {results['parameters']['tune_s']:g} s",
        thread_sweep(model),
        tables.engine_settings(model) if model["launches"] else "",
        "### Figures",
    ]
    parts += [titled_table(model, metric) for metric in shown_metrics(model)]
    parts += ["### Best and worst", losses(model)]
    parts += ["### Cross-check", check_table(model)]
    if trained := learning(results, model):
        parts += ["### Training and exam", trained]
    return [part for part in parts if part]


def shown_metrics(model: Results) -> list[Metric]:
    """The metrics of a table: all but processor time."""
    found = metrics(model["parameters"]["streams"])
    return [metric for metric in found if not metric.key.startswith("cpu_")]


def metric_title(model: Results, metric: Metric) -> str:
    """A metric with what it was measured at."""
    given = model["parameters"]
    return {
        "ttft": f"{metric.title}, prompt of {given['prompt_tokens']}",
        "prefill": f"{metric.title}, {given['prefill_tokens']} tokens",
        "memory": f"{metric.title}, up to {max(given['streams'])} streams",
    }.get(metric.key, metric.title)


def titled_table(model: Results, metric: Metric) -> str:
    """The report's table of a metric under the title that says what it was measured at."""
    found = tables.metric_table(model, metric.key)
    return found.replace(metric.title, metric_title(model, metric), 1)


def notes(model: Results) -> list[str]:
    """What differs from the wish, and which figures were not measured but follow."""
    titles = {metric.key: metric.title for metric in shown_metrics(model)}
    beyond = [
        f"{titles[key]}: {label} is above the measured ceiling ({found['share']:.0%}); noise, or a "
        "ceiling measured in a slow phase of the machine."
        for key, engines in model["shares"].items()
        for label, found in engines.items()
        if found["share"] > BEYOND
    ]
    serial = {x["label"] for x in model["launches"] if x.get("batching") is False}
    few = min(model["parameters"]["streams"])
    return [
        *model["parameters"]["notes"],
        *(
            f"{label} answers one request after another: its rate at more streams is that at {few}."
            for label in sorted(serial)
        ),
        *beyond,
    ]


def thread_sweep(model: Results) -> str:
    """Rates with every count of threads against the engine's own default."""
    rows = []
    for label, found in model["tuning"].items():
        default = next((c for c in found["candidates"] if c["threads"] is None), None)
        for candidate in found["candidates"]:
            count = candidate["threads"]
            chosen = "chosen" if count == found["threads"] else ""
            rates = candidate["rates"]
            cells = [_change(rates, default, key) for key in _sweep_keys(model)]
            reason = candidate["error"] or ("contended" if candidate["contended"] else "")
            rows.append(
                (
                    label,
                    _count(count),
                    *cells,
                    number(candidate["score"]),
                    ", ".join(filter(None, (chosen, reason))),
                )
            )
    if not rows:
        return "*No sweep: the counts were given.*"
    titles = {metric.key: metric.title for metric in metrics(model["parameters"]["streams"])}
    header = ("engine", "threads", *(titles[key] for key in _sweep_keys(model)), "mean", "")
    return table(header, rows)


def _sweep_keys(model: Results) -> list[str]:
    found = [c["rates"] for sweep in model["tuning"].values() for c in sweep["candidates"]]
    return list(dict.fromkeys(key for rates in found for key in rates))


def _change(rates: dict[str, float], default: Results | None, key: str) -> str:
    if key not in rates:
        return NOTHING
    base = default["rates"].get(key) if default else None
    return number(rates[key]) + (f" ({rates[key] / base:.2f}x)" if base else "")


def _count(threads: int | None) -> str:
    return "default" if threads is None else str(threads)


def check_table(model: Results) -> str:
    """The decode rate between two answers against the rate at which one answer streams."""
    rows = []
    for label, factor in cross_check(model["launches"]).items():
        fine = 1 / DISAGREE <= factor <= DISAGREE
        rows.append((label, f"{factor:.2f}", "agree" if fine else "**disagree**"))
    if not rows:
        return ""
    text = (
        "The decode rate at one stream comes from two whole answers, whatever an engine tells "
        "about single tokens; the streamed rate from the events of one answer."
    )
    return f"{text}\n\n{table(('engine', 'decode rate / streamed rate', ''), rows)}"


def contention(results: Results) -> str:
    """How many launches met other work on the machine."""
    rows = [
        (model["model"]["name"], label, f"{len(marked)} of {total}", next(iter(marked), ""))
        for model in results["models"]
        for label, marked, total in contended(model)
    ]
    usual = results["calibration"]["usual"]
    if not rows or usual is None:
        return "*Nothing was timed.*"
    text = (
        "Before and after every launch two kernels ran on all cores: usually "
        f"{number(1e3 * usual['compute_s'])} ms for hashing and {number(1e3 * usual['memory_s'])} "
        "ms for copying. A launch is marked where they took much longer, where the hypervisor "
        "stole time or where other processes used the machine; it stays among the others."
    )
    return f"{text}\n\n{table(('model', 'engine', 'contended', 'how the first one was'), rows)}"


def contended(model: Results) -> list[tuple[str, list[str], int]]:
    """Label, the reasons of each contended launch, all launches."""
    found = []
    for label in dict.fromkeys(launch["label"] for launch in model["launches"]):
        own = [launch for launch in model["launches"] if launch["label"] == label]
        marked = [", ".join(launch["contended"]) for launch in own if launch["contended"]]
        found.append((label, marked, len(own)))
    return found


def limits(results: Results) -> Sequence[str]:
    """What a reader has to know about the figures."""
    given, roughest = results["parameters"], _roughest(results)
    rough = (
        f"Engines of reduced precision passed parity within {number(roughest)} nats: they stand "
        "beside float32 engines that compute more.",
    )
    return [
        "Every launch is a process of its own, pinned to the same cores. An engine's estimate is "
        "the geometric mean over launches of the median within each; intervals are those of a "
        "bootstrap over launches, ratios are taken block by block.",
        f"'No difference' means inside the band in which the same engine, entered twice (the one "
        f"with {AA_SUFFIX.strip()}), differed from itself.",
        "The decode rate of one stream is the slope between a short and a long answer, that of "
        "many what they give together while all are under way. Neither holds prefill. Answers are "
        "greedy, go on after the end of text, and were compared token by token with the reference; "
        "an engine with a wrong answer has no figures.",
        "The share of the ceiling is that of min(S x bandwidth / bytes of the weights, matrix rate "
        "/ (2 x parameters)), both measured in this run; prefill has the second term alone.",
        "Every engine had room for all streams and for the longest request. Threads were chosen "
        "by one sweep for all figures of an engine, which shows what another count would change.",
        *(rough if roughest > EXACT else ()),
        f"{given['launches']} launches were asked for; load time includes the import of the "
        "engine's library, with its files in the page cache; peak memory is that of the process.",
    ]


def _roughest(results: Results) -> float:
    found = [e["tolerance"] for model in results["models"] for e in model["parity"]["engines"]]
    return max(found, default=0.0)
