"""A crash of the learner or the server at any step: the model is exactly at its last commit."""

import shutil
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import redis
from store_oracle import Oracle, commit, random_commit, rows

from streamrec.errors import Fenced, StoreFull, StoreMismatch, StoreUnavailable
from streamrec.store.cluster import cluster_wires
from streamrec.store.keys import Keys
from streamrec.store.limits import Limits
from streamrec.store.redis import RedisStore
from streamrec.store.wire import server_wires
from streamrec.testing.faults import Crash, Faults
from streamrec.testing.redis_server import RedisServer

pytestmark = pytest.mark.integration

SMALL = Limits(
    part_bytes=1024, mean_rows=1, batch_rows=32, merge_rows=16, flush_s=float("inf"), tail_commits=2
)
COMMIT_STEPS = ["commit 1 pack", "commit part", "commit 2 send", "commit 3 keep"]
FLUSH_STEPS = [
    "flush 1 begin",
    "flush 2 collect",
    "flush 3 merge",
    "flush 4 room",
    "flush batch",
    "flush 5 write",
    "flush 6 finish",
    "flush 7 sweep",
    "widen 1 new",
    "widen 2 copy",
    "widen 3 publish",
]


@pytest.fixture
def model() -> str:
    return f"test {uuid.uuid4().hex}"


Opener = Callable[..., RedisStore]


@pytest.fixture
def open_redis() -> Iterator[Opener]:
    opened: list[RedisStore] = []

    def make(url: str, **settings: Any) -> RedisStore:
        connect = cluster_wires if "cluster" in url else server_wires
        opened.append(RedisStore(url, connect=connect, **settings))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture(params=["redis_url", "redis_cluster"])
def any_url(request: pytest.FixtureRequest) -> str:
    """Of one server and of a cluster."""
    found = request.getfixturevalue(request.param)
    return str(getattr(found, "url", found))


def _until_crash(action: Callable[[], None]) -> bool:
    try:
        action()
    except Crash:
        return True
    return False


@pytest.mark.parametrize(
    ("any_url", "time"), [("redis_url", 1), ("redis_url", 2), ("redis_cluster", 1)], indirect=["any_url"]
)
@pytest.mark.parametrize("step", COMMIT_STEPS)
def test_crash_in_a_commit(open_redis: Opener, any_url: str, model: str, step: str, time: int) -> None:
    rng = np.random.default_rng(time)
    faults, oracle = Faults(), Oracle()
    lease = open_redis(any_url, limits=SMALL, fault=faults).acquire(model)
    for seq in range(1, 4):
        lease.commit(oracle.apply(random_commit(seq, rng)))
    third = random_commit(4, rng, n=150)
    faults.at(step, faults.crash, time=time if step == "commit part" else 1)
    assert _until_crash(lambda: lease.commit(third))
    if step in ("commit 2 send", "commit 3 keep"):
        oracle.apply(third)
    successor = open_redis(any_url, limits=SMALL)
    oracle.check(successor, model)
    lease = successor.acquire(model)
    oracle.check(successor, model)
    for seq in range(oracle.seq + 1, oracle.seq + 4):  # parts left behind must not be in the way
        lease.commit(oracle.apply(random_commit(seq, rng)))
        oracle.check(successor, model)
    lease.flush()
    oracle.check(successor, model)


@pytest.mark.parametrize(
    ("any_url", "time"), [("redis_url", 1), ("redis_url", 3), ("redis_cluster", 2)], indirect=["any_url"]
)
@pytest.mark.parametrize("step", FLUSH_STEPS)
def test_crash_in_a_flush(open_redis: Opener, any_url: str, model: str, step: str, time: int) -> None:
    rng = np.random.default_rng(time)
    faults, oracle = Faults(), Oracle()
    lease = open_redis(any_url, limits=SMALL, fault=faults).acquire(model)
    crashed = False
    faults.at(step, faults.crash, time=time)
    while not crashed:
        assert oracle.seq < 60, f"{step!r} never came {time} times"
        for _ in range(3):
            lease.commit(oracle.apply(random_commit(oracle.seq + 1, rng, space=100 + 300 * oracle.seq)))
        crashed = _until_crash(lease.flush)
    for again in range(3):
        successor = open_redis(any_url, limits=SMALL)
        oracle.check(successor, model)
        lease = successor.acquire(model)
        oracle.check(successor, model)
        if again:
            lease.commit(oracle.apply(random_commit(oracle.seq + 1, rng)))
        lease.flush()
        oracle.check(successor, model)
    assert not lease._wire.call("HGETALL", Keys(model).trash)


@pytest.mark.parametrize("step", [*COMMIT_STEPS[:2], *FLUSH_STEPS])
def test_a_learner_that_was_asleep_at_any_step_changes_nothing(
    open_redis: Opener, any_url: str, model: str, step: str
) -> None:
    """The zombie: it sleeps, a successor takes over, commits and flushes; then it wakes up and goes on."""
    rng = np.random.default_rng(3)
    faults, oracle = Faults(), Oracle()
    old = open_redis(any_url, limits=SMALL, fault=faults).acquire(model)
    successor = open_redis(any_url, limits=SMALL)

    def take_over(_: str) -> None:
        lease = successor.acquire(model)
        oracle.check(successor, model)
        for _ in range(2):
            lease.commit(oracle.apply(random_commit(oracle.seq + 1, rng)))
            lease.flush()

    faults.at(step, take_over, time=2)
    fenced = False
    while not fenced:
        assert oracle.seq < 60, f"{step!r} never came"
        made = random_commit(oracle.seq + 1, rng, n=100, space=100 + 300 * oracle.seq)
        try:
            old.commit(made)
            oracle.apply(made)
            if oracle.seq % 3 == 0:
                old.flush()
        except Fenced:
            fenced = True
    oracle.check(successor, model)
    with pytest.raises(Fenced):
        old.flush()
    old.close()
    oracle.check(successor, model)


def test_a_row_written_by_a_zombie_would_be_noticed(open_redis: Opener, redis_url: str, model: str) -> None:
    """The check above can fail: without the fences, the sleeper's transaction goes through."""
    faults, oracle = Faults(), Oracle()
    old = open_redis(redis_url, limits=SMALL, fault=faults).acquire(model)
    old.commit(oracle.apply(commit(1, wide=rows([1, 2], 1.0))))
    successor = open_redis(redis_url, limits=SMALL)

    def take_over(_: str) -> None:
        lease = successor.acquire(model)
        lease.commit(oracle.apply(commit(2, wide=rows([1, 2], 2.0))))
        lease.flush()
        with redis.Redis.from_url(redis_url, protocol=2) as client:
            for group in range(256):
                client.set(Keys(model).fence(group), f"1.{old._owner.token}")

    faults.at("flush 4 room", take_over)
    with pytest.raises(Fenced):
        old.flush()
    with pytest.raises(AssertionError):
        oracle.check(successor, model)


def test_lost_answer_then_the_same_commit_again(open_redis: Opener, redis_url: str, model: str) -> None:
    faults, oracle = Faults(), Oracle()
    store = open_redis(redis_url, limits=SMALL, fault=faults)
    lease = store.acquire(model)
    first, second = commit(1, wide=rows(range(1, 900), 1.0)), commit(2, wide=rows(range(1, 500), 2.0))
    lease.commit(oracle.apply(first))
    faults.at("commit 2 send", faults.crash)
    assert _until_crash(lambda: lease.commit(second))
    lease.commit(oracle.apply(second))
    oracle.check(store, model)
    faults.at("commit part", faults.crash, time=2)
    third = commit(3, wide=rows(range(300, 800), 3.0))
    assert _until_crash(lambda: lease.commit(third))
    lease.commit(oracle.apply(third))
    lease.flush()
    oracle.check(store, model)


def test_the_same_number_with_other_content_is_refused(
    open_redis: Opener, redis_url: str, model: str
) -> None:
    lease = open_redis(redis_url, limits=SMALL).acquire(model)
    lease.commit(commit(1, wide=rows([1], 1.0)))
    with pytest.raises(StoreMismatch):
        lease.commit(commit(1, wide=rows([1], 2.0)))


def test_kill_9_of_the_server_again_and_again(
    open_redis: Opener, redis_server: RedisServer, model: str
) -> None:
    rng = np.random.default_rng(5)
    oracle = Oracle()
    faults = Faults()
    store = open_redis(redis_server.url, limits=SMALL, fault=faults)
    lease = store.acquire(model)
    steps = ["commit 1 pack", "commit part", "commit 2 send", "flush 1 begin", "flush batch", "flush 5 write"]
    for n, step in enumerate(steps * 2):
        faults.at(step, lambda _: redis_server.kill(), time=1 + n % 2)
        for _ in range(4):
            made = random_commit(oracle.seq + 1, rng)
            for action in (lambda made=made: lease.commit(made), lease.flush):
                try:
                    action()
                except StoreUnavailable:
                    redis_server.start()
                    action()
            oracle.apply(made)
    oracle.check(store, model)
    redis_server.kill()
    redis_server.start()
    oracle.check(store, model)


def test_a_restarted_server_is_used_again_by_every_connection(
    open_redis: Opener, redis_server: RedisServer, model: str
) -> None:
    oracle = Oracle()
    store = open_redis(redis_server.url, limits=SMALL)
    lease = store.acquire(model)
    lease.commit(oracle.apply(commit(1, wide=rows(range(1, 900), 1.0))))
    lease.flush()
    with store._wires.lent() as first, store._wires.lent() as second:
        assert [wire.call("PING") for wire in (first, second)] == [b"PONG"] * 2  # idle from now on
    oracle.check(store, model)
    redis_server.kill()
    redis_server.start()
    oracle.check(store, model)
    redis_server.kill()
    redis_server.start()
    lease.commit(oracle.apply(commit(2, wide=rows(range(1, 90_000, 7), 1.0))))
    lease.flush()
    oracle.check(store, model)


@pytest.mark.parametrize("flush_after", [True, False])
def test_a_server_restarted_without_its_last_second(
    open_redis: Opener, redis_server: RedisServer, model: str, flush_after: bool
) -> None:
    """`appendfsync everysec` may lose commits; the learner still has them and sends them again."""
    rng = np.random.default_rng(6)
    oracle = Oracle()
    store = open_redis(redis_server.url, limits=SMALL)
    lease = store.acquire(model)
    for seq in range(1, 4):
        lease.commit(oracle.apply(random_commit(seq, rng)))
    lease.flush()
    saved = _saved(redis_server)
    for seq in range(4, 7):
        lease.commit(oracle.apply(random_commit(seq, rng)))
    if flush_after:
        lease.flush()
    _restore(redis_server, saved)
    assert store.head(model).seq == 3
    lease.commit(oracle.apply(random_commit(7, rng)))
    oracle.check(store, model)
    lease.flush()
    oracle.check(store, model)


def test_a_server_that_forgot_the_learner_itself(
    open_redis: Opener, redis_server: RedisServer, model: str
) -> None:
    rng = np.random.default_rng(8)
    oracle = Oracle()
    store = open_redis(redis_server.url, limits=SMALL)
    old = store.acquire(model)
    old.commit(oracle.apply(random_commit(1, rng)))
    saved = _saved(redis_server)
    new = store.acquire(model)
    new.commit(oracle.apply(random_commit(2, rng)))
    _restore(redis_server, saved)
    new.flush()  # takes its epoch again
    new.commit(oracle.apply(random_commit(3, rng)))
    with pytest.raises(Fenced):
        old.commit(random_commit(2, rng))
    new.flush()
    oracle.check(store, model)


def test_a_server_that_lost_more_than_the_learner_has(
    open_redis: Opener, redis_server: RedisServer, model: str
) -> None:
    store = open_redis(redis_server.url, limits=SMALL)
    lease = store.acquire(model)
    saved = _saved(redis_server)
    for seq in range(1, 5):
        lease.commit(commit(seq, wide=rows([seq])))
        lease.flush()
    _restore(redis_server, saved)
    with pytest.raises(StoreMismatch, match="lost data"):
        lease.commit(commit(5, wide=rows([5])))


def test_full_server_pauses_and_goes_on(open_redis: Opener, redis_server: RedisServer, model: str) -> None:
    rng = np.random.default_rng(9)
    oracle = Oracle()
    store = open_redis(redis_server.url, limits=SMALL)
    lease = store.acquire(model)
    for seq in range(1, 4):
        lease.commit(oracle.apply(random_commit(seq, rng)))
    _config(redis_server, "maxmemory", 1)
    waiting = random_commit(4, rng)
    for _ in range(2):
        with pytest.raises(StoreFull, match="maxmemory"):
            lease.commit(waiting)
    with pytest.raises(StoreFull):
        lease.flush()
    with pytest.raises(StoreFull):
        store.acquire(model)
    oracle.check(store, model)  # reading goes on
    _config(redis_server, "maxmemory", 0)
    lease.commit(oracle.apply(waiting))
    lease.flush()
    oracle.check(store, model)


def test_full_in_the_middle_of_a_flush(open_redis: Opener, redis_server: RedisServer, model: str) -> None:
    rng = np.random.default_rng(10)
    oracle, faults = Oracle(), Faults()
    store = open_redis(redis_server.url, limits=SMALL, fault=faults)
    lease = store.acquire(model)
    for seq in range(1, 4):
        lease.commit(oracle.apply(random_commit(seq, rng)))
    faults.at("flush batch", lambda _: _config(redis_server, "maxmemory", 1))
    with pytest.raises(StoreFull):
        lease.flush()
    oracle.check(store, model)
    _config(redis_server, "maxmemory", 0)
    lease.flush()
    oracle.check(store, model)


def _config(server: RedisServer, name: str, value: int) -> None:
    with server.client() as client:
        client.config_set(name, value)


def _saved(server: RedisServer) -> str:
    """A copy of what the server would have on disk now."""
    server.stop()
    copy = f"{server.directory}.{uuid.uuid4().hex}"
    shutil.copytree(server.directory, copy, ignore=shutil.ignore_patterns("*.sock"))
    server.start()
    return copy


def _restore(server: RedisServer, copy: str) -> None:
    server.stop()
    shutil.copytree(copy, server.directory, dirs_exist_ok=True)
    server.start()
