"""Benchmarks: what is measured, how, with which intervals, and the reports that show it.

``workload`` makes the prompts, ``measure`` times one engine in a child process (``worker``),
``verify`` compares its answers with the reference, ``runner`` launches the engines interleaved,
``statistics`` puts intervals on the numbers, ``ceilings`` measures what the host could do at best.

Two things are built on these: ``session``, ``tables``, ``plots`` and ``report`` make the notebook
about one model; ``engine_bench`` compares engines on several models, with a thread sweep, in a
time budget, and goes on where it was stopped.
"""
