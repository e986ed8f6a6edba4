"""Redis as a parameter store: memory a row, recovery, flush, commit, as JSON.

Use: python tests/benchmarks/bench_store.py [ROWS]
"""

import json
import sys
import time
from typing import Any

import numpy as np

from streamrec.store.base import Commit, Lease, Rows
from streamrec.store.embedded import EmbeddedStore
from streamrec.store.flush import Limits
from streamrec.store.memory import MemoryStore

#: Issue 3: 24 bytes a live linear feature and 10 s of recovery, at this many.
ROWS = 5_000_000
COMMIT_ROWS = 300_000
WIDTH = 2


def _commit(seq: int, ids: np.ndarray, rng: np.random.Generator) -> Commit:
    rows = rng.standard_normal((len(ids), WIDTH), dtype=np.float32)
    shadow, none = np.zeros(len(ids), np.bool_), np.empty(0, np.uint64)
    return Commit(seq, {"linear": Rows(ids, rows, shadow, none)}, {"position": b"{}"}, 0)


def _used_memory(store: EmbeddedStore) -> int:
    with store._wires.lent() as wire:
        info = wire.call("INFO", "memory").decode()
    return int(info.split("used_memory:")[1].split()[0])


def _timed(action: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def _commit_s(lease: Lease, ids: np.ndarray, rng: np.random.Generator) -> list[float]:
    """Seconds of each of ten commits of 300,000 rows, the first of which warms up."""
    made = [_commit(seq, rng.choice(ids, COMMIT_ROWS, replace=False), rng) for seq in range(1, 12)]
    return [_timed(lambda commit=commit: lease.commit(commit))[0] for commit in made][1:]


def measure(n: int = ROWS) -> dict[str, Any]:
    """The figures, of an embedded Redis on this machine."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 2**64, n, dtype=np.uint64)
    store = EmbeddedStore(limits=Limits(flush_s=float("inf"), flush_bytes=1 << 40, tail_bytes=0))
    before = _used_memory(store)
    lease = store.acquire("bench")
    for seq, part in enumerate(np.array_split(ids, max(1, n // 1_000_000)), 1):
        lease.commit(_commit(seq, part, rng))
    fill_s, _ = _timed(lease.flush)
    memory = _used_memory(store) - before
    load_s, loaded = _timed(lambda: sum(len(rows.ids) for _, rows in store.load("bench", shadow=True).pieces))
    assert loaded == n
    last = store.head("bench").seq
    lease.commit(_commit(last + 1, rng.choice(ids, COMMIT_ROWS, replace=False), rng))
    flush_s, _ = _timed(lease.flush)
    other = store.acquire("commits")
    commits = _commit_s(other, ids, rng)
    other.close()
    lease.close()
    store.close()
    in_memory = _commit_s(MemoryStore("bench").acquire("commits", fresh=True), ids, rng)
    return {
        "rows": n,
        "redis_bytes_per_row": round(memory / n, 2),
        "load_s": round(load_s, 2),
        "first_flush_rows_per_s": round(n / fill_s),
        "update_flush_rows_per_s": round(COMMIT_ROWS / flush_s),
        "commit_300k_rows_ms": round(1000 * float(np.median(commits)), 1),
        "commit_300k_rows_memory_ms": round(1000 * float(np.median(in_memory)), 1),
    }


def main() -> None:
    """Print the figures as one JSON object."""
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)))


if __name__ == "__main__":
    main()
