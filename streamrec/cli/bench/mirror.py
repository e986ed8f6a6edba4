"""A scorer of ten million linear features: from starting the command to its first complete generation, and
the memory of its process beside that of one with a small model.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np

from streamrec.cli.bench.figure import Figure
from streamrec.cli.bench.process import running
from streamrec.cli.bench.stream import streams
from streamrec.store.base import Commit, Rows, Store

__all__ = ["figures"]

_FEATURES, _COMMITS, _TABLE = 10_000_000, 10, "linear"
_LIMIT_S, _LIMIT_BYTES = 20.0, 40.0
_PATIENCE_S = 300.0


class _Started(NamedTuple):
    seconds: float  # to the answer of /readyz that it may be asked
    resident_bytes: int
    weights: int  # as /v1/model tells


def figures() -> Iterator[Figure]:
    """Limits: 20 s, 40 bytes a feature; the model is in a Redis of its own."""
    from streamrec.store.registry import open_store

    with TemporaryDirectory(prefix="streamrec-bench-") as folder, ExitStack() as stack:
        url = f"embedded:{folder}"
        store = open_store(url)  # its Redis stays up meanwhile, as others do
        stack.callback(store.close)
        _learn_a_little(url)
        small = _start(url)
        _add_features(store)
        large = _start(url)
    n = large.weights - small.weights
    if n < 0.999 * _FEATURES:  # some ids may be drawn twice
        raise RuntimeError(f"the scorer has {n:,} features more, of {_FEATURES:,} that were committed")
    memory = (large.resident_bytes - small.resident_bytes) / n
    yield Figure("scorer, start with 10M features", large.seconds, "s", _LIMIT_S, "limit", (None, 1.0))
    yield Figure("scorer, start with a small model", small.seconds, "s")
    yield Figure("scorer, memory", memory, "bytes/feature", _LIMIT_BYTES, "limit", (None, 1.0))


def _learn_a_little(store: str) -> None:
    """A model as learners leave it, whose kernels are compiled afterwards."""
    with (
        streams(5_000) as made,
        running("replay", str(made.jsonl), "--store", store, "--model", "ftrl") as replay,
    ):
        if replay.wait(_PATIENCE_S):
            raise RuntimeError("the small model could not be learned")


def _add_features(store: Store) -> None:
    """Rows that a learner could have, in commits of a million, flushed."""
    rng, lease = np.random.default_rng(0), store.acquire("default")
    seq = store.head("default").seq
    for ids in np.array_split(rng.integers(1, 2**64, _FEATURES, dtype=np.uint64), _COMMITS):
        rows = rng.standard_normal((len(ids), 2), dtype=np.float32)
        shadow, none = np.zeros(len(ids), np.bool_), np.empty(0, np.uint64)
        seq += 1
        lease.commit(Commit(seq, {_TABLE: Rows(ids, np.abs(rows) + 1, shadow, none)}, {}, 0))
    lease.flush()
    lease.close()


def _start(store: str) -> _Started:
    began_s = perf_counter()
    with running("serve", "--store", store, "--port", "0", "--json", stdout=subprocess.PIPE) as service:
        assert service.stdout is not None
        connection = HTTPConnection(urlsplit(json.loads(service.stdout.readline())["url"]).netloc, timeout=60)
        try:
            while _get(connection, "/readyz")[0] != 200:
                if perf_counter() > began_s + _PATIENCE_S:
                    raise RuntimeError(f"the scorer was not ready after {_PATIENCE_S:.0f} s")
                sleep(0.05)
            seconds = perf_counter() - began_s
            resident = _resident_bytes(service.pid)
            return _Started(seconds, resident, json.loads(_get(connection, "/v1/model")[1])["weights"])
        finally:
            connection.close()


def _get(connection: HTTPConnection, path: str) -> tuple[int, bytes]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def _resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096
