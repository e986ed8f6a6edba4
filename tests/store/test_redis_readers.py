"""Readers beside a learner that flushes, widens and trims: one generation each, or a word to read again."""

import hashlib
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import redis
from store_oracle import Oracle, apply_pieces, commit, loaded, random_commit, rows, without_empty

from streamrec.errors import Outdated, StoreMismatch, StoreUnavailable
from streamrec.store import redis as redis_store
from streamrec.store import rows as row_codec
from streamrec.store.cluster import cluster_wires
from streamrec.store.keys import Keys, setting_key
from streamrec.store.limits import Limits
from streamrec.store.redis import RedisStore
from streamrec.store.wire import server_wires
from streamrec.testing.redis_server import wait_until

pytestmark = pytest.mark.integration

SMALL = Limits(part_bytes=1024, mean_rows=1, batch_rows=32, flush_s=float("inf"), tail_commits=2)
NOW = SMALL._replace(log_bytes=0)  # flushes do not wait for readers
Opener = Callable[..., RedisStore]


@pytest.fixture(params=["redis_url", "redis_cluster"])
def url(request: pytest.FixtureRequest) -> str:
    """Of one server and of a cluster."""
    found = request.getfixturevalue(request.param)
    return str(getattr(found, "url", found))


@pytest.fixture
def open_redis(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opener]:
    monkeypatch.setattr(row_codec, "PIECE_ROWS", 50)
    opened: list[RedisStore] = []

    def make(**settings: Any) -> RedisStore:
        connect = cluster_wires if "cluster" in url else server_wires
        opened.append(RedisStore(url, connect=connect, **{"limits": SMALL, **settings}))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def model() -> str:
    return f"test {uuid.uuid4().hex}"


@pytest.fixture
def client(url: str) -> Iterator[Any]:
    if "cluster" in url:
        made: Any = redis.RedisCluster.from_url(url.replace("+cluster", "").split(",")[0], protocol=2)
    else:
        made = redis.Redis.from_url(url, protocol=2)
    with made as client:
        yield client


def _many(open_redis: Opener, model: str, **settings: Any) -> tuple[Any, Oracle, np.random.Generator]:
    rng, oracle = np.random.default_rng(1), Oracle()
    lease = open_redis(**settings).acquire(model)
    for seq in range(1, 8):
        lease.commit(oracle.apply(random_commit(seq, rng, n=180, space=1000)))
    lease._flush_once()
    for seq in range(8, 10):
        lease.commit(oracle.apply(random_commit(seq, rng, n=180, space=1000)))
    return lease, oracle, rng


@pytest.mark.parametrize("shadow", [True, False])
def test_a_reader_gets_the_generation_it_began_with(open_redis: Opener, model: str, shadow: bool) -> None:
    lease, oracle, rng = _many(open_redis, model)
    snapshot = open_redis().load(model, shadow=shadow)
    expected = without_empty(oracle.seen(shadow=shadow))
    state: dict[str, Any] = {}
    for n, piece in enumerate(snapshot.pieces):
        apply_pieces(state, [piece])
        if n % 5 == 0:  # the learner goes on, and would like to flush and to widen
            lease.commit(oracle.apply(random_commit(oracle.seq + 1, rng, n=180, space=5000)))
            lease._flush_once()
    assert n > 10
    assert snapshot.head.seq == 9
    assert without_empty(state) == expected
    lease.flush()
    oracle.check(open_redis(), model)


def test_a_flush_waits_for_a_reader_and_no_longer(open_redis: Opener, model: str, client: Any) -> None:
    lease, oracle, rng = _many(open_redis, model)
    pieces = iter(open_redis().load(model).pieces)
    next(pieces)
    lease.commit(oracle.apply(random_commit(10, rng)))
    assert lease._flush_once()
    assert client.hget(Keys(model).head, "flushed") == b"9"
    pieces.close()  # type: ignore[attr-defined]
    assert not lease._flush_once()
    assert client.hget(Keys(model).head, "flushed") == b"10"
    assert not client.hgetall(Keys(model).pins)


@pytest.mark.parametrize("space", [200, 20_000])
def test_a_reader_that_was_overtaken_is_told(open_redis: Opener, model: str, client: Any, space: int) -> None:
    """With or without wider buckets: what it has read is no generation."""
    lease, oracle, rng = _many(open_redis, model)
    store = open_redis()
    pieces = iter(store.load(model).pieces)
    next(pieces)
    for reader in client.hkeys(Keys(model).pins):
        client.hset(Keys(model).pins, reader, "9 1")  # its time has run out
    lease.commit(oracle.apply(random_commit(10, rng, n=180, space=space)))
    lease.flush()
    with pytest.raises(StoreUnavailable, match="load it again"):
        list(pieces)
    oracle.check(store, model)


def test_a_model_begun_anew_under_a_reader(open_redis: Opener, model: str) -> None:
    _many(open_redis, model)
    store = open_redis()
    pieces = iter(store.load(model).pieces)
    next(pieces)
    store.acquire(model, fresh=True)
    with pytest.raises(StoreUnavailable, match="load it again"):
        list(pieces)


def test_old_buckets_stay_for_their_reader_and_go_then(
    open_redis: Opener, model: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        redis_store, "PIN_MS", 200_000
    )  # moving rows takes a busy cluster more than ten seconds
    lease, oracle, _ = _many(open_redis, model)
    expected = without_empty(oracle.seen(shadow=True))
    pieces = iter(open_redis().load(model, shadow=True).pieces)
    first = next(pieces)
    for space in lease._flusher._read_spaces().values():
        lease._flusher._spaces = lease._flusher._read_spaces()
        lease._flusher._widen(space, space.bits + 2)
    lease._flush_once()
    assert client.hlen(Keys(model).trash) == 4
    assert without_empty(loaded([first, *pieces])) == expected
    lease._flush_once()
    assert client.hlen(Keys(model).trash) == 0
    oracle.check(open_redis(), model)
    tokens = {key.split(b":")[2] for key in client.scan_iter(match=f"sr:{{{model}.*", count=10_000)}
    assert len(tokens - {b"fence", b"mark"}) == 4


def test_fresh_leaves_no_rows_behind(open_redis: Opener, model: str, client: Any) -> None:
    _many(open_redis, model)
    lease = open_redis().acquire(model, fresh=True)
    lease.flush()
    left = {key.split(b":")[-1] for key in client.scan_iter(match=f"sr:{{{model}*", count=10_000)}
    assert left - {b"mark"} == {b"fence", b"head"}


def test_a_damaged_entry_is_named(open_redis: Opener, model: str, client: Any) -> None:
    store = open_redis(limits=Limits(flush_s=float("inf")))
    lease = store.acquire(model)
    lease.commit(commit(1, wide=rows([1, 2, 3])))
    log = Keys(model).log
    ((name, fields),) = client.xrange(log)
    data = bytearray(fields[b"d"])
    data[len(data) // 2] ^= 1
    client.delete(log)
    client.xadd(log, fields | {b"d": bytes(data)}, id=name)
    for action in (lambda: store.load(model), lambda: store.follow(model, 0, timeout_s=0), lease.flush):
        if action == lease.flush:
            lease._backlog.flushed(1)  # as after a restart of the learner: only the log has the entry
            lease._backlog.flushed(1)
            lease._backlog._flushed = 0
        with pytest.raises(StoreMismatch, match="log entry 1: damaged"):
            action()


def test_a_missing_entry_is_named(open_redis: Opener, model: str, client: Any) -> None:
    store = open_redis()
    lease = store.acquire(model)
    for seq in (1, 2):
        lease.commit(commit(seq, wide=rows([seq])))
    client.xtrim(Keys(model).log, maxlen=0)
    with pytest.raises(StoreMismatch, match="commits 1 to 2"):
        store.load(model)
    assert store.follow(model, 0, timeout_s=0) is None


def test_a_bucket_of_something_else_is_named(open_redis: Opener, model: str, client: Any) -> None:
    lease, _, _ = _many(open_redis, model)
    space = lease._flusher._read_spaces()["rwide"]
    number = next(n for n in range(256) if client.exists(Keys(model).bucket(space.token, space.bits, n)))
    key = Keys(model).bucket(space.token, space.bits, number)
    for spoil in (lambda: client.hset(key, "1234567", "long enough?"[:7]), lambda: client.set(key, "x")):
        spoil()
        with pytest.raises((StoreMismatch, StoreUnavailable)):
            list(open_redis().load(model).pieces)


def test_another_width_under_the_same_name_is_refused(open_redis: Opener, model: str) -> None:
    lease = open_redis().acquire(model)
    lease.commit(commit(1, wide=rows([1], width=2)))
    lease.flush()
    lease.commit(commit(2, wide=rows([1], width=3)))
    with pytest.raises(StoreMismatch, match="2 slots a row, this model has 3"):
        lease.flush()


def test_small_rows_are_packed_by_redis(open_redis: Opener, model: str, client: Any) -> None:
    lease = open_redis(limits=Limits(flush_s=float("inf"))).acquire(model)
    ids = np.random.default_rng(0).integers(1, 2**64, 60_000, dtype=np.uint64)
    lease.commit(commit(1, wide=rows(ids, 1.0)))
    lease.flush()
    (space,) = lease._flusher._read_spaces().values()
    assert (space.bits, space.rows) == (8, 60_000)
    lease.commit(commit(2, wide=rows(ids + np.uint64(1), 1.0)))
    lease.flush()
    (space,) = lease._flusher._read_spaces().values()
    assert (space.bits, space.rows) == (10, 120_000)
    encodings = {
        client.object("encoding", Keys(model).bucket(space.token, space.bits, n)) for n in range(1024)
    }
    assert encodings <= {b"ziplist", b"listpack"}


def test_ids_of_one_range_get_no_more_buckets_than_they_need(open_redis: Opener, model: str) -> None:
    """Ids are mostly hashes, of which each range has as many; here the first range of 16 has all."""
    lease = open_redis(limits=Limits(merge_rows=1000, flush_s=float("inf"))).acquire(model)
    lease.commit(commit(1, wide=rows(range(1, 10_001), 1.0)))
    lease.flush()
    (space,) = lease._flusher._read_spaces().values()
    assert (space.bits, space.rows) == (8, 10_000)


def test_a_background_flush_happens_by_size_and_by_time(open_redis: Opener, model: str, client: Any) -> None:
    for name, limits in (("size", Limits(flush_bytes=10_000)), ("time", Limits(flush_s=0.2))):
        lease = open_redis(limits=limits).acquire(model + name)
        lease.commit(commit(1, wide=rows(range(1, 2000))))
        assert wait_until(lambda name=name: client.hget(Keys(model + name).head, "flushed") == b"1")
        lease.close()


def test_learning_waits_when_the_log_grows_too_long(open_redis: Opener, model: str, client: Any) -> None:
    lease, oracle, rng = _many(open_redis, model, limits=NOW)
    lease.commit(oracle.apply(random_commit(10, rng)))
    assert client.hget(Keys(model).head, "flushed") == b"10"
    oracle.check(open_redis(), model)


def test_trouble_in_the_background_reaches_the_learner(open_redis: Opener, model: str) -> None:
    lease = open_redis(limits=Limits(flush_s=0.05)).acquire(model)
    lease.commit(commit(1, wide=rows([1], width=2)))
    lease.flush()
    lease.commit(commit(2, wide=rows([1], width=3)))
    assert wait_until(lambda: lease._trouble is not None)
    with pytest.raises(StoreMismatch, match="slots a row"):
        lease.commit(commit(3))
    lease.close()


@pytest.mark.slow
def test_readers_and_followers_beside_a_busy_learner(open_redis: Opener, model: str) -> None:
    """Everything at once, in threads of their own: every snapshot is the generation that it says."""
    rng, oracle = np.random.default_rng(2), Oracle()
    generations: dict[int, dict[bool, str]] = {}
    limits = SMALL._replace(flush_s=0.005, flush_bytes=5000)
    lease = open_redis(limits=limits).acquire(model)
    over = threading.Event()
    troubles: list[BaseException] = []

    def step() -> None:
        made = oracle.apply(random_commit(oracle.seq + 1, rng, n=150, space=300 + 60 * oracle.seq))
        generations[made.seq] = {shadow: _digest(oracle.seen(shadow=shadow)) for shadow in (True, False)}
        lease.commit(made)

    def read(shadow: bool) -> None:
        store = open_redis()
        while not over.is_set():
            snapshot = store.load(model, shadow=shadow)
            assert _digest(loaded(snapshot.pieces)) == generations[snapshot.head.seq][shadow]
            counts["read"] += 1

    def follow() -> None:
        store = open_redis()
        state, at = {}, None
        while not over.is_set():
            follower = None if at is None else store.follow(model, at, timeout_s=0.05)
            if follower is None:
                snapshot = store.load(model, shadow=True)
                state, at = loaded(snapshot.pieces), snapshot.head.seq
                counts["loaded"] += 1
            else:
                for each in follower:
                    assert each.seq == at + 1
                    apply_pieces(state, each.tables.items())
                    at = each.seq
                    counts["followed"] += 1
            assert _digest(state) == generations[at][True]

    def guarded(action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException as error:
            troubles.append(error)
            over.set()

    counts: Counter[str] = Counter()
    step()
    actions = [lambda: read(True), lambda: read(False), follow]
    threads = [threading.Thread(target=guarded, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 6
    while time.monotonic() < end and not over.is_set():
        step()
    over.set()
    for thread in threads:
        thread.join()
    lease.close()
    assert not troubles, troubles
    assert min(counts["read"], counts["followed"]) > 10
    oracle.check(open_redis(), model)


def _digest(state: Any) -> str:
    rows_of = {name: sorted(table.items()) for name, table in sorted(without_empty(state).items())}
    return hashlib.sha256(repr(rows_of).encode()).hexdigest()


def test_a_setting_that_somebody_else_wrote_is_refused(open_redis: Opener, client: Any, model: str) -> None:
    store = open_redis()
    client.hset(setting_key(model), mapping={"version": "one", "value": "{}"})
    with pytest.raises(StoreMismatch, match="expected the number of a version, got b'one'"):
        store.setting(model)
    with pytest.raises(Outdated, match="expected version 0, got -1"):
        store.change(model, b"{}", 0)
