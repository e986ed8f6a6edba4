"""Time of /v1/rank: 500 candidates with 20 features each, in process and over HTTP on loopback, one request
after another.
"""

import json
from collections.abc import Callable
from http.client import HTTPConnection
from time import perf_counter, sleep
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from streamrec.cli.bench.figure import Figure
from streamrec.cli.bench.stream import N_FIELDS, streams

__all__ = ["figures"]

_CANDIDATES, _REQUESTS = 500, 200


def figures() -> list[Figure]:
    """Milliseconds; the limits are those of issue "real-time serving" (4 and 10 ms under load), here without
    load.
    """
    from streamrec.clock import SystemClock
    from streamrec.learner.start import Plan, start
    from streamrec.models.settings import ModelSettings
    from streamrec.serving.api import RankRequest
    from streamrec.serving.rank import rank
    from streamrec.serving.service import BackgroundService
    from streamrec.store.memory import MemoryStore
    from streamrec.transport.registry import open_source

    store = MemoryStore("bench-serve")
    with streams(50_000) as made:
        plan = Plan(fresh=True, model=ModelSettings(kind="ftrl"))
        started = start(plan, open_source(str(made.jsonl)), store, SystemClock())
        started.learner.run()
    bodies = [json.dumps(_request(i)).encode() for i in range(_REQUESTS)]
    with BackgroundService(store, "default") as service:
        while service.scorer.generation is None:
            sleep(0.01)
        requests = [RankRequest.model_validate_json(body) for body in bodies]
        inside = _times([lambda r=r: rank(r, service.scorer, 1_700_000_000_000) for r in requests])  # type: ignore[misc]
        connection = HTTPConnection(urlsplit(service.url).netloc)
        outside = _times([lambda b=b: _post(connection, b) for b in bodies])  # type: ignore[misc]
        connection.close()
    return [
        Figure("rank 500 × 20 in process, median", inside[0], "ms"),
        Figure("rank 500 × 20 over HTTP, median", outside[0], "ms", inside[0], "in process"),
        Figure("rank 500 × 20 over HTTP, p99", outside[1], "ms"),
    ]


def _request(i: int) -> dict[str, Any]:
    values = np.random.default_rng(i).integers(0, 50_000, (_CANDIDATES, N_FIELDS)).tolist()
    candidates = [
        {"item": f"i{c}", "features": {f"f{f}": f"v{value}" for f, value in enumerate(row)}}
        for c, row in enumerate(values)
    ]
    return {"user": "u1", "candidates": candidates, "k": 10}


def _post(connection: HTTPConnection, body: bytes) -> None:
    connection.request("POST", "/v1/rank", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"/v1/rank answered {answer.status}: {content[:200]!r}")


def _times(actions: list[Callable[[], object]]) -> tuple[float, float]:
    """Median and 99th percentile in ms, after a tenth that warms up."""
    times = []
    for action in actions:
        began = perf_counter()
        action()
        times.append(1000 * (perf_counter() - began))
    kept = times[len(times) // 10 :]
    return float(np.median(kept)), float(np.percentile(kept, 99))
