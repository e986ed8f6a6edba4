"""A learner of made-up events that remembers what a mirror answers, and scorers in lookup mode to compare."""

import json
import time
from collections.abc import Callable

import numpy as np

from streamrec.clock import SystemClock
from streamrec.events.decoder import BlockDecoder
from streamrec.events.example_reader import labelled
from streamrec.features.spec import Cross, FeatureSpec, Field, Statistics
from streamrec.models.pipeline import Pipeline
from streamrec.models.settings import ModelSettings
from streamrec.serving.lookup import LookupScorer
from streamrec.serving.scorer import Scorer
from streamrec.serving.settings import LookupSettings
from streamrec.store.base import Commit, Lease, RowStore
from streamrec.store.merge import served
from streamrec.testing.redis_server import patiently, wait_until

SPEC = FeatureSpec(
    fields=(
        Field(name="user", kind="category", statistics=Statistics()),
        Field(name="item", kind="category"),
        Field(name="tags", kind="bag"),
        Field(name="price", kind="number"),
    ),
    crosses=(Cross(fields=("user", "tags")),),
)
HOUR_MS = 3_600_000
#: Weights come and go: by L1, and by expiry after some commits.
MODELS = {
    "wide": ModelSettings(kind="wide", ftrl={"l1": 0.3}, expire_after_s=20 * 3600),  # type: ignore[arg-type]
    "ftrl": ModelSettings(kind="ftrl", ftrl={"l1": 0.3}),  # type: ignore[arg-type]
    "dcn": ModelSettings(kind="dcn", deep={"tables": {"item": {"width": 4}}}),  # type: ignore[arg-type]
}
#: Requests: lines of a user with some items, also of users and items that nobody has seen.
N_ASKED = 12


def line(rng: np.random.Generator, n: int, n_users: int, n_items: int) -> bytes:
    event = {
        "type": "example",
        "id": f"e{n}",
        "time": 1_700_000_000_000 + n * HOUR_MS // 40,
        "label": int(rng.random() < 0.4),
        "user": f"u{rng.integers(n_users)}",
        "item": f"i{rng.integers(n_items)}",
        "features": {
            "tags": [f"t{rng.integers(9)}" for _ in range(rng.integers(3))],
            "price": round(float(rng.lognormal()), 2),
        },
    }
    return json.dumps(event).encode() + b"\n"


def lines(rng: np.random.Generator, start: int, n: int, n_users: int = 40, n_items: int = 100) -> bytes:
    return b"".join(line(rng, start + i, n_users, n_items) for i in range(n))


class Learner:
    """Learns made-up events; remembers what a mirror answers as of each commit."""

    def __init__(self, store: RowStore, name: str, kind: str, n_asked: int = N_ASKED) -> None:
        self.pipeline, self.mirror = Pipeline(MODELS[kind], SPEC), Pipeline(MODELS[kind], SPEC)
        self.lease: Lease = store.acquire(name, fresh=True)
        self.seq = 0
        self.asked = [lines(np.random.default_rng(100 + i), 600, 25, 50, 120) for i in range(n_asked)]
        self.expected: dict[int, list[np.ndarray]] = {}
        self._rng = np.random.default_rng(7)
        self._decoder = BlockDecoder()

    def learn(self, n: int = 40) -> None:
        """One more commit."""
        block, rejected = self._decoder.decode(lines(self._rng, 40 * self.seq, n))
        assert not rejected
        self.pipeline.learn(labelled(block), self._decoder.fields)
        self.seq += 1
        blobs = {**self.pipeline.blobs(), "model": self.pipeline.describe(), "metrics": b'{"rmse":0.4}'}
        changed = self.pipeline.take_changed()
        for table, rows in changed.items():
            self.mirror.apply(table, served(rows))
        self.mirror.restore(blobs)
        self.expected[self.seq] = [self.mirror.score_lines(data) for data in self.asked]
        made = Commit(self.seq, changed, blobs, time.time_ns() // 1_000_000)
        patiently(lambda: self.lease.commit(made))

    def check(self, scorer: Scorer, i: int) -> tuple[int, int]:
        """The scorer's answer to request i is a mirror's as of the commit that it names: (epoch, seq)."""
        version, scores = ask(scorer, self.asked[i])
        expected = self.expected[version[1]][i]
        assert scores.view(np.uint32).tolist() == expected.view(np.uint32).tolist(), version
        return version


def ask(scorer: Scorer, data: bytes) -> tuple[tuple[int, int], np.ndarray]:
    def compute() -> tuple[tuple[int, int], np.ndarray]:
        with scorer.reading() as (mirror, version):
            return (version.epoch, version.seq), mirror.score_lines(data)

    return scorer.answer(compute)


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:  # kernels may be compiled meanwhile
    assert wait_until(condition, seconds), "timed out"


def scorer_for(store: RowStore, name: str, rows: int = 60, stale_ms: int = 1000) -> LookupScorer:
    return LookupScorer(store, name, SystemClock(), LookupSettings(rows, stale_ms))
