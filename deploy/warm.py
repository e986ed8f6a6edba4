"""Compile kernels before the first event comes: `python deploy/warm.py [KIND ...]`, while the image is built.

Joins and learns a small stream into a real store and scores from it, once for each kind of model (all of
them where none is named), so that every kernel lands in NUMBA_CACHE_DIR. Without it the first start of every
container compiles for half a minute.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from streamrec.clock import SystemClock
from streamrec.events.decoder import BlockDecoder
from streamrec.events.key import LineKeys
from streamrec.join.decode import decode_chunk
from streamrec.join.joiner import Joiner
from streamrec.join.lines import carrying_lines, example_lines
from streamrec.join.select import selected
from streamrec.join.settings import JoinSettings
from streamrec.learner.start import Plan, start
from streamrec.models.registry import KINDS
from streamrec.models.settings import ModelSettings
from streamrec.serving.api import RankRequest
from streamrec.serving.rank import rank
from streamrec.serving.scorer import Scorer
from streamrec.serving.weights import largest
from streamrec.store.base import Store
from streamrec.store.embedded import server_binary
from streamrec.store.registry import open_store
from streamrec.transport.registry import open_source

_FEATURES = {"s": "a", "tags": ["b", "c"], "n": 1.5, "i": 3, "yes": True, "none": None}
_REQUEST = {
    "user": "u1",
    "features": {"s": "a"},
    "candidates": [{"item": "i1"}],
    "explain": True,
    "explore": {"policy": "thompson"},
}
#: More than are looked at to infer the features (1,000), and enough ids for their set to grow.
_N_EVENTS = 4000


def _events() -> list[dict[str, object]]:
    """Every type of event, and one (é) that the compiled decoder hands to the slow one."""
    given = {"user": "u1", "item": "i1", "features": _FEATURES}
    events: list[dict[str, object]] = [
        {"type": "rating", "id": "r", "time": 0, "rating": 5, **given},
        {"type": "example", "id": "é", "time": 1, "label": 1, "weight": 2.0, "features": _FEATURES},
        {"type": "item", "id": "i1", "time": 2, "features": _FEATURES},
    ]
    for n in range(_N_EVENTS):
        shown = {"user": f"u{n % 7}", "item": f"i{n % 5}", "features": {**_FEATURES, "n": n / 10}}
        events.append({"type": "impression", "id": f"x{n}", "time": 1000 * n, **shown})
        if n % 3 == 0:
            events.append({"type": "click", "id": f"c{n}", "time": 1000 * n + 10, "impression": f"x{n}"})
    return events


def _stream(path: Path, events: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events), "utf-8")
    return path


def _learn(stream: Path, store: Store, kind: str) -> None:
    """Twice: the second run resumes, which has kernels of its own."""
    plan = Plan(kind, model=ModelSettings(kind=kind), rejects=str(stream.with_name(f"rejects-{kind}")))
    for limit in (_N_EVENTS, None):
        with ExitStack() as stack:
            source = open_source(str(stream))
            stack.callback(source.close)
            started = start(plan, source, store, SystemClock())
            stack.callback(started.parts.close)
            started.result(started.learner.run(limit=limit))


def _join(stream: Path) -> None:
    """As the join worker does: merged by time, and lines for entries."""
    with ExitStack() as stack:
        source = open_source(str(stream))
        stack.callback(source.close)
        decoder, joiner = BlockDecoder(), Joiner(JoinSettings())
        while (chunk := source.read()) is not None:
            decoded = decode_chunk(chunk, decoder)
            block = carrying_lines(decoded.block, decoded.data)
            joined = joiner.push(selected(block, np.arange(len(block))), decoded.data, decoded.places)
            example_lines(joined.examples)
        example_lines(joiner.finish().examples)


def _score(store: Store, kind: str) -> None:
    """As a scorer does, and the live page."""
    scorer = Scorer(store, kind, SystemClock())
    if not scorer.load() or not rank(RankRequest.model_validate(_REQUEST), scorer, 0):
        sys.exit(f"the small stream was not learned by {kind}")
    largest(scorer, 1)


def main(kinds: Sequence[str]) -> None:
    """Learn, resume and score, by models of these kinds; join, find the keys of events."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stream = _stream(Path(folder, "events.jsonl"), _events())
        store = open_store(f"embedded:{folder}/store" if server_binary() else "memory:warm")
        stack.callback(store.close)
        for kind in kinds:
            _learn(stream, store, kind)
            _score(store, kind)
        LineKeys().split(stream.read_bytes())
        for path in (stream, _stream(Path(folder, "one.jsonl"), _events()[1:2])):  # nothing to join
            _join(path)


if __name__ == "__main__":
    main(sys.argv[1:] or list(KINDS))
