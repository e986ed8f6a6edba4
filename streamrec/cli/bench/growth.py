"""A sparse table growing to 50M rows: memory a row, and the longest time that one call kept the learner
waiting.
"""

from time import perf_counter

import numpy as np

from streamrec.cli.bench.figure import Figure
from streamrec.state.table import SparseTable

__all__ = ["figures"]

_ROWS = 50_000_000
_STEP = 100  # rows a call, as many as five events bring: some 20 µs of work, so a longer call is a pause


def figures() -> list[Figure]:
    """Limits: 24 bytes a row, 50 ms."""
    resident_before = _resident_bytes()
    table, longest, inserting = SparseTable(2), 0.0, 0.0
    rng, rows = np.random.default_rng(1), np.ones((_STEP, 2), np.float32)
    table.upsert(np.arange(1, 3, dtype=np.uint64), rows[:2])
    table.delete(np.arange(1, 3, dtype=np.uint64), changed=False)
    while len(table) < _ROWS:
        ids = rng.integers(1, 2**64, (10_000, _STEP), dtype=np.uint64)
        for part in ids:
            start = perf_counter()
            table.upsert(part, rows, changed=False)
            took = perf_counter() - start
            longest, inserting = max(longest, took), inserting + took
    resident = _resident_bytes() - resident_before - ids.nbytes
    return [
        Figure("table, rows", len(table), "rows"),
        Figure("table, inserts", len(table) / inserting, "rows/s"),
        Figure("table, memory held", table.nbytes / len(table), "bytes/row", 24.0, "limit", (None, 1.0)),
        Figure(
            "table, memory of the process", resident / len(table), "bytes/row", 24.0, "limit", (None, 1.0)
        ),
        Figure("table, longest pause", longest * 1000, "ms", 50.0, "limit", (None, 1.0)),
    ]


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
