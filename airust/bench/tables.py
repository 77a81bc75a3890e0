"""The report's words: Markdown made from results.json alone, so that each number has its source.

Every function takes the results and returns Markdown; a part that was not measured says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from airust.bench.learning import scores
from airust.bench.metrics import Metric, metrics
from airust.bench.runner import AA_SUFFIX

Results = dict[str, Any]
NOTHING = "–"
TOO_WIDE = 1000  # an interval from one end to the other: its ends would say nothing
EXAMS = {
    "held_out": "held-out entities",
    "held_out_new_wording": "held-out entities, unseen wordings",
    "explanations": "explanations, unseen wordings",
    "small_talk": "small talk, unseen wordings",
    "tuned_new_wording": "trained entities, unseen wordings",
}
WEAKEST = 8  # relations shown
LANGUAGES = {"en": "English", "zh": "Chinese"}


def number(value: float | None) -> str:
    """Three significant digits, thousands separated.

    >>> number(12345.6), number(12.34), number(0.04567), number(None)
    ('12,346', '12.3', '0.0457', '–')
    """
    if value is None:
        return NOTHING
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}" if abs(value) >= 1e-4 else f"{value:.1e}"


def percent(value: float | None) -> str:
    """A share of 1 as percent.

    >>> percent(0.9412)
    '94.1%'
    """
    return NOTHING if value is None else f"{100 * value:.1f}%"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], mark: str = "--:") -> str:
    """A Markdown table; all columns but the first are aligned to the right, unless told otherwise.

    >>> print(table(("engine", "ms"), [("torch", "1.5")]))
    | engine | ms |
    | :-- | --: |
    | torch | 1.5 |
    """
    lines = [header, [":--", *[mark] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _facts(what: str, rows: Iterable[Sequence[str]]) -> str:
    return table((what, ""), rows, ":--")


def host(results: Results) -> str:
    """Machine, versions, cores."""
    found, cores = results["host"], results["parameters"]["cores"]
    rows = [
        ("processor", found["cpu"]),
        ("cores used by every engine", f"{cores} of {found['cores_usable']}"),
        ("memory", f"{number(found['memory_bytes'] / 1e9)} GB"),
        ("operating system", found["os"]),
        ("Python", found["python"]),
        *((name, version) for name, version in results["versions"].items()),
    ]
    return _facts("host", rows)


def model(results: Results) -> str:
    """The weights: sizes and fingerprints."""
    found = results["model"]
    config = found["config"]
    shape = (
        f"{config['num_hidden_layers']} layers, width {config['hidden_size']}, "
        f"{config['num_attention_heads']} heads, {config['num_key_value_heads']} key-value heads, "
        f"vocabulary {config['vocab_size']}, context {config['max_position_embeddings']}"
    )
    rows = [
        ("name", found["name"]),
        ("architecture", f"{config['model_type']}: {shape}"),
        ("parameters", f"{found['parameters']:,}"),
        ("stored as", ", ".join(found["dtype"])),
        *((f"SHA-256 of {name}", f"`{sha}`") for name, sha in found["weights_sha256"].items()),
        ("SHA-256 of tokenizer.json", f"`{found['tokenizer_sha256']}`"),
    ]
    return _facts("model", rows)


def ceilings(results: Results) -> str:
    """What the host reaches at best."""
    found = results["ceilings"]
    rows = [
        *(
            (f"memory read, working set {number(int(size) / 1e6)} MB", f"{number(rate)} GB/s")
            for size, rate in found["bandwidth"].items()
        ),
        ("matrix product, float32", f"{number(found['matmul_fp32'])} GFLOP/s"),
        ("matrix product, bfloat16", f"{number(found['matmul_bf16'])} GFLOP/s"),
        ("matrix product, int8", f"{number(found['matmul_int8'])} GOP/s"),
    ]
    return _facts(f"ceiling with {found['threads']} threads", rows)


def parity(results: Results) -> str:
    """The parity table: what differs between the engines before anything is timed."""
    report = results["parity"]
    header = (
        "engine", "version", "dtype", "verdict", "largest abs. Δ logprob", "mean abs. Δ logprob",
        "mean KL (nats)", "greedy answers equal",
    )  # fmt: skip
    rows = [
        (
            found["engine"],
            found["version"] or NOTHING,
            found["dtype"] or NOTHING,
            "passed" if found["passed"] else f"**{found['status']}**",
            *(number(found[key]) for key in ("max_delta", "mean_delta", "mean_kl")),
            _equal(found),
        )
        for found in report["engines"]
    ]
    text = (
        f"Reference: {report['reference']}. {report['prompts']} prompts, each continued by "
        f"{report['new_tokens']} tokens. An engine passes if no logprob is off by more than "
        f"{report['tolerance']:g} and its greedy tokens are the same, ties apart."
    )
    return "\n\n".join([text, table(header, rows), *_differences(report)])


def _equal(found: dict[str, Any]) -> str:
    ties = f", {found['tied']} tied" if found["tied"] else ""
    return f"{found['equal']} of {found['prompts']}{ties}" if found["prompts"] else NOTHING


def _differences(report: dict[str, Any]) -> Iterable[str]:
    """Where an engine left the reference, and why another has no verdict."""
    lines = []
    for found in report["engines"]:
        left = found.get("divergence")
        if not found["passed"]:
            lines.append(f"- **{found['engine']}**: {found['reason']}")
        elif left:
            lines.append(
                f"- **{found['engine']}** first leaves the reference at a tie: prompt "
                f"{left['prompt']}, token {left['position']}, margin {number(left['margin'])} nats."
            )
    return ["\n".join(lines)] if lines else []


def metric_table(results: Results, key: str) -> str:
    """One metric: estimate, interval, ratio to the baseline, share of the ceiling."""
    metric, rows = _metric(results, key), metric_rows(results, key)
    if not rows:
        return f"*{metric.title}: nothing was timed.*"
    share = ["share of ceiling"] if results["shares"].get(key) else []
    header = ["engine", metric.unit, "95% interval", "launches", f"against {results['baseline']}"]
    kept = len(header) + 1 + len(share)
    body = table([*header, "verdict", *share], [row[:kept] for row in rows])
    return "\n\n".join((f"**{metric.title}**", body, _band(results["summary"][key]["aa_band"])))


def metric_rows(results: Results, key: str) -> list[list[str]]:
    """An engine a row: name, estimate, interval, launches, ratio, verdict, share of the ceiling."""
    share = results.get("shares", {}).get(key, {})
    found = results.get("summary", {}).get(key, {"engines": {}, "ratios": {}})
    return [
        [*row, percent(share[row[0]]["share"]) if row[0] in share else NOTHING]
        for row in summary_rows(found, _metric(results, key))
    ]


def summary_rows(found: dict[str, Any], metric: Metric) -> list[list[str]]:
    """A label a row: name, estimate, interval, launches, ratio, verdict."""
    return [
        [
            label,
            number(value["estimate"] * metric.scale),
            interval(value, metric.scale),
            str(value["launches"]),
            *_ratio(found["ratios"].get(label), metric),
        ]
        for label, value in found["engines"].items()
    ]


def is_twin(label: str) -> bool:
    """It is the A/A control."""
    return label.endswith(AA_SUFFIX)


def _metric(results: Results, key: str) -> Metric:
    return next(m for m in metrics(results["parameters"]["streams"]) if m.key == key)


def interval(value: dict[str, Any], scale: float = 1) -> str:
    """The ends of a 95% interval."""
    if value["low"] is None:
        return NOTHING
    if value["high"] > TOO_WIDE * value["low"]:
        return f"wider than {TOO_WIDE}x"
    return f"{number(value['low'] * scale)} to {number(value['high'] * scale)}"


def _ratio(value: dict[str, Any] | None, metric: Metric) -> tuple[str, str]:
    if value is None:
        return NOTHING, "baseline"
    words = {"higher": ("better", "worse"), "lower": ("worse", "better")}
    found = value["verdict"]
    word = words[found][not metric.higher_is_better] if found in words else found
    return f"{number(value['estimate'])}x ({interval(value)})", word


def _band(band: float | None) -> str:
    if band is None:
        return "No A/A pair was measured: ratios carry no verdict."
    return f"The same engine against itself differed by a factor of up to {band:.3f} in a block."


def engine_settings(results: Results) -> str:
    """What each engine says about how it was loaded."""
    rows = [
        (entry["label"], ", ".join(f"{key} {value}" for key, value in entry["settings"].items()))
        for entry in results["entries"]
        if entry.get("settings") and not entry["label"].endswith(AA_SUFFIX)
    ]
    return table(("engine", "loaded with"), rows, ":--")


def jobs(results: Results) -> str:
    """Where the launches were made, if on a cluster, and which job was lost and made again."""
    rows = [
        (
            job["label"],
            job["machine"],
            str(job["attempts"]),
            "; ".join(
                [*(f"lost: {reason}" for reason in job["lost"]), *filter(None, [job["error"]])]
            ),
        )
        for job in results["jobs"]
    ]
    return table(("job", "machine", "attempts", "what happened"), rows, ":--") if rows else ""


def command(results: Results) -> str:
    """The command that makes the report again."""
    return f"```bash\n{results['command']}\n```"


def not_timed(results: Results) -> str:
    """Engines without figures and why."""
    rows = [(e["label"], e["reason"]) for e in results.get("entries", []) if e["reason"]]
    rows += [(m["name"], f"not installed; `{m['install']}`") for m in results.get("missing", [])]
    if not rows:
        return "Every engine passed and was timed."
    return table(("engine", "why it has no figures"), rows, ":--")


def training(results: Results) -> str:
    """The figures of the training run."""
    found = results.get("training")
    if found is None:
        return "*The model folder has no metrics.jsonl: nothing is known about its training.*"
    validation = found["validation"]
    rows = [
        ("steps", number(found["steps"])),
        ("tokens", number(found["tokens"])),
        ("seconds", number(found["seconds"])),
        ("final loss", number(found["final_loss"])),
        ("last validation loss", number(validation[-1][1] if validation else None)),
        ("tokens/s, median", number(found["tokens_per_s"])),
        ("model FLOP utilisation, median", percent(found["mfu"])),
    ]
    return _facts("training", rows)


def evaluation(results: Results) -> str:
    """The exam: exact match beside the majority baseline, and what it does with made-up names."""
    found = results.get("evaluation") or {}
    rows = [
        (
            *_labels(row),
            str(row["n"]),
            percent(row["exact"]),
            percent(row["majority"]),
        )
        for row in scores(found)
    ]
    if not rows:
        return "*The model folder has no eval.json: its answers were not examined.*"
    exam = table(("exam", "language", "n", "exact match", "majority baseline"), rows)
    return "\n\n".join([exam, *_unknown(found), *_weakest(found)])


def comparison(results: Results) -> str:
    """The exam of the model beside that of other runs, with what each was trained on."""
    others = results.get("compared") or []
    own = results.get("evaluation")
    if not others or own is None:
        return ""
    runs = [(results["model"]["name"], own)]
    runs += [(other["name"], other["evaluation"]) for other in others]
    exact = [
        {(row["exam"], row["language"]): row["exact"] for row in scores(found)} for _, found in runs
    ]
    rows = [
        (*_labels(row), *(percent(run.get((row["exam"], row["language"]))) for run in exact))
        for row in scores(own)
    ]
    names = [name for name, _ in runs]
    lines = [f"- {name}: {_run(found, own)}" for name, found in runs]
    return "\n\n".join([table(("exact match in", "language", *names), rows), "\n".join(lines)])


def _labels(row: dict[str, Any]) -> tuple[str, str]:
    """A score's part of the exam and language, in words."""
    exam, language = row["exam"], row["language"]
    return EXAMS.get(exam, exam.replace("_", " ")), LANGUAGES.get(language, language)


def _run(found: dict[str, Any], own: dict[str, Any]) -> str:
    trained = found.get("training", {})
    text = (
        f"stages {trained.get('stages')}, {number(trained.get('steps'))} steps, "
        f"{number(trained.get('tokens'))} tokens, {number(trained.get('seconds'))} s"
    )
    same = found.get("data_sha256") == own.get("data_sha256")
    return text + ("." if same else ", on **other training data**.")


def _unknown(found: dict[str, Any]) -> Iterable[str]:
    """Made-up entities, and perplexity."""
    lines = [
        f"- {LANGUAGES.get(language, language)}: of {row['n']} questions about made-up names it "
        f"says {percent(row['refused'])} of the time that it does not know, and invents "
        f"{percent(row['invented'])}."
        for language, row in found.get("made_up", {}).items()
    ]
    lines += [
        f"- {LANGUAGES.get(language, language)}: perplexity {number(value)} on statements about "
        "held-out entities."
        for language, value in found.get("perplexity", {}).items()
    ]
    return ["\n".join(lines)] if lines else []


def _weakest(found: dict[str, Any]) -> Iterable[str]:
    """The relations with the lowest exact match."""
    ranked = sorted(found.get("relations", []), key=lambda row: float(row["exact"]))[:WEAKEST]
    if not ranked:
        return []
    rows = [
        (
            f"{row['kind']}: {row['relation']}",
            LANGUAGES.get(row["language"], row["language"]),
            str(row["n"]),
            percent(row["exact"]),
            percent(row["majority"]),
        )
        for row in ranked
    ]
    header = ("weakest relations", "language", "n", "exact match", "majority baseline")
    return [table(header, rows)]
