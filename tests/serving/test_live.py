"""What the live page is made of: history, curves, weights with names, crosses; of a real model, while it learns."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from serving_fakes import Client, FakeMirror, FakeStore, client_of, commit

from streamrec.clock import SystemClock
from streamrec.evaluation.crosses import learned_strengths
from streamrec.events.decoder import BlockDecoder
from streamrec.events.example_reader import labelled
from streamrec.features.spec import Cross, FeatureSpec, Field
from streamrec.learner.arrivals import Arrivals
from streamrec.learner.measures import Measures
from streamrec.models.linear_part import weights
from streamrec.models.pipeline import Pipeline
from streamrec.models.settings import ModelSettings
from streamrec.serving import inside
from streamrec.serving.app import create_app
from streamrec.serving.scorer import Scorer
from streamrec.serving.weights import largest
from streamrec.store.base import Commit
from streamrec.store.memory import MemoryStore

SPEC = FeatureSpec(
    fields=tuple(Field(name=name, kind="category") for name in ("user", "item", "genre", "device")),
    crosses=(Cross(fields=("user", "genre")), Cross(fields=("device", "genre"))),
)


def events(first: int, n: int) -> bytes:
    """Drama on the phone is liked, and nothing else matters."""
    rng = np.random.default_rng(first)
    lines = []
    for i in range(first, first + n):
        features = {"genre": ["drama", "war", "music"][i % 3], "device": ["phone", "desk"][rng.integers(2)]}
        liked = features == {"genre": "drama", "device": "phone"}
        event = {"type": "example", "id": str(i), "time": 1000 * i, "user": f"u{i % 7}", "item": f"i{i % 11}"}
        lines.append(
            json.dumps({**event, "features": features, "label": int(rng.random() < (0.9 if liked else 0.1))})
        )
    return "\n".join(lines).encode() + b"\n"


class Learner:
    """Learns those events and commits, with the blobs that a learner has."""

    def __init__(self, store: MemoryStore, settings: ModelSettings, name: str = "m") -> None:
        self.pipeline, self.measures, self.n, self.seq = Pipeline(settings, SPEC), Measures(), 0, 0
        self.alarms: list[dict[str, Any]] = []
        self._lease = store.acquire(name, fresh=True)
        self._decoder = BlockDecoder()

    def stop(self, reason: str) -> None:
        """What guards commit when they stop learning; an empty reason: what a release commits."""
        self.seq += 1
        told = json.dumps({"reason": reason, "ahead": 1}).encode() if reason else b""
        self._lease.commit(Commit(self.seq, {}, {"cut_off": told}, 1_700_000_000_000 + 1000 * self.seq))

    def learn(self, n: int) -> None:
        block, _ = self._decoder.decode(events(self.n, n))
        examples = labelled(block)
        predictions = self.pipeline.learn(examples, self._decoder.fields)
        watched = Arrivals().resolve(examples, predictions).watched
        self.measures.update(examples, self._decoder.fields, watched)
        self.n, self.seq = self.n + n, self.seq + 1
        progress = {"events": self.n, "examples": self.n, "rejected": 0, "last_time_ms": 1000 * self.n}
        blobs = {"model": self.pipeline.describe(), "progress": json.dumps(progress).encode()}
        blobs |= {**self.pipeline.blobs(), **self.measures.blobs()}
        blobs["metrics"] = json.dumps(
            json.loads(blobs["metrics"]) | {"drift": {"last": self.alarms}}
        ).encode()
        changed = self.pipeline.take_changed()
        self._lease.commit(Commit(self.seq, changed, blobs, 1_700_000_000_000 + 1000 * self.seq))


class World:
    """A learner, and a client of the service over its model."""

    def __init__(self, learner: Learner, scorer: Scorer, client: Client) -> None:
        self.learner, self.scorer, self.client = learner, scorer, client

    def get(self, path: str):
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def until(self, path: str, is_there: Callable[[Any], Any]):
        for _ in range(500):
            answer = self.get(path)
            if is_there(answer):
                return answer
            threading.Event().wait(0.01)
        raise AssertionError(answer)

    def rank(self) -> None:
        candidates = [
            {"item": f"i{i}", "features": {"genre": genre, "device": "phone"}}
            for i, genre in enumerate(("drama", "war", "music"))
        ]
        assert self.client.post("/v1/rank", json={"user": "u3", "candidates": candidates}).status_code == 200


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(inside, "GOOD_FOR_S", 0.0)
    monkeypatch.setattr(inside, "PATIENCE_S", 60.0)
    store = MemoryStore("live")
    learner = Learner(store, ModelSettings())
    learner.learn(900)
    scorer = Scorer(store, "m", SystemClock())
    assert scorer.load()
    with client_of(create_app(scorer)) as client:
        yield World(learner, scorer, client)
    store.close()


def test_why_guards_stopped_learning_is_told_until_it_is_released(world):
    assert world.get("/v1/model")["stopped"] is None
    world.learner.stop("after example 900: the prediction is nan")
    told = world.until("/v1/model", lambda answer: answer["seq"] == 2)
    assert told["stopped"] == "after example 900: the prediction is nan"
    told = {"text": "learning is stopped: after example 900: the prediction is nan", "example": None}
    assert world.get("/v1/model/history")["alarms"] == [told]
    world.learner.stop("")
    assert world.until("/v1/model", lambda answer: answer["seq"] == 3)["stopped"] is None
    assert world.get("/v1/model/history")["alarms"] == []


def test_history_grows_with_the_commits(world):
    first = world.get("/v1/model/history")
    assert (first["model"], first["kind"], first["ready"], first["alarms"]) == ("m", "wide", True, [])
    (point,) = first["points"]
    assert (point["seq"], point["examples"], point["event_time_ms"]) == (1, 900, 900_000)
    assert point["ne"] == json.loads(world.learner.measures.blobs()["metrics"])["recent"]["ne"]
    world.learner.learn(100)
    after = world.until("/v1/model/history?after=1", lambda answer: answer["points"])
    assert [each["examples"] for each in after["points"]] == [1000]
    assert after["seq"] == 2


def test_curves_are_the_learners_own(world):
    curves = world.get("/v1/model/curves")
    points = world.learner.measures.curves.points()
    assert curves["examples"] == points[:, 0].tolist() == list(range(100, 1000, 100))
    assert curves["ne"] == points[:, 2].tolist()
    assert curves["auc"][-1] > 0.5


def test_the_largest_weights_are_those_of_the_table(world):
    linear = world.learner.pipeline.model.tables["linear"]
    every = [(int(i), w) for ids, rows in linear.pieces()
             for i, w in zip(ids, weights(rows, world.learner.pipeline.model.parameters), strict=True)]  # fmt: skip
    expected = sorted((abs(w) for _, w in every), reverse=True)[:30]
    found = world.get("/v1/model/weights")
    assert [abs(each["weight"]) for each in found["weights"]] == expected
    assert found["rows"] == len(every)
    assert {each["name"] for each in found["weights"]} <= {None, "(intercept)"}


def test_requests_tell_the_names_and_the_crosses(world):
    nothing = world.get("/v1/model/crosses")
    assert nothing["reason"] == "linear crosses are seen in examples only: none were scored yet"
    assert (nothing["fields"], nothing["examples"]) == ([], 0)
    world.rank()
    found = world.until(
        "/v1/model/weights", lambda answer: any("×" in (w["name"] or "") for w in answer["weights"])
    )
    named = {each["name"]: each["weight"] for each in found["weights"]}
    assert named["device=phone×genre=drama"] > 0
    crosses = world.until("/v1/model/crosses", lambda answer: answer["examples"])
    assert (crosses["examples"], crosses["reason"]) == (3, "")
    assert crosses["pairs"][0]["fields"] == ["device", "genre"] or crosses["pairs"][0]["fields"] == [
        "genre",
        "device",
    ]
    lines = world.scorer.seen.after(0)[1]
    decoder = BlockDecoder()
    batch = world.learner.pipeline.preview(decoder.decode(b"".join(lines))[0], decoder.fields)
    expected = learned_strengths(world.learner.pipeline, [batch]).as_json()
    assert {name: crosses[name] for name in expected} == expected


def test_a_look_keeps_nobody_waiting_for_long(world, monkeypatch):
    """Whoever scores gets in between two segments: here one takes 5 ms, all 128 take .6 s."""
    table = world.scorer.generation._mirror.tables["linear"]
    pieces, held = table.pieces, []

    def slow():
        for piece in pieces():
            held.append(world.scorer.generation._use.locked())
            threading.Event().wait(0.005)
            yield piece

    monkeypatch.setattr(table, "pieces", slow)
    looking = threading.Thread(target=largest, args=(world.scorer, 5))
    looking.start()
    n_ranked = 0
    while looking.is_alive():
        world.rank()
        n_ranked += 1
    assert n_ranked > 2  # the first, and the last, may be outside
    assert len(held) == 128
    assert all(held)  # no commit changes a table that is being read


class Still:
    """A scorer whose model stays what it is."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    @contextmanager
    def reading(self):
        yield self.pipeline, None


def test_of_a_network_the_longest_vectors():
    pipeline = Pipeline(ModelSettings(kind="dcn"), SPEC)
    table, width = pipeline.model.tables["embedding"], pipeline.model.part.embedding.width
    rows = np.random.default_rng(0).normal(size=(200, table.width)).astype(np.float32)
    table.upsert(np.arange(1, 201, dtype=np.uint64), rows)
    found = largest(Still(pipeline), 10)
    lengths = np.linalg.norm(rows[:, :width].astype(float), axis=1)
    best = np.argsort(-lengths)[:10]
    assert [int(each["id"], 16) for each in found.top] == (best + 1).tolist()
    np.testing.assert_allclose([each["weight"] for each in found.top], lengths[best])
    assert (found.rows, found.measure) == (200, "length of a value's vector")


def test_of_a_model_that_is_not_known_nothing_is_shown():
    store = FakeStore()
    store.add(
        commit(
            1,
            blobs={
                "metrics": b'{"drift":{"last":[{"of":"loss","example":7},5,{"slice":[1],"before":"x"}]}}',
                "metrics.curves": b"SRC1",
            },
        )
    )
    scorer = Scorer(store, "m", SystemClock(), build=lambda _: FakeMirror())
    with client_of(create_app(scorer)) as client:
        for path in ("history", "curves", "weights", "crosses"):
            if scorer.generation is None:
                assert client.get(f"/v1/model/{path}").status_code in (200, 503)
        while scorer.generation is None:
            threading.Event().wait(0.01)
        assert client.get("/v1/model/weights").json()["weights"] == []
        assert client.get("/v1/model/crosses").json()["reason"] == "this kind of model is not known here"
        assert client.get("/v1/model/curves").json()["examples"] == []
        assert client.get("/v1/model/history").json()["alarms"] == [
            {"text": "drift at example 7: mean loss", "example": 7},
            {"text": "drift: None in slice [1]", "example": None},
        ]
        assert client.get("/v1/model/history?after=-1").status_code == 422


def test_a_sample_of_requests_is_small():
    from streamrec.serving.seen import Seen

    now = [0.0]
    seen = Seen(lambda: now[0])
    for n in range(100):
        now[0] += 0.15
        seen.offer(b"".join(b'{"n":%d,"i":%d}\n' % (n, i) for i in range(500)))
    number, lines = seen.after(0)
    assert number == 50  # every second one came too soon
    assert len(lines) == 32 * 8
    assert [json.loads(line)["i"] for line in lines[:8]] == list(range(0, 500, 63))
    now[0] += 1
    seen.offer(b'{"x":"' + b"a" * 10_000_000 + b'"}\n')
    assert seen.after(number) == (number + 1, [])
    assert sum(map(len, seen.after(0)[1])) < 10_000
