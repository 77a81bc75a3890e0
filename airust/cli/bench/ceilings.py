"""``airust bench ceilings``: the best that this machine does, at any size of model."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from airust.cli.common import print_json

EXAMPLE = "airust bench ceilings --parameters 95000000"
MB = 1_000_000
SIZES_MB = (1, 4, 16, 64, 256, 1024)


def run(
    parameters: Annotated[
        int | None, typer.Option(min=1, help="Weights of a model: adds its tokens/s at best.")
    ] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="All that may be used if absent.")] = (
        None
    ),
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """Measure how fast memory is read, by size of what is read, and how fast matrices multiply."""
    from rich.console import Console

    from airust.bench.child import check_result, run_worker
    from airust.bench.engine_bench import CEILINGS_TIMEOUT_S
    from airust.bench.host import usable_cores

    sizes = {size * MB for size in SIZES_MB}
    sizes |= {2 * parameters, 4 * parameters} if parameters else set()
    job = {"kind": "ceilings", "threads": min(cores or usable_cores(), usable_cores())}
    with Console(stderr=True).status("Measuring ..."):
        result = run_worker(job | {"working_sets": sorted(sizes)}, CEILINGS_TIMEOUT_S)
    found = check_result(result, "Measuring the ceilings")["ceilings"]
    if as_json:
        print_json(found)
    else:
        _show(found, parameters)


def _show(found: dict[str, Any], parameters: int | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from airust.bench.metrics import BYTES, attainable
    from airust.bench.tables import number

    table = Table("ceiling", "", title=f"{found['threads']} threads")
    for size, rate in found["bandwidth"].items():
        table.add_row(f"memory read, {number(int(size) / MB)} MB", f"{number(rate)} GB/s")
    table.add_row("matrix product, float32", f"{number(found['matmul_fp32'])} GFLOP/s")
    table.add_row("matrix product, bfloat16", f"{number(found['matmul_bf16'])} GFLOP/s")
    table.add_row("matrix product, int8", f"{number(found['matmul_int8'])} GOP/s")
    for dtype in ("float32", "bfloat16", "q8_0") if parameters else ():
        assert parameters is not None and dtype in BYTES
        for streams in (1, 16, 64):
            rate = attainable(found, parameters, dtype, streams)
            what = f"{number(parameters / MB)} M weights in {dtype}, {streams} streams"
            table.add_row(what, f"{number(rate)} tokens/s")
    Console(markup=False).print(table)
