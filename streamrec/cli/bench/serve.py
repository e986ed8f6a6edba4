"""/v1/rank with 500 candidates of 20 features: in process, then over HTTP from another process, without and
with a learner beside it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from streamrec.cli.bench.figure import Figure
from streamrec.cli.bench.load import (
    Feed,
    Times,
    closed_loop,
    examples_learned,
    open_loop,
    wait_until_learned,
    worker,
)
from streamrec.cli.bench.stream import N_FIELDS, streams

__all__ = ["figures"]

_CANDIDATES, _REQUESTS = 500, 200
_LEARNED, _EVENTS_PER_S, _REQUESTS_PER_S = 50_000, 5000, 100
_LIVE_S, _ROOM_S = 12, 30  # measured; for what comes before and after, of which no event may be missing
_CLIENTS = 4
_LIMIT = (None, 1.0)
#: Of issue "real-time serving".
_INSIDE_MS, _P50_MS, _P99_MS = 1.0, 4.0, 10.0


def figures() -> Iterator[Figure]:
    """Milliseconds beside the limits of issue "real-time serving"."""
    bodies = [json.dumps(_request(i)).encode() for i in range(_REQUESTS)]
    with streams(_LEARNED + _EVENTS_PER_S * (_LIVE_S + _ROOM_S)) as made:
        lines = made.jsonl.read_bytes().splitlines(keepends=True)
    yield from _inside(lines[:_LEARNED], bodies)
    with TemporaryDirectory(prefix="streamrec-bench-") as folder:
        yield from _outside(lines, bodies, f"embedded:{folder}/redis")


def _inside(lines: list[bytes], bodies: list[bytes]) -> Iterator[Figure]:
    """From the bytes of a request to those of its answer."""
    from streamrec.clock import SystemClock
    from streamrec.learner.start import Plan, start
    from streamrec.models.settings import ModelSettings
    from streamrec.serving.rank_body import rank_body
    from streamrec.serving.scorer import Scorer
    from streamrec.store.memory import MemoryStore
    from streamrec.transport.registry import open_source

    store = MemoryStore("bench-serve")
    with TemporaryDirectory(prefix="streamrec-bench-") as folder:
        path = Path(folder, "events.jsonl")
        path.write_bytes(b"".join(lines))
        plan = Plan(fresh=True, model=ModelSettings(kind="ftrl"))
        started = start(plan, open_source(str(path)), store, SystemClock())
        started.learner.run()
        started.parts.close()
    scorer = Scorer(store, "default", SystemClock())
    scorer.load()
    times_ms = []
    for body in bodies:
        began_s = perf_counter()
        rank_body(body, scorer, 1_700_000_000_000)
        times_ms.append(1000 * (perf_counter() - began_s))
    median = float(np.median(times_ms[_REQUESTS // 10 :]))
    yield Figure("rank 500 × 20 in process, median", median, "ms", _INSIDE_MS, "limit", _LIMIT)


def _outside(lines: list[bytes], bodies: list[bytes], store: str) -> Iterator[Figure]:
    """Over HTTP: one request after another with nothing else to do, then at a rate beside a learner."""
    from streamrec.store.registry import open_store

    kept = open_store(store)
    try:
        learn, serve = ("learn", "-", "--store", store, "--model", "ftrl"), ("serve", "--store", store)
        with worker(*learn) as learner, worker(*serve, "--port", "0", "--json") as service:
            assert learner.stdin is not None
            assert service.stdout is not None
            url = json.loads(service.stdout.readline())["url"]
            feed = Feed(learner.stdin, lines, _LEARNED, _EVENTS_PER_S)
            feed.start()
            wait_until_learned(url, _LEARNED * 9 // 10)  # a block may wait until more comes
            closed_loop(url, bodies[:20], 1)
            yield from _limited("alone", closed_loop(url, bodies, 1))
            yield from _beside(url, bodies, feed)
            feed.over.set()
            feed.join()
    finally:
        kept.close()


def _beside(url: str, bodies: list[bytes], feed: Feed) -> Iterator[Figure]:
    before, began_s = examples_learned(url), perf_counter()
    feed.begin.set()
    asked = [bodies[i % len(bodies)] for i in range(_REQUESTS_PER_S * _LIVE_S)]
    times_ms = open_loop(url, asked, _REQUESTS_PER_S, _CLIENTS)
    rate = (examples_learned(url) - before) / (perf_counter() - began_s)
    yield Figure("rank: events learned beside it", rate, "events/s", _EVENTS_PER_S, "asked for", (0.9, None))
    yield from _limited("at 100/s, learning", times_ms)
    began_s = perf_counter()
    closed_loop(url, bodies, _CLIENTS)
    rate = len(bodies) / (perf_counter() - began_s)
    yield Figure("rank: most, learning", rate, "requests/s", _REQUESTS_PER_S, "asked for", (1.0, None))


def _limited(how: str, times_ms: Times) -> Iterator[Figure]:
    for q, limit_ms in ((50, _P50_MS), (99, _P99_MS)):
        value = float(np.percentile(times_ms, q))
        yield Figure(f"rank over HTTP {how}, p{q}", value, "ms", limit_ms, "limit", _LIMIT)


def _request(i: int) -> dict[str, Any]:
    values = np.random.default_rng(i).integers(0, 50_000, (_CANDIDATES, N_FIELDS)).tolist()
    candidates = [
        {"item": f"i{c}", "features": {f"f{f}": f"v{value}" for f, value in enumerate(row)}}
        for c, row in enumerate(values)
    ]
    return {"user": "u1", "candidates": candidates, "k": 10}
