"""Single rows by id: what they are, and what they are said to be as of."""

import time
from collections.abc import Iterator

import numpy as np
import pytest
from cluster_stores import opening
from store_oracle import Oracle, commit, random_commit, rows

from streamrec.errors import StoreMismatch
from streamrec.store.base import Extent, Found, RowStore
from streamrec.store.keys import Keys
from streamrec.store.limits import Limits
from streamrec.store.memory import MemoryStore
from streamrec.store.redis import RedisStore

SPREAD = np.uint64(0x9E3779B97F4A7C15)
#: Four rows of a bucket on average, so that spaces are moved again and again; no flush but those of the test.
SMALL = Limits(flush_s=float("inf"), mean_rows=4, tail_commits=2)


@pytest.fixture(
    params=["memory", *(pytest.param(each, marks=pytest.mark.integration) for each in ("redis", "cluster"))]
)
def store(request: pytest.FixtureRequest) -> Iterator[RowStore]:
    if request.param == "cluster":
        with opening(request.getfixturevalue("redis_cluster")) as make:
            yield make(limits=SMALL)
        return
    if request.param == "memory":
        store: RowStore = MemoryStore(f"rows-{time.monotonic_ns()}")
    else:
        store = RedisStore(request.getfixturevalue("redis_url"), limits=SMALL)
    yield store
    store.close()


@pytest.fixture
def name() -> str:
    return f"rows-{time.monotonic_ns()}"


def seen(found: Found) -> dict[str, dict[int, bytes]]:
    return {
        table: {key: row.tobytes() for key, row in zip(ids.tolist(), its, strict=True)}
        for table, (ids, its) in found.rows.items()
    }


def test_rows_are_those_of_the_last_flush(store: RowStore, name: str) -> None:
    """Hidden and deleted rows, and ids that never were, are absent."""
    oracle, lease, rng = Oracle(), store.acquire(name), np.random.default_rng(3)
    asked = np.arange(1, 230).astype(np.uint64) * SPREAD
    assert seen(store.look_up(name, {"wide": asked})) == {}
    for seq in range(1, 13, 3):
        for each in range(seq, seq + 3):
            lease.commit(oracle.apply(random_commit(each, rng)))
        assert store.look_up(name, {}).extent == Extent(lease.epoch, seq + 2, seq - 1, seq - 1)
        lease.flush()
        store.extent(name)  # `low` is of two looks
        found = store.look_up(name, {"wide": asked, "deep": np.repeat(asked, 2), "none": asked})
        expected = {
            table: {key: row for key, (row, _) in its.items()}
            for table, its in oracle.seen(shadow=False).items()
        }
        assert seen(found) == expected
        assert found.extent == Extent(lease.epoch, seq + 2, seq + 2, seq + 2) == store.extent(name)
    again = store.acquire(name)
    assert store.look_up(name, {}).extent.epoch == again.epoch == lease.epoch + 1
    again.close()


def test_of_tables_that_are_not_whole_only_the_log_is_loaded(store: RowStore, name: str) -> None:
    lease = store.acquire(name)
    lease.commit(commit(1, a=rows([1, 2]), b=rows([3])))
    lease.flush()
    lease.commit(commit(2, a=rows([4])))
    snapshot = store.load(name, whole=lambda table: table == "b")
    assert snapshot.flushed == 1
    assert [(table, its.ids.tolist()) for table, its in snapshot.pieces] == [("b", [3]), ("a", [4])]
    lease.close()


class _Stop(Exception):
    pass


@pytest.mark.integration
def test_an_interrupted_flush_shows_in_the_extent(redis_url: str, name: str) -> None:
    """Between begin and finish a row may be of any commit from the last flush to this one's target."""

    stops: list[str] = []

    def fault(step: str) -> None:
        if step in stops:
            raise _Stop

    store = RedisStore(redis_url, limits=SMALL, fault=fault)
    lease = store.acquire(name)
    lease.commit(commit(1, a=rows([5], 1.0)))
    lease.flush()
    lease.commit(commit(2, a=rows([5], 2.0)))
    lease.commit(commit(3, a=rows([6], 3.0)))
    for stop in ("flush 1 begin", "flush 5 write"):
        stops[:] = [stop]
        with pytest.raises(_Stop):
            lease.flush()
        found = store.look_up(name, {"a": np.array([5], np.uint64)})
        assert found.extent == Extent(lease.epoch, 3, 1, 3)
    assert found.rows["a"][1].tolist() == [[2.0, 2.0]]
    stops.clear()
    lease.close()
    store.close()


@pytest.mark.integration
def test_more_ids_than_one_script_takes(redis_url: str, name: str) -> None:
    store = RedisStore(redis_url)
    lease = store.acquire(name)
    ids = np.arange(1, 10_001).astype(np.uint64) * SPREAD
    values = np.arange(10_000, dtype=np.float32)
    lease.commit(commit(1, a=rows(ids[::2].tolist(), values[::2]), b=rows(ids[:9].tolist(), values[:9])))
    lease.flush()
    asked = np.random.default_rng(1).permutation(ids)
    found = store.look_up(name, {"a": asked, "b": asked}).rows
    order = np.argsort(ids[::2])
    assert found["a"][0].tolist() == ids[::2][order].tolist()
    assert found["a"][1][:, 1].tolist() == values[::2][order].tolist()
    assert len(found["b"][0]) == 9
    lease.close()
    store.close()


@pytest.mark.integration
def test_what_is_no_row_is_told(redis_url: str, name: str) -> None:
    store = RedisStore(redis_url)
    lease = store.acquire(name)
    lease.commit(commit(1, a=rows([5], 1.0)))
    lease.flush()
    with store._wires.lent() as wire:
        wire.call("HSET", Keys(name).bucket(1, 8, 0), (5).to_bytes(7, "big"), b"short")
    with pytest.raises(StoreMismatch, match="table 'a': expected rows of 2 slots"):
        store.look_up(name, {"a": np.array([5], np.uint64)})
    lease.close()
    store.close()
