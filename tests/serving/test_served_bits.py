"""A served score is the learner's own prediction at the same sequence number, to the last bit of float32."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_fakes import Client, client_of

from streamrec.clock import SystemClock
from streamrec.learner.start import Plan, start
from streamrec.models.registry import KINDS
from streamrec.models.settings import ModelSettings
from streamrec.serving.app import create_app
from streamrec.serving.scorer import Scorer
from streamrec.store.memory import MemoryStore
from streamrec.transport.registry import open_source

N_EVENTS = 3000
STOPS = (1100, 1101, 1900, 2999)


def examples() -> list[dict[str, Any]]:
    """Every kind of feature value, awkward text, absent users, names in varying order."""
    rng = np.random.default_rng(7)
    events = []
    for n in range(N_EVENTS):
        features: dict[str, Any] = {
            "city": ["Köln", "Zürich", 'quo"te\\', "line\nbreak", "日本", ""][rng.integers(6)],
            "tags": [f"t{rng.integers(9)}" for _ in range(rng.integers(4))],
            "price": float(rng.lognormal()) * 10 ** int(rng.integers(-3, 4)),
            "count": int(rng.integers(0, 50)),
            "flag": bool(rng.integers(2)),
            "title": " ".join(f"Word{rng.integers(30)}" for _ in range(4)),
            "nothing": None,
        }
        names = list(features)
        rng.shuffle(names)
        event = {
            "type": "example",
            "id": f"e{n}",
            "time": 1_700_000_000_000 + n * 60_000,
            "label": int(rng.random() < (0.2 + 0.5 * features["flag"])),
            "features": {name: features[name] for name in names if rng.random() < 0.9},
        }
        if rng.random() < 0.9:
            event["user"] = f"ü{rng.integers(50)}"
        if rng.random() < 0.9:
            event["item"] = f"i{rng.integers(200)}"
        events.append(event)
    return events


EVENTS = examples()


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stream") / "events.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in EVENTS), encoding="utf-8")
    return path


def learn(stream: Path, store: MemoryStore, plan: Plan, limit: int) -> Any:
    """Learn up to `limit` records of the stream in all; the pipeline as it was then."""
    with ExitStack() as stack:
        source = open_source(str(stream))
        stack.callback(source.close)
        started = start(plan, source, store, SystemClock())
        stack.callback(started.parts.close)
        started.learner.run(limit=limit, finish=False)
        return started.parts.pipeline


def ask(client: Client, events: list[dict[str, Any]], *, split: bool) -> list[float]:
    """The served probabilities of some events; `split` gives a part of the features with the request."""
    served = []
    for event in events:
        features = event["features"]
        shared = {k: v for k, v in features.items() if split and k in ("city", "flag", "price")}
        own = {k: v for k, v in features.items() if k not in shared}
        if split and "tags" in own:
            shared["tags"] = ["overridden"]
        body = {"time": event["time"], "features": shared, "candidates": [{"features": own}]}
        if "user" in event:
            body["user"] = event["user"]
        if "item" in event:
            body["candidates"][0]["item"] = event["item"]
        (item,) = client.post("/v1/rank", json=body).json()["items"]
        served.append(item["probability"])
    return served


@pytest.fixture(params=list(KINDS))
def plan(request: pytest.FixtureRequest, tmp_path: Path) -> Plan:
    return Plan(
        name=tmp_path.name,
        model=ModelSettings(kind=request.param),
        predictions=tmp_path / "predictions.jsonl",
    )


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    store = MemoryStore()
    yield store
    store.close()


def test_rank_answers_what_the_learner_predicts_next(stream: Path, store: MemoryStore, plan: Plan) -> None:
    """The served score of the next event is the prediction that the learner makes before learning it."""
    followed = Scorer(store, plan.name, SystemClock())
    served = {}
    for stop in STOPS:
        pipeline = learn(stream, store, plan, stop)
        loaded = Scorer(store, plan.name, SystemClock())
        while followed.generation is None or followed.generation.version != _head(store, plan):
            followed.step()
        assert loaded.load()
        some = [*EVENTS[stop : stop + 5], *EVENTS[:5]]
        lines = "".join(json.dumps(event) + "\n" for event in some).encode()
        expected = pipeline.score_lines(lines)[0].astype(np.float64).tolist()
        for scorer in (followed, loaded):
            with client_of(create_app(scorer)) as client:
                assert ask(client, some, split=False) == expected
                assert ask(client, some, split=True) == expected
        served[stop] = expected[0]
    learn(stream, store, plan, N_EVENTS)
    assert plan.predictions is not None
    predicted = [json.loads(line)["prediction"] for line in plan.predictions.read_text().splitlines()]
    assert len(predicted) == N_EVENTS
    assert {stop: np.float32(predicted[stop]) for stop in STOPS} == served
    assert len(set(served.values())) == len(STOPS)


def _head(store: MemoryStore, plan: Plan) -> tuple[int, int, int]:
    return tuple(store.head(plan.name))


def test_all_candidates_of_one_request_get_the_learners_bits(
    stream: Path, store: MemoryStore, plan: Plan
) -> None:
    pipeline = learn(stream, store, plan, 2000)
    scorer = Scorer(store, plan.name, SystemClock())
    assert scorer.load()
    asked = EVENTS[:400]
    lines = "".join(
        json.dumps({**event, "user": "ü7", "time": 1_700_000_000_000}) + "\n" for event in asked
    ).encode()
    scores = pipeline.score_lines(lines).astype(np.float64)
    body = {
        "user": "ü7",
        "time": 1_700_000_000_000,
        "candidates": [{"item": event.get("item"), "features": event["features"]} for event in asked],
    }
    with client_of(create_app(scorer)) as client:
        items = client.post("/v1/rank", json=body).json()["items"]
        best = client.post("/v1/rank", json={**body, "k": 9}).json()["items"]  # only these have confidences
    assert [(its["item"], its["probability"]) for its in best] == [
        (its["item"], its["probability"]) for its in items[:9]
    ]
    # a network's way back rounds as its batch does
    expected = [its["confidence"] for its in items[:9]]
    assert [its["confidence"] for its in best] == pytest.approx(expected, rel=1e-5)
    order = np.argsort(-scores[0], kind="stable")
    assert [item["probability"] for item in items] == scores[0][order].tolist()
    assert [item["item"] for item in items] == [asked[n].get("item") for n in order]
