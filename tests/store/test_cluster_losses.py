"""A node goes back to an earlier state, which the others do not: nothing is missing, or it is said.

That is what a replica is that takes over without the last writes, at a moment of our choice.
"""

import numpy as np
import pytest
from cluster_stores import Opener, model_on, take_steps
from store_oracle import Oracle, commit, rows

from streamrec.errors import StoreMismatch, StoreUnavailable
from streamrec.store.keys import Keys
from streamrec.store.marks import read_marks
from streamrec.testing.faults import Faults
from streamrec.testing.redis_cluster import SLOTS, ClusterNode, RedisCluster, Saved
from streamrec.testing.redis_server import patiently

pytestmark = pytest.mark.integration


@pytest.fixture
def cluster(redis_cluster: RedisCluster) -> RedisCluster:
    return redis_cluster


@pytest.fixture
def head(cluster: RedisCluster) -> ClusterNode:
    return cluster.owner(0)


@pytest.fixture
def other(cluster: RedisCluster) -> ClusterNode:
    """A node that has rows only."""
    return cluster.owner(SLOTS // 2)


@pytest.fixture
def model(cluster: RedisCluster, head: ClusterNode) -> str:
    return model_on(cluster, head)


def _lows(store, model: str) -> set[int]:
    with store._wires.lent() as wire:
        birth = int(wire.call("HGET", Keys(model).head, "birth"))
        return {mark.low for mark in read_marks(wire, Keys(model), birth)}


@pytest.mark.parametrize("same_learner", [True, False])
def test_rows_of_a_finished_flush_are_lost(
    open_cluster: Opener, cluster: RedisCluster, other: ClusterNode, model: str, same_learner: bool
) -> None:
    rng, oracle = np.random.default_rng(1), Oracle()
    store = open_cluster()
    lease = store.acquire(model)
    take_steps(lease, oracle, rng, 3)
    lease.flush()
    saved = other.saved()
    take_steps(lease, oracle, rng, 3)
    lease.flush()
    assert _lows(store, model) == {6}
    other.forget_since(saved)
    oracle.check(open_cluster(), model)  # a reader needs no learner for that
    assert _lows(store, model) == {3, 6}
    if not same_learner:
        lease = open_cluster().acquire(model)
        assert _lows(store, model) == {6}
    take_steps(lease, oracle, rng, 1)
    oracle.check(store, model)
    patiently(lease.flush)
    assert _lows(store, model) == {7}
    oracle.check(store, model)


def test_without_marks_the_loss_would_go_unnoticed(
    open_cluster: Opener, cluster: RedisCluster, other: ClusterNode, model: str
) -> None:
    """The check above can fail."""
    rng, oracle = np.random.default_rng(1), Oracle()
    store = open_cluster()
    lease = store.acquire(model)
    take_steps(lease, oracle, rng, 3)
    lease.flush()
    saved = other.saved()
    take_steps(lease, oracle, rng, 3)
    lease.flush()
    other.forget_since(saved)
    with store._wires.lent() as wire:
        for group in range(256):
            wire.call("HSET", Keys(model).mark(group), "low", 6)
    with pytest.raises(AssertionError):
        oracle.check(open_cluster(), model)


@pytest.mark.parametrize(
    "step", ["flush 1 begin", "flush batch", "widen 2 copy", "flush 5 write", "flush 6 finish"]
)
@pytest.mark.parametrize("where", ["head", "other"])
def test_a_node_loses_its_writes_in_the_middle_of_a_flush(
    open_cluster: Opener,
    cluster: RedisCluster,
    model: str,
    request: pytest.FixtureRequest,
    step: str,
    where: str,
) -> None:
    node: ClusterNode = request.getfixturevalue(where)
    rng, oracle, faults = np.random.default_rng(2), Oracle(), Faults()
    store = open_cluster(fault=faults)
    lease = store.acquire(model)
    take_steps(lease, oracle, rng, 2)
    lease.flush()
    take_steps(lease, oracle, rng, 2, n=300, space=3000)  # more buckets are needed
    saved: list[Saved] = []
    faults.at(
        "flush 1 begin" if step != "flush 1 begin" else "commit 3 keep", lambda _: saved.append(node.saved())
    )

    def lose(_: str) -> None:
        node.forget_since(saved[0])

    take_steps(lease, oracle, rng, 1)
    faults.at(step, lose, time=20 if step == "flush batch" else 1)
    patiently(lease.flush)
    patiently(lease.flush)  # what is lost after its last look is found by the next flush
    oracle.check(open_cluster(), model)
    take_steps(lease, oracle, rng, 2)
    oracle.check(open_cluster(), model)
    patiently(lease.flush)
    oracle.check(open_cluster(), model)
    assert faults.seen[step]


@pytest.mark.parametrize("where", ["head", "other"])
@pytest.mark.parametrize("same_learner", [True, False])
def test_a_move_to_more_buckets_is_lost(
    open_cluster: Opener,
    cluster: RedisCluster,
    model: str,
    request: pytest.FixtureRequest,
    where: str,
    same_learner: bool,
) -> None:
    node: ClusterNode = request.getfixturevalue(where)
    rng, oracle, faults = np.random.default_rng(3), Oracle(), Faults()
    store = open_cluster(fault=faults)
    lease = store.acquire(model)
    take_steps(lease, oracle, rng, 2)
    lease.flush()
    saved = node.saved()
    take_steps(lease, oracle, rng, 2, n=300, space=3000)
    lease.flush()
    assert faults.seen["widen 3 publish"]
    node.forget_since(saved)
    if not same_learner and where == "head":
        with pytest.raises(StoreUnavailable, match="do not fit"):  # 2 commits are gone, with their learner
            open_cluster().load(model)
        return
    if not same_learner:
        lease = open_cluster().acquire(model)
    take_steps(lease, oracle, rng, 1)
    patiently(lease.flush)
    oracle.check(open_cluster(), model)
    take_steps(lease, oracle, rng, 2)
    patiently(lease.flush)
    oracle.check(open_cluster(), model)


def test_a_reader_is_not_given_a_mixture_while_the_head_is_behind(
    open_cluster: Opener, cluster: RedisCluster, head: ClusterNode, model: str
) -> None:
    rng, oracle = np.random.default_rng(4), Oracle()
    lease = open_cluster().acquire(model)
    take_steps(lease, oracle, rng, 2)
    lease.flush()
    saved = head.saved()
    take_steps(lease, oracle, rng, 2)
    lease.flush()
    head.forget_since(saved)
    with pytest.raises(StoreUnavailable, match="do not fit"):
        open_cluster().load(model)
    take_steps(lease, oracle, rng, 1)  # sends again what was lost
    oracle.check(open_cluster(), model)


def test_rows_lost_while_a_reader_reads_are_noticed(
    open_cluster: Opener,
    cluster: RedisCluster,
    other: ClusterNode,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the learner has written them again before the reader is through."""
    monkeypatch.setattr("streamrec.store.rows.PIECE_ROWS", 20)
    rng, oracle = np.random.default_rng(5), Oracle()
    lease = open_cluster().acquire(model)
    take_steps(lease, oracle, rng, 2)
    lease.flush()
    saved = other.saved()
    take_steps(lease, oracle, rng, 2)
    lease.flush()
    for mended in (False, True):
        pieces = iter(open_cluster().load(model).pieces)
        next(pieces)
        other.forget_since(saved, disconnect=False)  # even its connection would not tell
        if mended:
            patiently(lease.flush)
        with pytest.raises(StoreUnavailable, match="rewritten while it was read"):
            list(pieces)
    oracle.check(open_cluster(), model)


def test_more_is_lost_than_the_log_has(
    open_cluster: Opener, cluster: RedisCluster, other: ClusterNode, model: str
) -> None:
    rng, oracle = np.random.default_rng(6), Oracle()
    store = open_cluster()
    lease = store.acquire(model)
    saved = other.saved()
    for _ in range(4):
        take_steps(lease, oracle, rng, 3)
        lease.flush()
    other.forget_since(saved)
    for action in (lambda: store.load(model), lease.flush, lambda: open_cluster().acquire(model)):
        with pytest.raises(
            StoreMismatch, match="not all in its log: restore a backup or start over with --fresh"
        ):
            patiently(action)
    oracle = Oracle()
    lease = store.acquire(model, fresh=True)
    take_steps(lease, oracle, rng, 2)
    lease.flush()
    oracle.check(store, model)


@pytest.mark.parametrize(("seed", "times"), [(0, 4), pytest.param(1, 12, marks=pytest.mark.slow)])
def test_any_node_at_any_time(
    open_cluster: Opener, cluster: RedisCluster, model: str, seed: int, times: int
) -> None:
    """A node goes back to where it was before the last commit and flush, again and again."""
    rng, oracle, faults = np.random.default_rng(10 + seed), Oracle(), Faults()
    store = open_cluster(fault=faults)
    lease = store.acquire(model)
    for n in range(times):
        take_steps(lease, oracle, rng, int(rng.integers(1, 4)), space=100 + 400 * (n % 5))
        if rng.random() < 0.6:
            patiently(lease.flush)
        victim = cluster.owner(int(rng.integers(SLOTS)))
        saved = victim.saved()
        steps = [
            "commit part",
            "flush 1 begin",
            "flush batch",
            "flush 5 write",
            "flush 6 finish",
            "flush 7 sweep",
        ]

        def lose(_: str, victim: ClusterNode = victim, saved: Saved = saved) -> None:
            victim.forget_since(saved)

        faults.at(steps[int(rng.integers(len(steps)))], lose)
        take_steps(lease, oracle, rng, 1)
        patiently(lease.flush)
        faults._plan.clear()
        patiently(lease.flush)
        oracle.check(open_cluster(), model)
    other = open_cluster()
    lease = patiently(lambda: other.acquire(model))
    oracle.check(other, model)
    take_steps(lease, oracle, rng, 1)
    patiently(lease.flush)
    oracle.check(other, model)


def test_a_commit_that_was_acknowledged_comes_back_from_the_learner(
    open_cluster: Opener, cluster: RedisCluster, head: ClusterNode, model: str
) -> None:
    store, oracle = open_cluster(), Oracle()
    lease = store.acquire(model)
    saved = head.saved()
    lease.commit(oracle.apply(commit(1, wide=rows([1, 2], 1.0))))
    lease.commit(oracle.apply(commit(2, wide=rows([2, 3], 2.0))))
    head.forget_since(saved)
    assert store.head(model).seq == 0
    patiently(lambda: lease.commit(commit(3, wide=rows([4], 3.0))))
    oracle.apply(commit(3, wide=rows([4], 3.0)))
    oracle.check(store, model)
