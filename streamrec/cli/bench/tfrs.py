"""A deep & cross network learned and scored, beside TensorFlow Recommenders on TensorFlow for CPUs.

20 fields with vectors of 16, two full cross layers, ReLU 128-64, AdaGrad: the same network, rates and kinds
of start on both sides. The peer runs in a process of its own, by this Python or by STREAMREC_TFRS_PYTHON, and
both take turns. Without it the figures stand alone.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, NamedTuple

import click
import numpy as np

from streamrec.cli.bench.figure import Figure
from streamrec.features.batch import Batch
from streamrec.layers.embedding import EmbeddingSettings
from streamrec.models.deep.build import ranking_model
from streamrec.models.deep.model import DeepModel
from streamrec.models.deep.settings import DeepSettings
from streamrec.models.inputs import Inputs
from streamrec.models.settings import ModelSettings
from streamrec.optim.adagrad import AdagradSettings

__all__ = ["MeanLoss", "Rows", "figures", "learn", "model", "rows", "score"]

_FIELDS, _VALUES, _SEED = 20, 20_000, 5
#: For vectors and layers, as `tfrs_peer` has it: the kind's own defaults differ, and change.
_RATE = 0.05
#: Micro-batch → examples of a run, and how many times the peer's rate is wanted.
_RUNS = {1: (3_000, 5.0), 64: (131_072, 1.5), 1024: (131_072, 1.1)}
_ROUNDS = 3
_CANDIDATES, _REQUESTS, _LIMIT_MS = 500, 300, 2.0
#: Log losses are compared at this micro-batch, and may be this much worse: other random starts make as much.
_COMPARED, _WORSE = 64, 1.001
_PYTHON = "STREAMREC_TFRS_PYTHON"
_PROBE = "import os; os.environ['TF_USE_LEGACY_KERAS'] = '1'; import tensorflow_recommenders"

_Ask = Callable[..., dict[str, Any]]


class Rows(NamedTuple):
    """Values int32 (N, F), numbered within their fields, and labels float32 (N,)."""

    values: np.ndarray
    labels: np.ndarray


class MeanLoss:
    """p = sigmoid(s) and the mean log loss of a micro-batch, which is what Keras learns; no frame."""

    def __init__(self, size: int) -> None:
        self._size = size

    def predict(self, evidence: np.ndarray) -> np.ndarray:
        """Probabilities float32 (B,)."""
        return (1.0 / (1.0 + np.exp(-evidence))).astype(np.float32)

    def take(self, evidence: np.ndarray, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Predictions and slopes."""
        predictions = self.predict(evidence)
        return predictions, (predictions - batch.labels).astype(np.float64) / self._size

    def gain(self) -> float:
        """None."""
        return 1.0

    def blobs(self) -> dict[str, bytes]:
        """Nothing."""
        return {}

    def restore(self, blobs: Any) -> None:
        """Nothing to take back."""


def rows(n: int, n_values: int = _VALUES, seed: int = _SEED) -> Rows:
    """Frequent and rare values; the label follows from four fields and three pairs of the others."""
    rng = np.random.default_rng(seed)
    values = (rng.random((n, _FIELDS)) ** 3 * n_values).astype(np.int32)
    effects = rng.standard_normal((_FIELDS, n_values)).astype(np.float32)
    each = effects[np.arange(_FIELDS), values]
    logits = -1.5 + 0.5 * each[:, :4].sum(1) + 0.7 * (each[:, 4:10:2] * each[:, 5:10:2]).sum(1)
    return Rows(values, (rng.random(n) < 1.0 / (1.0 + np.exp(-logits))).astype(np.float32))


def model(size: int) -> DeepModel:
    """The network, learned in micro-batches of this size."""
    adagrad = AdagradSettings(learning_rate=_RATE)
    vectors = EmbeddingSettings(optimizer=adagrad)
    deep = DeepSettings(
        embedding=vectors, top=(128, 64), crosses=2, optimizers={"": adagrad}, micro_batch=size
    )
    network = ranking_model(Inputs(tuple(f"f{f}" for f in range(_FIELDS))), "dcn", deep)
    return DeepModel(ModelSettings(kind="dcn", deep=deep), network, MeanLoss(size))


def _batch(given: Rows) -> Batch:
    n, ids = len(given.labels), given.values.astype(np.uint64) + np.uint64(1)
    ids = (ids + (np.arange(_FIELDS, dtype=np.uint64) << np.uint64(40))) * np.uint64(0x9E3779B97F4A7C15)
    ones = np.ones(n, np.float32)
    return Batch(
        ids.ravel(),
        np.ones(ids.size, np.float32),
        np.arange(ids.size + 1, dtype=np.int64),
        np.zeros((n, 0), np.float32),
        given.labels,
        ones,
        np.zeros(n, np.int64),
        np.zeros(n, np.uint8),
    )


def learn(given: Rows, size: int, n: int) -> dict[str, Any]:
    """Seconds for the first n rows, and the mean log loss of predictions made before each micro-batch."""
    model(size).learn(_batch(Rows(given.values[-size:], given.labels[-size:])))  # compiles
    batch, learner = _batch(Rows(given.values[:n], given.labels[:n])), model(size)
    began = perf_counter()
    predictions = learner.learn(batch)
    seconds = perf_counter() - began
    p = predictions.astype(np.float64)
    losses = -np.log(np.where(batch.labels > 0, p, 1.0 - p))
    return {"seconds": seconds, "log_loss": float(losses.mean())}


def score(given: Rows, n: int, times: int) -> dict[str, Any]:
    """Seconds of each of so many requests of n candidates, by a model that has learned all their values."""
    learner = model(_COMPARED)
    learner.learn(_batch(given))
    took = []
    for i in range(times):
        request = _batch(Rows(given.values[7 * i : 7 * i + n], given.labels[7 * i : 7 * i + n]))
        began = perf_counter()
        learner.predict(request)
        took.append(perf_counter() - began)
    return {"seconds": took}


def figures() -> list[Figure]:
    """Examples/s and log loss by micro-batch, and milliseconds for 500 candidates."""
    given = rows(max(n for n, _ in _RUNS.values()) + max(_RUNS))
    with _peer(given) as ask:
        measured = [figure for size in _RUNS for figure in _learning(given, size, ask)]
        return measured + _scoring(given, ask)


def _learning(given: Rows, size: int, ask: _Ask | None) -> Iterator[Figure]:
    n, goal = _RUNS[size]
    ours, peers = [], []
    for _ in range(_ROUNDS):
        ours.append(learn(given, size, n))
        peers += [ask("learn", size, n)] if ask else []
    rate, beside = (n / min(run["seconds"] for run in runs) if runs else None for runs in (ours, peers))
    yield Figure(f"DCN, batch {size:,}", rate or 0.0, "examples/s", beside, "TFRS", (goal, None))
    if size == _COMPARED:
        loss, other = (
            float(np.mean([run["log_loss"] for run in runs])) if runs else None for runs in (ours, peers)
        )
        yield Figure(f"DCN, batch {size:,}, log loss", loss or 0.0, "nats", other, "TFRS", (None, _WORSE))


def _scoring(given: Rows, ask: _Ask | None) -> list[Figure]:
    few = Rows(given.values[:20_000], given.labels[:20_000])
    times = 1000 * np.array(score(few, _CANDIDATES, _REQUESTS)["seconds"][_REQUESTS // 10 :])
    median, p99 = float(np.median(times)), float(np.percentile(times, 99))
    name = f"DCN, {_CANDIDATES} candidates"
    beside = 1000 * float(np.median(ask("score", _CANDIDATES, _REQUESTS)["seconds"])) if ask else None
    return [
        Figure(f"{name}, median", median, "ms", beside, "TFRS"),
        Figure(f"{name}, p99", p99, "ms", _LIMIT_MS, "limit", (None, 1.0)),
    ]


@contextmanager
def _peer(given: Rows) -> Iterator[_Ask | None]:
    """What asks the peer to do the same; None where it is not installed, and said so."""
    python = os.environ.get(_PYTHON) or sys.executable
    if subprocess.run([python, "-c", _PROBE], capture_output=True, check=False).returncode:
        hint = f"pip install 'streamrec[tfrs]', or set {_PYTHON} to a Python that has tensorflow_recommenders"
        click.echo(f"  TFRS: not measured, {python} has none: {hint}", err=True)
        yield None
        return
    with TemporaryDirectory(prefix="streamrec-bench-") as folder:
        path = Path(folder, "rows.npz")
        np.savez(path, values=given.values, labels=given.labels)
        program = [python, str(Path(__file__).with_name("tfrs_peer.py")), str(path)]
        process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            yield lambda *words: _answer(process, words)
        finally:
            process.communicate(timeout=60)


def _answer(process: "subprocess.Popen[str]", words: tuple[Any, ...]) -> dict[str, Any]:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("TFRS: the peer has no pipes")
    process.stdin.write(" ".join(map(str, words)) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"TFRS: the peer ended without an answer to {words}")
    answer: dict[str, Any] = json.loads(line)
    return answer
