"""Redis as a parameter store: memory a row by its own account, recovery into a table, flush and commit."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from streamrec.cli.bench.figure import Figure
from streamrec.state.table import SparseTable
from streamrec.store.base import Commit, Lease, Rows
from streamrec.store.embedded import EmbeddedStore
from streamrec.store.limits import Limits
from streamrec.store.memory import MemoryStore

__all__ = ["figures"]

_ROWS, _COMMIT_ROWS, _WIDTH = 5_000_000, 300_000, 2


def figures() -> list[Figure]:
    """Limits at 5M linear rows: 24 bytes each, 10 s to be a table again."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 2**64, _ROWS, dtype=np.uint64)
    store = EmbeddedStore(limits=Limits(flush_s=float("inf"), flush_bytes=1 << 40, tail_bytes=0))
    try:
        before = _used_memory(store)
        lease = store.acquire("bench")
        for seq, part in enumerate(np.array_split(ids, 5), 1):
            lease.commit(_commit(seq, part, rng))
        fill_s = _timed(lease.flush)
        memory = _used_memory(store) - before
        table = SparseTable(_WIDTH)
        load_s = _timed(lambda: _load(store, table))
        assert len(table) == len(np.unique(ids))
        commits = _commit_s(store.acquire("commits"), ids, rng)
    finally:
        store.close()
    in_memory = _commit_s(MemoryStore("bench").acquire("commits", fresh=True), ids, rng)
    return [
        Figure("redis, memory", memory / _ROWS, "bytes/row", 24.0, "limit", (None, 1.0)),
        Figure("redis, recovery of 5M rows", load_s, "s", 10.0, "limit", (None, 1.0)),
        Figure("redis, flush of 5M rows", _ROWS / fill_s, "rows/s"),
        Figure("redis, commit of 300,000 rows", 1000 * commits, "ms", 1000 * in_memory, "store memory"),
    ]


def _load(store: EmbeddedStore, table: SparseTable) -> None:
    for _, rows in store.load("bench", shadow=True).pieces:
        table.upsert(rows.ids, rows.rows, changed=False)


def _commit(seq: int, ids: np.ndarray[Any, Any], rng: np.random.Generator) -> Commit:
    rows = rng.standard_normal((len(ids), _WIDTH), dtype=np.float32)
    shadow, none = np.zeros(len(ids), np.bool_), np.empty(0, np.uint64)
    return Commit(seq, {"linear": Rows(ids, rows, shadow, none)}, {"position": b"{}"}, 0)


def _commit_s(lease: Lease, ids: np.ndarray[Any, Any], rng: np.random.Generator) -> float:
    """Median seconds of ten commits, after one that warms up."""
    made = [_commit(seq, rng.choice(ids, _COMMIT_ROWS, replace=False), rng) for seq in range(1, 12)]
    took = [_timed(lambda commit=commit: lease.commit(commit)) for commit in made]  # type: ignore[misc]
    return float(np.median(took[1:]))


def _used_memory(store: EmbeddedStore) -> int:
    with store._wires.lent() as wire:
        info = wire.call("INFO", "memory").decode()
    return int(info.split("used_memory:")[1].split()[0])


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
