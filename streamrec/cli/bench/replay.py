"""From JSON lines to progressive predictions and updated weights, beside Vowpal Wabbit's file driver and
river; and where the time goes.
"""

import json
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

from streamrec.cli.bench.figure import Figure
from streamrec.cli.bench.stream import N_EVENTS, streams, vowpal_wabbit_rate

__all__ = ["figures", "replay_rate"]

_RIVER_EVENTS = 20_000  # a second of river


def figures() -> list[Figure]:
    """Examples/s, each the best of three after a warm-up, the file in the page cache."""
    with streams() as made:
        ours = replay_rate(made.jsonl, "memory")
        wabbit = vowpal_wabbit_rate(made.vw, N_EVENTS)
        river = _river_rate(made.jsonl)
        parts = _parts(made.jsonl)
    whole = sum(parts.values())
    return [
        Figure("replay, store memory", ours, "examples/s", wabbit, "Vowpal Wabbit", (2.0, None)),
        Figure("replay, store memory (river)", ours, "examples/s", river, "river", (30.0, None)),
        *(Figure(f"share of {name}", 100 * seconds / whole, "%") for name, seconds in parts.items()),
    ]


def replay_rate(path: Path, store_url: str, runs: int = 3) -> float:
    """Examples/s of `streamrec replay --model ftrl`, everything but start-up: from the first byte read to the
    last commit stored.
    """
    from streamrec.clock import SystemClock
    from streamrec.learner.start import Plan, start
    from streamrec.models.settings import ModelSettings
    from streamrec.store.registry import open_store
    from streamrec.transport.registry import open_source

    plan, best = Plan(name="bench", fresh=True, model=ModelSettings(kind="ftrl")), 0.0
    store = open_store(store_url)
    try:
        for _ in range(runs + 1):  # the first one warms up
            started = start(plan, open_source(str(path)), store, SystemClock())
            began = perf_counter()
            report = started.learner.run()
            best = max(best, report.examples / (perf_counter() - began))
            started.parts.close()
    finally:
        store.close()
    return best


def _river_rate(path: Path) -> float:
    from river import linear_model, optim

    with path.open() as file:
        events = [json.loads(line) for line in islice(file, _RIVER_EVENTS)]
    one_hot = [{f"{f}={value}": 1.0 for f, value in event["features"].items()} for event in events]
    pairs = [(x, bool(event["label"])) for x, event in zip(one_hot, events, strict=True)]
    best = 0.0
    for _ in range(2):
        model = linear_model.LogisticRegression(optim.FTRLProximal())  # its own one-hot encoder is far slower
        began = perf_counter()
        for x, y in pairs:
            model.predict_proba_one(x)
            model.learn_one(x, y)
        best = max(best, _RIVER_EVENTS / (perf_counter() - began))
    return best


def _parts(path: Path) -> dict[str, float]:
    """Seconds of each step, one after the other on one core (in a run, reading and decoding overlap the
    rest).
    """
    from streamrec.events.codec import decode_line
    from streamrec.events.decoder import BlockDecoder
    from streamrec.features.infer import infer_spec
    from streamrec.join.decode import decode_chunk
    from streamrec.join.joiner import Joiner
    from streamrec.learner.arrivals import Arrivals
    from streamrec.learner.measures import Measures
    from streamrec.models.pipeline import Pipeline
    from streamrec.models.settings import ModelSettings
    from streamrec.transport.registry import open_source

    with path.open("rb") as file:
        events: list[Any] = [decode_line(line.rstrip()) for line in islice(file, 1000)]
    pipeline = Pipeline(ModelSettings(kind="ftrl"), infer_spec(events, "plain"))
    decoder, joiner, arrivals, measures = BlockDecoder(), Joiner(), Arrivals(), Measures()
    seconds = dict.fromkeys(("read", "decode", "join", "features", "learn", "measure", "commit"), 0.0)
    source = open_source(str(path))

    def timed(name: str, began: float) -> float:
        now = perf_counter()
        seconds[name] += now - began
        return now

    began = perf_counter()
    while (chunk := source.read()) is not None:
        began = timed("read", began)
        decoded = decode_chunk(chunk, decoder)
        began = timed("decode", began)
        examples = joiner.push(decoded.block, decoded.data, decoded.places).examples
        began = timed("join", began)
        batch = pipeline.extractor.extract(examples, decoder.fields)
        began = timed("features", began)
        predictions = pipeline.model.learn(batch)
        began = timed("learn", began)
        measures.update(examples, decoder.fields, arrivals.resolve(examples, predictions).watched)
        began = timed("measure", began)
    pipeline.take_changed()
    timed("commit", began)
    return seconds
