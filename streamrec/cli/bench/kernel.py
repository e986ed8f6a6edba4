"""The learning kernel over ready ids, with a table far larger than the processor's caches."""

from time import perf_counter

import numpy as np

from streamrec.cli.bench.figure import Figure
from streamrec.cli.bench.stream import N_FIELDS, vowpal_wabbit_rate
from streamrec.features.batch import Batch
from streamrec.models.ftrl import FTRLModel
from streamrec.models.settings import ModelSettings

__all__ = ["figures"]

_LIVE = 1 << 22
_BATCH = 50_000
_BATCHES = 6


def figures() -> list[Figure]:
    """Examples/s beside Vowpal Wabbit's file driver over as many features (24 bits: hardly a collision)."""
    rng = np.random.default_rng(3)
    values = rng.integers(0, _LIVE // N_FIELDS, (_BATCHES, _BATCH, N_FIELDS))
    model = FTRLModel(ModelSettings(kind="ftrl"))
    every = np.arange(_LIVE, dtype=np.uint64).reshape(-1, 1)
    model.learn(_batch(_ids(every % np.uint64(N_FIELDS), every // np.uint64(N_FIELDS))))
    fields = np.arange(N_FIELDS, dtype=np.uint64)
    batches = [_batch(_ids(fields, part.astype(np.uint64))) for part in values]
    best = 0.0
    for _ in range(3):
        start = perf_counter()
        for batch in batches:
            model.learn(batch)
        best = max(best, _BATCHES * _BATCH / (perf_counter() - start))
    peer = _vowpal_wabbit(values.reshape(-1, N_FIELDS))
    return [
        Figure("kernel, live features", len(model.table), "rows"),
        Figure("kernel", best, "examples/s", peer, "Vowpal Wabbit", (4.0, None)),
    ]


def _ids(fields: np.ndarray, values: np.ndarray) -> np.ndarray:
    h = (values + fields * np.uint64(1 << 40) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return (h ^ (h >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)


def _batch(ids: np.ndarray) -> Batch:
    n, f = ids.shape
    f32 = np.float32
    labels = (np.arange(n) % 5 == 0).astype(f32)
    offsets = np.arange(n * f + 1, dtype=np.int64)
    ones = np.ones(ids.size, f32)
    dense, times, roles = np.zeros((n, 0), f32), np.zeros(n, np.int64), np.zeros(n, np.uint8)
    return Batch(ids.ravel(), ones, offsets, dense, labels, np.ones(n, f32), times, roles)


def _vowpal_wabbit(values: np.ndarray) -> float:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="streamrec-bench-") as folder:
        path = Path(folder, "events.vw")
        with path.open("w") as file:
            for i, row in enumerate(values.tolist()):
                sign = 1 if i % 5 == 0 else -1
                file.write(f"{sign} | " + " ".join(f"f{f}=v{value}" for f, value in enumerate(row)) + "\n")
        return vowpal_wabbit_rate(path, len(values), bits=24)
