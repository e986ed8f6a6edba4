"""Items and users that expire, over a real Redis: gone from its rows, from scorers, and for learners that start again."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from test_lifetimes import HOUR, START, ids_in, rating, told

from streamrec.clock import SystemClock
from streamrec.hashing import hash_text
from streamrec.learner.report import Report
from streamrec.learner.settings import LearnerSettings
from streamrec.learner.start import Plan, Started, start
from streamrec.models.settings import ModelSettings
from streamrec.serving.retrieval_api import RetrieveRequest
from streamrec.serving.retrieve import retrieve
from streamrec.serving.scorer import Scorer
from streamrec.store.memory import MemoryStore
from streamrec.store.redis import RedisStore
from streamrec.transport.registry import open_source

pytestmark = pytest.mark.integration
TTL_H = 8
OLD, NEW = 24, 70  # events
SMALL = {"micro_batch": 4, "refreshed": 4, "towers": {"width": 4, "units": 4, "query": []}}


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    store = RedisStore(redis_url)
    yield store
    store.close()


def plan(name: str) -> Plan:
    model = {
        "kind": "two_tower",
        "ranker": {"kind": "ftrl"},
        "retrieval": SMALL,
        "expire_after_s": 3600.0 * TTL_H,
    }
    learner = LearnerSettings(commit_interval_s=0.001)
    return Plan(name=name, model=ModelSettings.model_validate(model), learner=learner)


def lines() -> Iterator[str]:
    """Old items and users for two hours; then new ones, and the catalogue, which keeps one of the old; one again."""
    yield from (rating(k, k / 12, f"olduser{k % 3}", f"old{k % 5}") for k in range(OLD))
    for k in range(NEW - OLD):
        hour = 3 + k / 2.3
        yield (
            rating(100 + k, hour, f"newuser{k % 2}", f"new{k % 3}")
            if k % 4
            else told(hour, "old4", features={})
        )
    yield told(24, "old1", features={"kind": "k9"})
    yield from (rating(200 + k, 24, "newuser1", "new1") for k in range(4))


def learn(path: Path, store: RedisStore | MemoryStore, name: str, **run: Any) -> Started:
    """Go on with the stream, in several commits, whose rows are where they belong in the end."""
    source = open_source(str(path), chunk_bytes=1_000)
    started = start(plan(name), source, store, SystemClock())
    started.learner.run(**run)
    started.parts.close()
    source.close()
    return started


def fields_of(redis_url: str, name: str) -> set[bytes]:
    """Of all rows that Redis has of a model, the low seven bytes of their ids."""
    client = redis.Redis.from_url(redis_url)
    keys = [key for key in client.scan_iter(f"sr:{{{name}.*", 1000) if client.type(key) == b"hash"]
    return {field for key in keys for field in client.hkeys(key)}


def field(name: str) -> bytes:
    return hash_text(name).to_bytes(8, "big")[1:]


def found(scorer: Scorer, learner: Started | Report) -> set[str]:
    """What a scorer finds as soon as it has all that the learner has stored."""
    report = learner.learner.report() if isinstance(learner, Started) else learner
    while scorer.generation is None or scorer.generation.version.seq < report.stored.seq:
        scorer.step()
    request = RetrieveRequest.model_validate({"user": "newuser0", "k": 1000, "time": START + 40 * HOUR})
    return {item["item"] for item in retrieve(request, scorer, 0)["items"]}


def test_who_expires_is_gone_from_redis_and_comes_back_as_new(
    store: RedisStore, redis_url: str, tmp_path: Path
) -> None:
    path, name = tmp_path / "events.jsonl", f"expiry-{time.time_ns()}"
    path.write_text("".join(line + "\n" for line in lines()))
    scorer = Scorer(store, name, SystemClock())
    users, gone = {"olduser0", "olduser1", "olduser2"}, {"old0", "old2", "old3"}
    started = learn(path, store, name, limit=OLD)
    assert found(scorer, started) == gone | {"old1", "old4"}
    assert {field(each) for each in gone | users} <= fields_of(redis_url, name)

    answers = []
    learn(path, store, name, limit=NEW, watch=lambda report: answers.append(found(scorer, report)))
    assert gone <= answers[0]
    assert answers[-1] == {"old4", "new0", "new1", "new2"}
    assert scorer.n_loads <= 2 < len(answers)  # anew for another learner; then it followed the commits

    started = learn(path, store, name)  # a restart, after they expired
    assert found(scorer, started) == {"old1", "old4", "new0", "new1", "new2"}
    there, tables = fields_of(redis_url, name), started.parts.pipeline.tables
    assert not {field(each) for each in gone | users} & there
    assert {field(each) for each in ("old1", "old4", "new1", "newuser1")} <= there
    assert not {hash_text(each) for each in gone | users} & set().union(*map(ids_in, tables.values()))
    counts = started.parts.pipeline.retriever._visits.counts(np.array([hash_text("old1")], np.uint64))
    assert counts.taken.tolist() == [0]
    undisturbed = learn(path, MemoryStore(name), name).parts.pipeline
    assert started.parts.pipeline.state_sha256() == undisturbed.state_sha256()
