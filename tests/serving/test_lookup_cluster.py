"""Lookup mode on a Redis Cluster: a mirror's scores while nodes die, lose what they had, and slots move."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from lookup_learner import N_ASKED, Learner, scorer_for, until
from redis.crc import key_slot
from serving_fakes import client_of

from streamrec.errors import StoreUnavailable
from streamrec.serving.app import create_app
from streamrec.serving.lookup import LookupScorer
from streamrec.serving.rows_missing import RowsMissing
from streamrec.store.cluster import cluster_wires
from streamrec.store.keys import GROUPS, Keys
from streamrec.store.limits import Limits
from streamrec.store.redis import RedisStore
from streamrec.store.slots import SlotMap
from streamrec.testing.redis_cluster import SLOTS, ClusterNode, RedisCluster
from streamrec.testing.redis_server import patiently

pytestmark = pytest.mark.integration


@pytest.fixture
def store(redis_cluster: RedisCluster) -> Iterator[RedisStore]:
    limits = Limits(flush_s=float("inf"), mean_rows=1, tail_commits=3)
    store = RedisStore(redis_cluster.url, connect=cluster_wires, limits=limits)
    yield store
    store.close()


@pytest.fixture
def name(redis_cluster: RedisCluster) -> str:
    """Its head is on the node of slot 0."""
    head = redis_cluster.owner(0)
    names = (f"lookup-{time.monotonic_ns()}-{n}" for n in range(1000))
    return next(name for name in names if redis_cluster.owner(Keys(name).head) is head)


@pytest.fixture
def other(redis_cluster: RedisCluster) -> ClusterNode:
    """A node that has rows only."""
    return redis_cluster.owner(SLOTS // 2)


def test_scores_are_a_mirror_s_while_nodes_die_and_slots_move(
    store: RedisStore, name: str, redis_cluster: RedisCluster, other: ClusterNode
) -> None:
    """A learner commits and flushes through it all, and a second one; what is answered is right, and most is."""
    learner = Learner(store, name, "wide")
    learner.learn()
    scorer = scorer_for(store, name)
    scorer.start()
    until(lambda: scorer.generation is not None)
    faults: list[BaseException] = []

    def move(n: int) -> None:
        keys = Keys(name)
        for key in (keys.head, *map(keys.fence, range(n, GROUPS, 100))):
            target = next(node for node in redis_cluster.masters() if node is not redis_cluster.owner(key))
            redis_cluster.move_slot(key_slot(key.encode()), target, between=lambda: time.sleep(0.03))

    def work() -> None:
        try:
            for n in range(12):
                learner.learn()
                if n % 3 == 2:
                    patiently(learner.lease.flush)
                if n in (2, 4):
                    move(n)
                if n == 6:
                    other.kill()
                if n == 7:
                    redis_cluster.wait_replaced(SLOTS // 2, other)  # type: ignore[arg-type]
                if n == 9:
                    learner.lease.close(flush=False)
                    learner.lease = patiently(lambda: store.acquire(name))
                time.sleep(0.02)
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=work)
    thread.start()
    answers: Counter[str] = Counter()
    i = 0
    while thread.is_alive():
        i += 1
        try:
            learner.check(scorer, i % N_ASKED)
            answers["answered"] += 1
        except StoreUnavailable:
            answers["refused"] += 1
        time.sleep(0.04)
    thread.join()
    assert not faults
    last = 2, learner.seq
    until(lambda: patiently(lambda: learner.check(scorer, 0)) == last)
    for i in range(N_ASKED):
        assert learner.check(scorer, i) == last
    scorer.stop()
    learner.lease.close()
    assert answers["answered"] > 30, answers


def test_rows_that_a_node_lost_are_not_mixed_with_newer_ones(
    store: RedisStore, name: str, redis_cluster: RedisCluster, other: ClusterNode
) -> None:
    """A replica took over without the last flush. Until the next one, the log has what is missing."""
    learner = Learner(store, name, "ftrl")
    for _ in range(3):
        saved = other.saved()
        learner.learn()
        learner.lease.flush()
    scorer = scorer_for(store, name)
    scorer.start()
    until(lambda: _floor(scorer) == 3)
    assert learner.check(scorer, 0)[1] == 3
    other.forget_since(saved)

    def answered(i: int) -> bool:
        try:
            return learner.check(scorer, i)[1] == 3
        except StoreUnavailable:
            return False

    for i in range(N_ASKED):
        until(lambda i=i: answered(i))  # type: ignore[misc]
    # rows of other nodes are as of commit 3, but the tail must go on beginning where the lost ones need it
    slots, keys = SlotMap(redis_cluster.url), Keys(name)
    kept = [group for group in range(GROUPS) if slots.owner(keys.fence(group)).port != other.port]
    ids = np.array(kept, np.uint64) << np.uint64(56)
    assert store.look_up(name, {"linear": ids}).extent.low == 3
    assert scorer._fetch(RowsMissing({"linear": ids}), time.monotonic() + 1) is None
    assert _floor(scorer) == 2
    assert scorer.n_loads == 2
    learner.learn()
    learner.lease.flush()
    until(lambda: _floor(scorer) == 4)
    for i in range(N_ASKED):
        assert learner.check(scorer, i)[1] == 4
    assert scorer.n_loads == 2
    scorer.stop()
    learner.lease.close()


def _floor(scorer: LookupScorer) -> int:
    return -1 if scorer.held is None else scorer.held.floor


@pytest.mark.parametrize("how", ["hangs", "dies"])
def test_a_node_is_away_and_replaced(
    store: RedisStore, name: str, redis_cluster: RedisCluster, other: ClusterNode, how: str
) -> None:
    """As when a single server is: requests whose rows are in memory are answered, others refused in time."""
    learner = Learner(store, name, "ftrl")
    learner.learn()
    learner.lease.flush()
    scorer = scorer_for(store, name, rows=10_000)

    def body(user: str, n: int = 30) -> dict[str, Any]:
        items = [{"item": f"{user}-{i}"} for i in range(n)]  # some of them on each node
        return {"user": user, "time": 1_700_000_000_000, "candidates": items}

    try:
        with client_of(create_app(scorer)) as client:
            until(lambda: client.get("/readyz").status_code == 200)
            first = client.post("/v1/rank", json=body("u1")).json()
            if how == "hangs":
                other.pause()
            else:
                other.kill()
            until(lambda: client.get("/readyz").status_code == 503, 10)  # also where nobody asks
            assert client.post("/v1/rank", json=body("u1")).json()["items"] == first["items"]
            began_s = time.monotonic()
            refused = client.post("/v1/rank", json=body("u2"))
            assert time.monotonic() - began_s < 2.5
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            metrics = dict(row.rsplit(" ", 1) for row in client.get("/metrics").text.splitlines())
            assert float(metrics[f'streamrec_scorer_lookup_failures_total{{model="{name}"}}']) >= 1
            assert metrics[f'streamrec_scorer_ready{{model="{name}"}}'] == "0.0"
            until(lambda: client.get("/readyz").status_code == 200)  # its replica has taken over
            assert client.post("/v1/rank", json=body("u2")).status_code == 200
            other.go_on()
            redis_cluster.heal()
            assert client.post("/v1/rank", json=body("u3")).status_code == 200
            assert scorer.n_loads == 1
    finally:
        other.go_on()
    learner.lease.close()
