"""A scorer over real stores: followed, trimmed, taken over, started anew, stopped and started again."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from serving_fakes import FakeMirror, commit

from streamrec.clock import SystemClock
from streamrec.errors import StoreUnavailable
from streamrec.serving.scorer import Scorer
from streamrec.store import open_store
from streamrec.store.base import Store
from streamrec.store.keys import Keys
from streamrec.store.memory import MemoryStore
from streamrec.store.redis import RedisStore
from streamrec.testing.redis_cluster import RedisCluster
from streamrec.testing.redis_server import RedisServer

LINE = b'{"type":"example","features":{}}\n'


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.005)


def state(scorer: Scorer) -> tuple[int, float]:
    """(sequence number, the number that every part of its commit holds)."""
    if scorer.generation is None:
        return 0, 0.0
    with scorer.reading() as (mirror, version):
        p, c = mirror.score_lines(LINE)
        assert not mirror.torn
    assert c[0] == pytest.approx(1.0 / p[0] - 1.0, abs=0.01)
    return version.seq, float(c[0])


SERVED = [pytest.param(kind, marks=pytest.mark.integration) for kind in ("redis", "cluster")]


@pytest.fixture(params=["memory", *SERVED])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "memory":
        store: Store = MemoryStore(f"serving-{time.monotonic_ns()}")
    elif request.param == "redis":
        store = RedisStore(request.getfixturevalue("redis_url"))
    else:
        store = open_store(request.getfixturevalue("redis_cluster").url)
    yield store
    store.close()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"scorer-{request.node.name}-{time.monotonic_ns()}"


@pytest.fixture
def scorer(store: Store, name: str) -> Iterator[Scorer]:
    scorer = Scorer(store, name, SystemClock(), build=lambda _: FakeMirror())
    yield scorer
    scorer.stop()


def test_every_commit_is_followed_whole_while_readers_ask(store: Store, name: str, scorer: Scorer) -> None:
    scorer.start()
    lease = store.acquire(name)
    stop, faults, seen = threading.Event(), [], set()

    def read() -> None:
        while not stop.is_set():
            try:
                seq, number = state(scorer)
            except AssertionError as fault:
                faults.append(fault)
                return
            seen.add(seq)
            if seq != round(number):
                faults.append((seq, number))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for seq in range(1, 101):
        lease.commit(commit(seq))
        until(lambda seq=seq: state(scorer)[0] >= seq or seq % 10)  # type: ignore[misc]
        if seq % 40 == 0:
            lease.flush()  # trims the log under the follower
    until(lambda: state(scorer)[0] == 100)
    stop.set()
    for reader in readers:
        reader.join()
    lease.close()
    assert not faults
    assert len(seen) > 5


def test_trimmed_away_means_load_again(store: Store, name: str, scorer: Scorer) -> None:
    lease = store.acquire(name)
    lease.commit(commit(1))
    assert scorer.load()
    for seq in range(2, 10):
        lease.commit(commit(seq))
    lease.flush()
    lease.commit(commit(10))
    lease.flush()  # a cluster keeps commits for one flush more
    until(lambda: scorer.step() is None and state(scorer) == (10, 10.0))
    lease.close()


@pytest.mark.parametrize("n_new", [1, 3, 7])
def test_a_learner_that_starts_over(store: Store, name: str, scorer: Scorer, n_new: int) -> None:
    scorer.start()
    lease = store.acquire(name)
    for seq in range(1, 4):
        lease.commit(commit(seq))
    until(lambda: state(scorer) == (3, 3.0))
    again = store.acquire(name, fresh=True)
    for seq in range(1, n_new + 1):
        again.commit(commit(seq, value=100.0 + seq))
    until(lambda: state(scorer) == (n_new, 100.0 + n_new))
    again.commit(commit(n_new + 1, value=200.0))
    until(lambda: state(scorer) == (n_new + 1, 200.0))
    again.close()


def test_a_learner_that_goes_on(store: Store, name: str, scorer: Scorer) -> None:
    scorer.start()
    lease = store.acquire(name)
    lease.commit(commit(1))
    until(lambda: state(scorer) == (1, 1.0))
    lease.close()
    again = store.acquire(name)
    again.commit(commit(2))
    until(lambda: state(scorer) == (2, 2.0) and scorer.generation.version.epoch == again.epoch)  # type: ignore[union-attr]
    again.close()


@pytest.mark.integration
def test_redis_stops_and_comes_back(redis_server: RedisServer) -> None:
    redis_server.start()
    store = RedisStore(redis_server.url)
    lease = store.acquire("m")
    lease.commit(commit(1))
    scorer = Scorer(store, "m", SystemClock(), build=lambda _: FakeMirror())
    scorer.start()
    until(lambda: scorer.status().ready)
    redis_server.kill()
    until(lambda: not scorer.status().ready)
    assert scorer.status().reason.startswith("the store is away: ")
    assert state(scorer) == (1, 1.0)
    redis_server.start()
    until(lambda: scorer.status().ready)
    lease.commit(commit(2))
    until(lambda: state(scorer) == (2, 2.0))
    scorer.stop()
    lease.close()
    store.close()


@pytest.mark.integration
def test_a_scorer_may_start_before_its_redis(redis_server: RedisServer) -> None:
    redis_server.stop()
    with pytest.raises(StoreUnavailable, match="does not answer"):
        open_store(redis_server.url)
    with closing(open_store(redis_server.url, late=True)) as store:
        scorer = Scorer(store, "m", SystemClock(), build=lambda _: FakeMirror())
        scorer.start()
        until(lambda: scorer.status().reason.startswith("the store is away: "))
        redis_server.start()
        lease = store.acquire("m")
        lease.commit(commit(1))
        until(lambda: state(scorer) == (1, 1.0))
        assert scorer.status().ready
        scorer.stop()
        lease.close()


@pytest.mark.integration
def test_a_scorer_mirrors_through_a_failover(redis_cluster: RedisCluster) -> None:
    """It answers all the time; a learner and a new scorer go on with the replica."""
    name = f"scorer {time.monotonic_ns()}"
    store = open_store(redis_cluster.url)
    lease = store.acquire(name)
    lease.commit(commit(1))
    lease.flush()
    scorer = Scorer(store, name, SystemClock(), build=lambda _: FakeMirror())
    scorer.start()
    until(lambda: state(scorer) == (1, 1.0))
    for seq, key in enumerate([Keys(name).head, Keys(name).fence(0)], 2):
        victim = redis_cluster.owner(key)
        victim.kill()
        assert state(scorer) == (seq - 1, seq - 1.0)
        redis_cluster.wait_replaced(key)
        redis_cluster.wait_ok(replicas=False)
        until(lambda: scorer.status().ready)
        lease.commit(commit(seq))
        until(lambda seq=seq: state(scorer) == (seq, float(seq)))
        redis_cluster.heal()
    with closing(open_store(redis_cluster.url)) as other:
        new = Scorer(other, name, SystemClock(), build=lambda _: FakeMirror())
        assert new.load()
        assert state(new) == (3, 3.0)
    scorer.stop()
    lease.close()
    store.close()
