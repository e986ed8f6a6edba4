"""A learner and its readers while masters die, are replaced by their replicas, and slots move."""

import random
import threading
import time

import numpy as np
import pytest
from cluster_stores import SMALL, Opener, groups_on, model_on, slot_of, take_steps
from store_oracle import Oracle, apply_pieces, commit, loaded, random_commit, rows, without_empty

from streamrec.errors import Fenced, StoreUnavailable
from streamrec.store.cluster import ClusterWire
from streamrec.store.keys import MODELS, Keys
from streamrec.store.marks import read_marks
from streamrec.store.wire import ServerWire
from streamrec.testing.faults import Faults
from streamrec.testing.redis_cluster import ClusterNode, RedisCluster
from streamrec.testing.redis_server import patiently

pytestmark = pytest.mark.integration


@pytest.fixture
def model(redis_cluster: RedisCluster) -> str:
    """Its head is on the master of slot 0, that of its list of models elsewhere perhaps."""
    return model_on(redis_cluster, redis_cluster.owner(0))


def _key(cluster: RedisCluster, model: str, where: str) -> str:
    """A key on the head's node, or on one that has only rows."""
    keys = Keys(model)
    if where == "head":
        return keys.head
    head = cluster.owner(keys.head)
    group = next(group for group in range(256) if cluster.owner(keys.fence(group)) is not head)
    return keys.fence(group)


@pytest.mark.parametrize("where", ["head", "rows"])
@pytest.mark.parametrize(
    "step", ["commit part", "flush 1 begin", "flush batch", "flush 5 write", "flush 6 finish"]
)
def test_a_master_dies_at_any_step(
    open_cluster: Opener, redis_cluster: RedisCluster, model: str, step: str, where: str
) -> None:
    rng, oracle, faults = np.random.default_rng(1), Oracle(), Faults()
    store = open_cluster(fault=faults)
    lease = store.acquire(model)
    take_steps(lease, oracle, rng, 3)
    lease.flush()
    key = _key(redis_cluster, model, where)
    take_steps(lease, oracle, rng, 2, space=2000)
    faults.at(step, lambda _: redis_cluster.owner(key).kill(), time=9 if step == "flush batch" else 1)
    take_steps(lease, oracle, rng, 1)
    patiently(lease.flush)
    redis_cluster.wait_replaced(key)
    patiently(lambda: oracle.check(store, model))
    take_steps(lease, oracle, rng, 2)
    patiently(lease.flush)
    oracle.check(open_cluster(), model)


def test_no_acknowledged_commit_is_lost_with_its_learner_and_its_master(
    open_cluster: Opener, redis_cluster: RedisCluster, model: str
) -> None:
    rng, oracle = np.random.default_rng(2), Oracle()
    for n in range(3):
        lease = patiently(lambda: open_cluster().acquire(model))
        take_steps(lease, oracle, rng, 10)
        if n == 1:
            lease.flush()
        # nobody tells the replica any more what it does not know by now; the learner is gone too
        redis_cluster.fail_over(Keys(model).head)
        found = open_cluster()
        patiently(lambda found=found: oracle.check(found, model))
        redis_cluster.heal()


def test_a_zombie_is_refused_after_a_failover(
    open_cluster: Opener, redis_cluster: RedisCluster, model: str
) -> None:
    """It falls asleep with rows in its hands; its successor's fences are known to the replicas."""
    rng, oracle, faults = np.random.default_rng(3), Oracle(), Faults()
    old = open_cluster(fault=faults).acquire(model)
    take_steps(old, oracle, rng, 3)
    successor = open_cluster()

    def take_over(_: str) -> None:
        lease = successor.acquire(model)
        for key in (Keys(model).head, _key(redis_cluster, model, "rows")):
            redis_cluster.fail_over(key)
            redis_cluster.heal()
        take_steps(lease, oracle, rng, 2)
        patiently(lease.flush)

    faults.at("flush 4 room", take_over)
    with pytest.raises(Fenced):
        patiently(old.flush)
    with pytest.raises(Fenced):
        patiently(lambda: old.commit(random_commit(oracle.seq + 1, rng)))
    oracle.check(successor, model)


def test_every_master_dies_in_turn_while_learning_and_mirroring(
    open_cluster: Opener, redis_cluster: RedisCluster, model: str
) -> None:
    """A learner with its own flushes, a mirror that follows, and another that loads over and over."""
    rng, oracle = np.random.default_rng(4), Oracle()
    lease = open_cluster(limits=SMALL._replace(flush_s=0.1)).acquire(model)
    generations: dict[int, object] = {}
    over = threading.Event()
    troubles: list[BaseException] = []

    def step() -> None:
        made = random_commit(oracle.seq + 1, rng, n=40, space=100 + oracle.seq)
        oracle.apply(made)
        generations[made.seq] = without_empty(oracle.seen(shadow=True))
        patiently(lambda: lease.commit(made))

    def follow() -> None:
        store, at, state = open_cluster(), -1, {}
        while not (over.is_set() and at == oracle.seq):
            follower = None if at < 0 else patiently(lambda at=at: store.follow(model, at, timeout_s=0.05))
            if follower is None:
                snapshot, state = patiently(lambda: _load(store, model))
                at = snapshot.head.seq
            for each in follower or ():
                apply_pieces(state, each.tables.items())
                at = each.seq
            assert without_empty(state) == generations[at]

    def load() -> None:
        store = open_cluster()
        while not over.is_set():
            snapshot, state = patiently(lambda: _load(store, model))
            assert without_empty(state) == generations[snapshot.head.seq]

    def guarded(action) -> None:
        try:
            action()
        except BaseException as error:
            troubles.append(error)
            over.set()

    step()
    threads = [threading.Thread(target=guarded, args=(action,)) for action in (follow, load)]
    for thread in threads:
        thread.start()
    for slot in (0, 6000, 12000):
        for n in range(20):
            step()
            if n == 10:
                redis_cluster.owner(slot).kill()
        redis_cluster.heal()
    over.set()
    for thread in threads:
        thread.join()
    lease.close()
    assert not troubles, troubles
    oracle.check(open_cluster(), model)


def _load(store, model: str):
    snapshot = store.load(model, shadow=True)
    return snapshot, loaded(snapshot.pieces)


def test_slots_move_while_learning(
    open_cluster: Opener, redis_cluster: RedisCluster, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head's and those of some groups, by hand, with commits, flushes and loads between two keys."""
    monkeypatch.setattr("streamrec.store.rows.PIECE_ROWS", 50)
    rng, oracle = np.random.default_rng(5), Oracle()
    store = open_cluster()
    lease = store.acquire(model)
    take_steps(lease, oracle, rng, 3, space=2000)
    lease.flush()
    take_steps(lease, oracle, rng, 2)
    keys = Keys(model)
    refused = 0

    def between() -> None:
        nonlocal refused
        made = random_commit(oracle.seq + 1, rng)
        try:
            lease.commit(made)
            oracle.apply(made)
            lease.flush()
        except StoreUnavailable:
            refused += 1
        if slot != slot_of(keys.head):
            oracle.check(store, model)  # rows are read wherever they are

    for key in [keys.head, *(keys.fence(group) for group in (0, 77, 255))]:
        slot = slot_of(key)
        target = next(node for node in redis_cluster.masters() if node is not redis_cluster.owner(slot))
        redis_cluster.move_slot(slot, target, between=between)
        take_steps(lease, oracle, rng, 1)
        patiently(lease.flush)
        oracle.check(store, model)
    assert refused  # for as long as a slot is on its way
    oracle.check(open_cluster(), model)


def test_a_slot_moves_under_a_reader(
    open_cluster: Opener, redis_cluster: RedisCluster, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamrec.store.rows.PIECE_ROWS", 20)
    rng, oracle = np.random.default_rng(6), Oracle()
    lease = open_cluster().acquire(model)
    take_steps(lease, oracle, rng, 3, n=180, space=1000)
    lease.flush()
    pieces = iter(open_cluster().load(model, shadow=True).pieces)
    first = next(pieces)
    for group in range(2, 256, 40):
        slot = slot_of(Keys(model).fence(group))
        target = next(node for node in redis_cluster.masters() if node is not redis_cluster.owner(slot))
        redis_cluster.move_slot(slot, target)
    assert without_empty(loaded([first, *pieces])) == without_empty(oracle.seen(shadow=True))


def test_all_nodes_down_and_back(open_cluster: Opener, redis_cluster: RedisCluster, model: str) -> None:
    rng, oracle = np.random.default_rng(7), Oracle()
    store = open_cluster()
    lease = store.acquire(model)
    take_steps(lease, oracle, rng, 3)
    lease.flush()
    take_steps(lease, oracle, rng, 2)
    for node in redis_cluster.nodes:
        node.kill()
    waiting = random_commit(oracle.seq + 1, rng)
    for action in (
        lambda: lease.commit(waiting),
        lease.flush,
        lambda: store.load(model),
        lambda: store.head(model),
    ):
        with pytest.raises(StoreUnavailable, match=r"redis\+cluster://.*does not answer.*trying again helps"):
            action()
    redis_cluster.heal()
    patiently(lambda: lease.commit(waiting))
    oracle.apply(waiting)
    oracle.check(store, model)
    patiently(lease.flush)
    oracle.check(store, model)


def test_rows_and_models_are_spread_and_marked(
    open_cluster: Opener, redis_cluster: RedisCluster, model: str
) -> None:
    store, oracle = open_cluster(), Oracle()
    lease = store.acquire(model)
    rng = np.random.default_rng(8)
    take_steps(lease, oracle, rng, 2)
    lease.flush()
    assert all(len(groups_on(redis_cluster, model, node)) > 40 for node in redis_cluster.masters())
    with store._wires.lent() as wire:
        marks = read_marks(wire, Keys(model), lease.epoch)
        assert {(mark.low, mark.high, mark.mend, len(mark.placed)) for mark in marks} == {(2, 2, b"", 4)}
        assert {mark.low for mark in read_marks(wire, Keys(model), lease.epoch + 1)} == {0}
        assert model.encode() in wire.call("SMEMBERS", MODELS)
    assert model in store.models()


def test_a_hanging_replica_holds_commits_back_and_a_dead_one_does_not(
    open_cluster: Opener, redis_cluster: RedisCluster, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamrec.store.cluster.CONFIRM_MS", 200)
    store, oracle = open_cluster(), Oracle()
    lease = store.acquire(model)
    lease.commit(oracle.apply(commit(1, wide=rows([1], 1.0))))
    (replica,) = redis_cluster.replicas(redis_cluster.owner(Keys(model).head))
    replica.pause()
    second = commit(2, wide=rows([2], 2.0))
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="no replica confirmed"):
                lease.commit(second)
    finally:
        replica.kill()
    patiently(lambda: lease.commit(oracle.apply(second)))
    oracle.check(store, model)


def test_a_master_hangs_is_replaced_and_wakes_up(
    open_cluster: Opener, redis_cluster: RedisCluster, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds commands waiting that were sent to it as the master that it still believes to be."""
    monkeypatch.setattr("streamrec.store.slots._ANSWER_S", 0.5)
    rng, oracle = np.random.default_rng(10), Oracle()
    store = open_cluster()
    lease = store.acquire(model)
    take_steps(lease, oracle, rng, 3)
    lease.flush()
    for key in (Keys(model).head, _key(redis_cluster, model, "rows")):
        victim = redis_cluster.owner(key)
        victim.pause()
        try:
            take_steps(lease, oracle, rng, 2)
            patiently(lease.flush)
            patiently(lambda: oracle.check(store, model))
        finally:
            victim.go_on()
        redis_cluster.wait_ok()
        take_steps(lease, oracle, rng, 1)
        patiently(lease.flush)
        patiently(lambda: oracle.check(store, model))
    oracle.check(open_cluster(), model)


def test_rows_of_a_flush_that_were_held_up_do_not_overwrite_the_next(
    open_cluster: Opener, redis_cluster: RedisCluster, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that comes out of a broken network after the flush that took its place."""
    rng, oracle = np.random.default_rng(11), Oracle()
    store = open_cluster()
    lease = store.acquire(model)
    take_steps(lease, oracle, rng, 2)
    late: list = []

    def hold(wire: ServerWire, data: bytes) -> None:
        late.append((wire, data))
        raise StoreUnavailable("held up")

    with monkeypatch.context() as patch:
        patch.setattr(ServerWire, "send", hold)
        patch.setattr(ClusterWire, "close", lambda _: None)  # the connection that holds it stays
        with pytest.raises(StoreUnavailable, match="held up"):
            lease.flush()
    ((wire, data),) = late
    nodes = lease._flusher._wire._nodes
    del nodes[next(address for address, node in nodes.items() if node is wire)]  # the learner has a new one
    take_steps(lease, oracle, rng, 2)
    lease.flush()
    wire.send(data)
    assert wire.lines(data.count(b"\r\nHSET\r\n") + data.count(b"\r\nHDEL\r\n") + 3)[-1] == b"*-1"
    wire.close()
    oracle.check(store, model)


@pytest.mark.slow
def test_kill_9_of_any_node_again_and_again(
    open_cluster: Opener, redis_cluster: RedisCluster, model: str
) -> None:
    """At any moment, not at chosen ones: a thread kills while the learner commits and flushes; learners die too."""
    rng, oracle = np.random.default_rng(9), Oracle()
    over = threading.Event()
    kills: list[ClusterNode] = []

    def kill() -> None:
        choice = random.Random(9)
        while not over.is_set():
            victim = choice.choice(redis_cluster.nodes)
            time.sleep(choice.random())
            victim.kill()
            kills.append(victim)
            time.sleep(3 * choice.random())
            redis_cluster.heal()

    killer = threading.Thread(target=kill)
    killer.start()
    limits = SMALL._replace(flush_s=0.05)
    try:
        while len(kills) < 12:
            store = patiently(lambda: open_cluster(limits=limits))
            lease = patiently(lambda store=store: store.acquire(model))
            assert patiently(lambda store=store: store.head(model)).seq == oracle.seq
            take_steps(lease, oracle, rng, 25, space=100 + oracle.seq)
            store._wires.close()  # the learner is gone, in the middle of a flush perhaps
            if lease._thread is not None:
                with lease._wake:
                    lease._closed = True
                    lease._wake.notify()
                lease._thread.join()
            patiently(lambda: oracle.check(open_cluster(), model))
    finally:
        over.set()
        killer.join()
    redis_cluster.heal()
    oracle.check(open_cluster(), model)
