"""Lookup mode: a mirror's scores to the last bit, from some of its rows."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from lookup_learner import MODELS, N_ASKED, SPEC, Learner, scorer_for, until
from serving_fakes import client_of

from streamrec.cli.serve import command as serve_command
from streamrec.clock import SystemClock
from streamrec.errors import StoreMismatch, StoreUnavailable, UsageError
from streamrec.models.keyed import keyed_tables
from streamrec.models.pipeline import Pipeline
from streamrec.models.registry import KINDS
from streamrec.models.settings import ModelSettings
from streamrec.serving.app import create_app
from streamrec.serving.lookup_pipeline import LookupPipeline
from streamrec.serving.modes import scorer_of
from streamrec.serving.scorer import Scorer
from streamrec.serving.settings import LookupSettings
from streamrec.store.base import Found, RowStore
from streamrec.store.cluster import cluster_wires
from streamrec.store.limits import Limits
from streamrec.store.memory import MemoryStore
from streamrec.store.redis import RedisStore
from streamrec.testing.redis_server import RedisServer
from workers.serve import main


@pytest.fixture(
    params=["memory", *(pytest.param(each, marks=pytest.mark.integration) for each in ("redis", "cluster"))]
)
def store(request: pytest.FixtureRequest) -> Iterator[RowStore]:
    # so few rows of a bucket that spaces are moved all the time
    limits = Limits(flush_s=float("inf"), mean_rows=2, tail_commits=3)
    if request.param == "memory":
        store: RowStore = MemoryStore(f"lookup-{time.monotonic_ns()}")
    elif request.param == "redis":
        store = RedisStore(request.getfixturevalue("redis_url"), limits=limits)
    else:
        url = request.getfixturevalue("redis_cluster").url
        store = RedisStore(url, connect=cluster_wires, limits=limits._replace(mean_rows=1))
    yield store
    store.close()


@pytest.fixture
def name() -> str:
    return f"lookup-{time.monotonic_ns()}"


@pytest.mark.parametrize(
    ("store", "kind"),
    [
        ("memory", "wide"),
        *(pytest.param("redis", kind, marks=pytest.mark.integration) for kind in MODELS),
    ],
    indirect=["store"],
)
def test_scores_are_a_mirror_s_while_a_learner_commits_and_flushes(
    store: RowStore, name: str, kind: str
) -> None:
    """More ids than the cache takes, rows that are deleted, and new ones; a second learner takes over."""
    learner = Learner(store, name, kind)
    learner.learn()
    scorer, mirror = scorer_for(store, name), Scorer(store, name, SystemClock())
    faults: list[BaseException] = []
    answered = threading.Semaphore(0)

    def work() -> None:
        try:
            for _ in range(23):
                learner.learn()
                if learner.seq % 4 == 0:
                    learner.lease.flush()
                if learner.seq == 14:
                    learner.lease.close(flush=False)
                    learner.lease = store.acquire(name)
                answered.acquire(timeout=10)
                time.sleep(0.01)
        except BaseException as fault:
            faults.append(fault)

    for each in (scorer, mirror):
        each.start()
        until(lambda each=each: each.generation is not None)  # type: ignore[misc]
    thread = threading.Thread(target=work)
    thread.start()
    seen, i = set(), 0
    while thread.is_alive():
        seen.add(learner.check(scorer, i % N_ASKED))
        i += 1
        answered.release()
        time.sleep(0.002)
    thread.join()
    assert not faults
    until(lambda: all(learner.check(each, 0) == (learner.lease.epoch, 24) for each in (scorer, mirror)))
    for i in range(N_ASKED):
        assert learner.check(scorer, i) == learner.check(mirror, i)
    for each in (scorer, mirror):
        each.stop()
    learner.lease.close()
    assert len(seen) > 3
    assert scorer.n_loads >= 2
    assert scorer.lookups.misses > 0


def test_unknown_ids_are_asked_for_once_and_appear_with_their_commit(store: RowStore, name: str) -> None:
    learner = Learner(store, name, "wide")
    learner.learn()
    learner.lease.flush()
    scorer = scorer_for(store, name, rows=10_000)
    assert scorer.load()
    for i in range(N_ASKED):
        learner.check(scorer, i)
    misses, held = scorer.lookups.misses, scorer.held
    assert held is not None
    assert held.tail == 0
    assert 0 < sum(map(len, held.tables.values())) < held.held == misses
    for i in range(N_ASKED):
        learner.check(scorer, i)
    assert scorer.lookups.misses == misses
    for _ in range(4):  # new users and items among them
        learner.learn()
    while scorer.generation is not None and scorer.generation.version.seq < learner.seq:
        scorer.step()
    for i in range(N_ASKED):
        assert learner.check(scorer, i) == (learner.lease.epoch, 5)
    assert scorer.lookups.misses == misses
    assert held.tail > 0
    learner.lease.close()


def test_memory_is_bounded(store: RowStore, name: str) -> None:
    """By `rows` and what the last 32 requests needed."""
    learner = Learner(store, name, "wide", n_asked=80)
    for _ in range(3):
        learner.learn()
    learner.lease.flush()
    scorer = scorer_for(store, name, rows=50)
    assert scorer.load()
    most = 0
    for i in range(80):
        learner.check(scorer, i)
        assert scorer.held is not None
        most = max(most, scorer.held.held)
    assert scorer.lookups.evicted > 500
    assert most < 50 + 900
    learner.lease.close()


def test_rows_of_a_later_commit_wait_for_the_log(store: RowStore, name: str) -> None:
    """A flush has gone beyond what this scorer has followed: nothing is mixed, and a wait has an end."""
    learner = Learner(store, name, "wide")
    learner.learn()
    scorer = scorer_for(store, name)
    assert scorer.load()
    learner.learn()
    learner.lease.flush()
    with pytest.raises(StoreUnavailable, match="are of commit 2 of epoch 1, which the log has not brought"):
        learner.check(scorer, 0)
    timer = threading.Timer(0.2, scorer.step)
    timer.start()
    assert learner.check(scorer, 0) == (1, 2)
    timer.join()
    learner.lease.close()


def test_a_new_learner_s_rows_wait_for_its_generation(store: RowStore, name: str) -> None:
    learner = Learner(store, name, "wide")
    learner.learn()
    scorer = scorer_for(store, name)
    assert scorer.load()
    again = Learner(store, name, "wide")  # starts over
    again.learn(60)
    again.lease.flush()
    with pytest.raises(StoreUnavailable, match="of epoch 2, which the log has not brought"):
        again.check(scorer, 0)
    scorer.start()
    until(lambda: scorer.generation is not None and scorer.generation.version.epoch == 2)
    assert again.check(scorer, 0) == (2, 1)
    scorer.stop()
    again.lease.close()


class Late(MemoryStore):
    """Its answers about rows may be kept, to come later."""

    kept: Found | None = None

    def look_up(self, model: str, ids: Mapping[str, np.ndarray]) -> Found:
        late, self.kept = self.kept, None
        return late or super().look_up(model, ids)


def test_rows_of_an_old_learner_that_come_late_are_not_taken(name: str) -> None:
    store = Late(name)
    old = Learner(store, name, "wide")
    old.learn()
    old.lease.flush()
    ids = {table: its.pieces() for table, its in old.mirror.tables.items()}
    everything = {table: np.concatenate([each for each, _ in its]) for table, its in ids.items()}
    late = store.look_up(name, everything)
    new = Learner(store, name, "wide")
    new.learn(70)
    new.lease.flush()
    scorer = scorer_for(store, name)
    assert scorer.load()
    store.kept = late
    assert new.check(scorer, 0) == (2, 1)
    assert store.kept is None


def test_no_answer_is_older_than_what_was_committed(store: RowStore, name: str) -> None:
    """With `stale_ms` 0 the store is asked before each answer: who has committed reads it."""
    learner = Learner(store, name, "ftrl")
    learner.learn()
    scorer = scorer_for(store, name, stale_ms=0)
    scorer.start()
    until(lambda: scorer.generation is not None)
    for _ in range(15):
        learner.learn(5)
        assert learner.check(scorer, 0)[1] == learner.seq
    scorer.stop()
    learner.lease.close()


class Restored(MemoryStore):
    """Says that its keyed rows are as of an older commit than it said before."""

    low = 0

    def look_up(self, model: str, ids: Mapping[str, np.ndarray]) -> Found:
        found = super().look_up(model, ids)
        return found._replace(extent=found.extent._replace(low=self.low))


def test_a_store_that_went_back_is_loaded_again(name: str) -> None:
    store = Restored(name)
    learner = Learner(store, name, "ftrl")
    learner.learn()
    learner.lease.flush()
    scorer = scorer_for(store, name)
    assert scorer.load()
    with pytest.raises(StoreUnavailable, match="went back to an older save"):
        learner.check(scorer, 0)
    store.low = 1
    scorer.step()
    assert scorer.n_loads == 2
    assert learner.check(scorer, 0) == (1, 1)


@pytest.mark.integration
def test_redis_hangs_dies_and_comes_back(redis_server: RedisServer) -> None:
    """Requests whose rows are in memory are answered, others refused in time; /readyz and metrics say so."""
    store = RedisStore(redis_server.url)
    learner = Learner(store, "m", "ftrl")
    learner.learn()
    learner.lease.flush()
    scorer = scorer_for(store, "m", rows=10_000)

    def body(user: str) -> dict[str, Any]:
        return {"user": user, "time": 1_700_000_000_000, "candidates": [{"item": "i1"}, {"item": "i2"}]}

    with client_of(create_app(scorer)) as client, redis_server.client() as redis:
        until(lambda: client.get("/readyz").status_code == 200)
        first = client.post("/v1/rank", json=body("u1")).json()
        process = int(redis.info("server")["process_id"])
        os.kill(process, signal.SIGSTOP)
        try:
            began_s = time.monotonic()
            refused = client.post("/v1/rank", json=body("u2"))
            assert time.monotonic() - began_s < 2.5
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert "2 rows that this answer needs are not in memory and cannot be read" in refused.text
            again = client.post("/v1/rank", json=body("u1")).json()
            assert again["items"] == first["items"]
            assert client.get("/readyz").status_code == 503
        finally:
            os.kill(process, signal.SIGCONT)
        until(lambda: client.get("/readyz").status_code == 200)
        assert client.post("/v1/rank", json=body("u2")).status_code == 200
        redis_server.kill()
        until(lambda: client.get("/readyz").status_code == 503)
        assert client.post("/v1/rank", json=body("u1")).json()["items"] == first["items"]
        refused = client.post("/v1/rank", json=body("u3"))
        assert refused.status_code == 503
        assert "the store is away" in refused.json()["detail"]
        metrics = dict(row.rsplit(" ", 1) for row in client.get("/metrics").text.splitlines())
        assert float(metrics['streamrec_scorer_lookup_failures_total{model="m"}']) >= 1
        assert metrics['streamrec_scorer_ready{model="m"}'] == "0.0"
        assert float(metrics['streamrec_scorer_lookup_misses_total{model="m"}']) > 3
        assert float(metrics['streamrec_scorer_lookup_hits_total{model="m"}']) > 3
        assert float(metrics['streamrec_scorer_lookup_seconds_count{model="m"}']) >= 2
        redis_server.start()
        until(lambda: client.get("/readyz").status_code == 200)
        assert client.post("/v1/rank", json=body("u3")).status_code == 200
    learner.lease.close()
    store.close()


@pytest.mark.parametrize(
    ("store", "kind"),
    [
        *(("memory", kind) for kind in ("wide", "dcn")),
        *(pytest.param("redis", kind, marks=pytest.mark.integration) for kind in ("wide", "dcn")),
    ],
    indirect=["store"],
)
def test_explanations_are_a_mirror_s(store: RowStore, name: str, kind: str) -> None:
    learner = Learner(store, name, kind)
    for _ in range(3):
        learner.learn()
    learner.lease.flush()
    body = {
        "user": "u3",
        "time": 1_700_000_000_000,
        "features": {"tags": ["t1", "t2"], "price": 3.5},
        "candidates": [{"item": "i1"}, {"item": "i7"}, {"item": "never"}],
        "explain": True,
    }
    answers = []
    for scorer in (Scorer(store, name, SystemClock()), scorer_for(store, name)):
        assert scorer.load()
        with client_of(create_app(scorer)) as client:
            answer = client.post("/v1/rank", json=body).json()
            assert client.post("/v1/retrieve", json={"user": "u3"}).status_code == 409
        answers.append({key: value for key, value in answer.items() if key != "staleness_ms"})
    assert answers[0] == answers[1]
    assert len(answers[0]["items"][0]["contributions"]) >= 4
    learner.lease.close()


#: What is not held as a whole, by kind.
KEYED: Mapping[str, Sequence[str]] = {
    "ftrl": ["linear", "statistics"],
    "wide": ["linear", "statistics"],
    "fm": ["embedding", "statistics"],
    "dcn": ["embedding", "statistics"],
    "dcn_v1": ["embedding", "statistics"],
    "dlrm": ["embedding", "statistics"],
    "wide_deep": ["deep.embedding", "statistics", "wide.linear"],
    "blend": ["dcn.embedding", "statistics", "wide.linear"],
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_looks_rows_up_or_is_refused(kind: str) -> None:
    pipeline = Pipeline(ModelSettings(kind=kind), SPEC)  # type: ignore[arg-type]
    if kind == "two_tower":
        with pytest.raises(StoreMismatch, match="needs all of them in memory: serve it without --lookup"):
            LookupPipeline.from_blob(pipeline.describe())
        return
    assert sorted(its.name for its in keyed_tables(pipeline)) == KEYED[kind]


def test_tables_of_fields_are_looked_up_by_their_own_bags() -> None:
    keyed = keyed_tables(Pipeline(MODELS["dcn"], SPEC))
    bags = {its.name: its.bags.tolist() for its in keyed}
    assert bags == {"statistics": [0], "embedding": [0, 2, 3, 4], "embedding.item": [1]}


def test_a_store_without_rows_is_refused() -> None:
    class Plain:
        pass

    with pytest.raises(UsageError, match="a Plain gives no single rows: serve without --lookup"):
        scorer_of(Plain(), "m", SystemClock(), LookupSettings())  # type: ignore[arg-type]


def test_options_of_the_other_mode_are_refused() -> None:
    for arguments, told in (
        (["--lookup-rows", "5"], "--lookup-rows: expected with --lookup only"),
        (["--lookup-stale-ms", "5"], "--lookup-stale-ms: expected with --lookup only"),
        (["--lookup", "--approximate-above", "5"], "with --lookup no items are found"),
    ):
        outcome = CliRunner().invoke(serve_command, ["--store", "memory", *arguments])
        assert outcome.exit_code == 2
        assert told in outcome.output


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"MODE": "both"}, "STREAMREC_MODE: expected mirror or lookup, got 'both'"),
        ({"MODE": "lookup", "LOOKUP_ROWS": "-1"}, "expected 0 or more, got -1 and 1000"),
    ],
)
def test_the_worker_checks_its_mode(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], told: str
) -> None:
    for name, value in {"STORE": "memory", **variables}.items():
        monkeypatch.setenv(f"STREAMREC_{name}", value)
    with pytest.raises(UsageError, match=told):
        main()
