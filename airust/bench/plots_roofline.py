"""The roofline (Williams et al. 2009): what memory and matrix units allow, and what was reached.

A step of S streams reads every weight once and computes 2 FLOP a weight and stream, so that its
intensity is 2 S / (bytes a weight) FLOP/byte; prefill of n tokens stands at S = n.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from airust.bench.metrics import BYTES, MATRIX_RATE, nearest_bandwidth
from airust.bench.plot_style import BLACK, GREY, colour, new_figure, tidy, value_label
from airust.bench.tables import is_twin

Results = dict[str, Any]
ROOFS = {"float32": "-", "bfloat16": "--", "q8_0": ":"}
MARKERS = "osD^vPX"


def points(view: Results) -> list[dict[str, Any]]:
    """Label, what it did, FLOP/byte and GFLOP/s of every rate that was measured."""
    parameters, given = view["model"]["parameters_read_per_token"], view["parameters"]
    wide = {f"decode_{s}": s for s in given["streams"]} | {"prefill": given["prefill_tokens"]}
    dtypes = {entry["label"]: str(entry["dtype"]).lower() for entry in view["entries"]}
    found = []
    for key, streams in wide.items():
        for label, value in view["summary"].get(key, {"engines": {}})["engines"].items():
            dtype = dtypes.get(label, "")
            if dtype in BYTES and not is_twin(label):
                found.append(
                    {
                        "label": label,
                        "key": key,
                        "intensity": 2 * streams / BYTES[dtype],
                        "gflops": 2 * parameters * value["estimate"] / 1e9,
                    }
                )
    return found


def roofline(view: Results) -> Figure | None:
    """Roofs of the number formats in use, and a mark for each engine and rate."""
    found = points(view)
    if not found or view["ceilings"] is None:
        return None
    figure = new_figure(4.6)
    axes = figure.subplots()
    reach = [p["intensity"] for p in found]
    xs = np.geomspace(min(reach) / 2, max(reach) * 2, 200)
    size = view["model"]["parameters_read_per_token"]
    used = {str(entry["dtype"]).lower() for entry in view["entries"]}
    for dtype, line in ROOFS.items():
        if dtype in used:
            peak = view["ceilings"][MATRIX_RATE.get(dtype, "matmul_fp32")]
            slope = nearest_bandwidth(view["ceilings"], size * BYTES[dtype])
            axes.plot(xs, np.minimum(slope * xs, peak), line, color=BLACK, linewidth=1.2)
            value_label(axes, dtype, float(xs[-1]), float(min(slope * xs[-1], peak)), size=8)
    keys = list(dict.fromkeys(p["key"] for p in found))
    for point in found:
        marker = MARKERS[keys.index(point["key"]) % len(MARKERS)]
        axes.plot(point["intensity"], point["gflops"], marker, color=colour(point["label"]))
    for label in dict.fromkeys(p["label"] for p in found):
        axes.plot([], [], "o", color=colour(label), label=label)
    for number, key in enumerate(keys):
        name = key.replace("decode_", "decoding, streams: ")
        axes.plot([], [], MARKERS[number % len(MARKERS)], color=GREY, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("arithmetic intensity (FLOP/byte of weights)")
    axes.set_ylabel("GFLOP/s")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.04, 0.5))
    tidy(axes, "y")
    return figure


def roofline_alt(view: Results) -> str:
    """The figure in words."""
    parts = [f"{p['label']} {p['key']} {p['gflops']:.3g}" for p in points(view)]
    return f"Roofline plot; GFLOP/s reached: {', '.join(parts)}."
