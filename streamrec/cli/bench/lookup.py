"""Time of a rank in lookup mode beside a mirror's: 100 candidates with 10 features, in process, by turns."""

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from streamrec.cli.bench.figure import Figure
from streamrec.cli.bench.stream import streams

if TYPE_CHECKING:
    from streamrec.serving.scorer import Scorer

__all__ = ["figures"]

_CANDIDATES, _FIELDS, _REQUESTS = 100, 10, 120
_TIME_MS = 1_700_000_000_000


def figures() -> list[Figure]:
    """Milliseconds, medians; the model is in a Redis of this process.

    Each request is ranked by the mirror, then twice in lookup mode: the first time almost none of its rows
    are in memory.
    """
    from streamrec.clock import SystemClock
    from streamrec.learner.start import Plan, start
    from streamrec.models.settings import ModelSettings
    from streamrec.serving.modes import scorer_of
    from streamrec.serving.settings import LookupSettings
    from streamrec.store.embedded import EmbeddedStore
    from streamrec.transport.registry import open_source

    store, clock, plan = EmbeddedStore(), SystemClock(), Plan(fresh=True, model=ModelSettings(kind="ftrl"))
    try:
        with streams(50_000) as made:
            started = start(plan, open_source(str(made.jsonl)), store, clock)
            started.learner.run()
            started.parts.close()  # flushes
        mirror, lookup = (
            scorer_of(store, plan.name, clock),
            scorer_of(store, plan.name, clock, LookupSettings()),
        )
        for scorer in (mirror, lookup):
            scorer.start()
            while scorer.generation is None:
                clock.sleep(0.01)
        times = _times(mirror, lookup)
        for scorer in (mirror, lookup):
            scorer.stop()
    finally:
        store.close()
    of_mirror, cold, warm = (1000 * float(np.median(its)) for its in times)
    return [
        Figure("rank 100 × 10, lookup, rows in memory", warm, "ms", of_mirror, "a mirror"),
        Figure("rank 100 × 10, lookup, rows in Redis", cold, "ms", of_mirror, "a mirror"),
    ]


def _times(mirror: "Scorer", lookup: "Scorer") -> np.ndarray:
    """Seconds (3, n): of the mirror, of lookup without rows and with them."""
    times = [
        [_timed(_rank(mirror, i)), _timed(_rank(lookup, i)), _timed(_rank(lookup, i))]
        for i in range(_REQUESTS)
    ]
    return np.array(times[_REQUESTS // 10 :]).T


def _rank(scorer: "Scorer", i: int) -> Callable[[], Any]:
    from streamrec.serving.api import RankRequest
    from streamrec.serving.rank import rank

    values = np.random.default_rng(i).integers(0, 50_000, (_CANDIDATES, _FIELDS)).tolist()
    candidates = [
        {"item": f"i{c}", "features": {f"f{f}": f"v{value}" for f, value in enumerate(row)}}
        for c, row in enumerate(values)
    ]
    request = RankRequest.model_validate({"user": "u1", "candidates": candidates, "k": 10})
    return lambda: scorer.answer(lambda: rank(request, scorer, _TIME_MS))


def _timed(action: Callable[[], Any]) -> float:
    began = perf_counter()
    action()
    return perf_counter() - began
