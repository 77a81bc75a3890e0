"""Benchmarks: what is measured, how, with which intervals, and the report that shows it.

``workload`` makes the prompts, ``measure`` times one engine in a child process (``worker``),
``runner`` launches the engines interleaved, ``statistics`` puts intervals on the numbers,
``ceilings`` measures what the host could do at best, ``results`` gathers everything into one
JSON, ``tables`` and ``plots`` show it, ``report`` runs the notebook that holds it all together.
"""
