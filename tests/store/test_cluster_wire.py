"""One wire to three nodes: where commands go, and what happens when they are not welcome there."""

import uuid
from collections.abc import Iterator

import pytest
import redis
from cluster_stores import slot_of

from streamrec.errors import StoreError, StoreUnavailable, UsageError
from streamrec.store import open_store
from streamrec.store.cluster import ClusterWire, cluster_wires
from streamrec.store.slots import Address, SlotMap
from streamrec.store.wire import Script
from streamrec.testing.redis_cluster import SLOTS, RedisCluster

pytestmark = pytest.mark.integration

GET = Script("return redis.call('GET', KEYS[1])")


@pytest.fixture
def wire(redis_cluster: RedisCluster) -> Iterator[ClusterWire]:
    wires = cluster_wires(redis_cluster.url)
    taken = wires.take()
    assert isinstance(taken, ClusterWire)
    yield taken
    wires.close()


@pytest.fixture
def name() -> str:
    return uuid.uuid4().hex


def test_commands_and_scripts_go_to_the_nodes_of_their_keys(wire: ClusterWire, name: str) -> None:
    keys = [f"{name}{n}" for n in range(60)]
    assert wire.calls([("SET", key, n) for n, key in enumerate(keys)]) == [b"OK"] * 60
    assert wire.calls([("GET", key) for key in keys]) == [b"%d" % n for n in range(60)]
    fresh = Script(f"{GET.text} -- {name}")  # which no node knows
    assert wire.runs(fresh, [((key,), ()) for key in keys]) == [b"%d" % n for n in range(60)]
    assert len({wire.at(key) for key in keys}) == 3
    assert wire.call("PING") == b"PONG"
    assert wire.call("XREAD", "COUNT", 1, "STREAMS", f"{name}:stream", "0") is None


def test_an_error_of_one_node_is_raised_and_the_wire_goes_on(wire: ClusterWire, name: str) -> None:
    with pytest.raises(StoreError, match="WRONGTYPE"):
        wire.calls([("SET", name, 1), ("LPUSH", name, 1), ("SET", name + "2", 2)])
    assert wire.calls([("GET", name), ("GET", name + "2")]) == [b"1", b"2"]


def test_a_slot_that_has_moved_is_found(wire: ClusterWire, name: str, redis_cluster: RedisCluster) -> None:
    assert wire.call("SET", name, "here") == b"OK"
    source = redis_cluster.owner(name)
    target = next(node for node in redis_cluster.masters() if node is not source)
    redis_cluster.move_slot(slot_of(name), target)
    assert wire.call("GET", name) == b"here"
    assert wire.at(name) is wire._nodes[Address("127.0.0.1", target.port)]


def test_a_slot_that_is_moving_is_asked_for_where_the_key_is(
    wire: ClusterWire, name: str, redis_cluster: RedisCluster
) -> None:
    keys = [f"{{{name}}}{n}" for n in range(8)]
    wire.calls([("SET", key, n) for n, key in enumerate(keys)])
    source = redis_cluster.owner(keys[0])
    target = next(node for node in redis_cluster.masters() if node is not source)
    fresh = Script(f"{GET.text} -- {name}")

    def between() -> None:
        assert wire.calls([("GET", key) for key in keys]) == [b"%d" % n for n in range(8)]
        assert wire.runs(fresh, [((key,), ()) for key in keys]) == [b"%d" % n for n in range(8)]
        assert wire.call("SET", f"{{{name}}}new", 1) == b"OK"
        with pytest.raises(StoreUnavailable):  # some of its keys are here, some there
            wire.call("MGET", *keys)

    redis_cluster.move_slot(slot_of(keys[0]), target, between=between)
    assert wire.call("MGET", *keys) == [b"%d" % n for n in range(8)]


def test_a_master_that_dies_is_away_until_its_replica_has_taken_over(
    wire: ClusterWire, name: str, redis_cluster: RedisCluster
) -> None:
    wire.call("SET", name, "kept")
    wire.settle(name)
    redis_cluster.owner(name).kill()
    with pytest.raises(
        StoreUnavailable, match=r"node 127.0.0.1:\d+\) does not answer: .* trying again helps"
    ):
        wire.call("GET", name)
    redis_cluster.wait_replaced(name)
    assert wire.call("GET", name) == b"kept"
    assert wire.call("PING") == b"PONG"
    wire.settle()  # the new master has no replica to wait for


def test_a_master_that_becomes_a_replica_is_left(
    wire: ClusterWire, name: str, redis_cluster: RedisCluster
) -> None:
    wire.call("SET", name, 1)
    old = redis_cluster.owner(name)
    (replica,) = redis_cluster.replicas(old)
    replica.call("CLUSTER FAILOVER", "TAKEOVER")
    redis_cluster.wait_replaced(name, old)
    redis_cluster.wait_ok()
    with pytest.raises(StoreUnavailable, match="replica now"):
        wire._confirm(Address("127.0.0.1", old.port))
    assert wire.call("SET", name, 2) == b"OK"
    assert replica.call("GET", name) == b"2"


def test_what_no_replica_has_is_not_settled(
    wire: ClusterWire, name: str, redis_cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamrec.store.cluster.CONFIRM_MS", 200)
    wire.call("SET", name, 1)
    wire.settle(name)
    (replica,) = redis_cluster.replicas(redis_cluster.owner(name))
    replica.pause()
    try:
        wire.call("SET", name, 2)
        with pytest.raises(StoreUnavailable, match="no replica confirmed"):
            wire.settle(name)
        wire.call("GET", name)  # not even after a command that writes nothing
        with pytest.raises(StoreUnavailable, match="no replica confirmed"):
            wire.settle(name)
    finally:
        replica.go_on()
    wire.settle(name)


def test_nobody_answers(redis_cluster: RedisCluster, wire: ClusterWire) -> None:
    wire.call("PING")
    for node in redis_cluster.nodes:
        node.kill()
    for _ in range(2):
        with pytest.raises(StoreUnavailable) as caught:
            wire.call("GET", "x")
        assert "\n" not in str(caught.value)
        assert "does not answer" in str(caught.value)
    with pytest.raises(StoreUnavailable, match=r"redis.cluster://.* does not answer"):
        open_store(redis_cluster.url)
    redis_cluster.heal()
    assert wire.call("GET", "x") is None


def test_one_given_node_leads_to_all_and_a_dead_one_is_passed_over(redis_cluster: RedisCluster) -> None:
    port = redis_cluster.nodes[4].port
    slots = SlotMap(f"redis+cluster://127.0.0.1:1,127.0.0.1:{port}")
    assert len(slots.masters()) == 3
    assert len(slots._known) == 6


def test_a_slot_without_a_master_is_named(redis_cluster: RedisCluster) -> None:
    slots = SlotMap(redis_cluster.url)
    slots.masters()
    slots._owners[7] = None
    key = next(str(n) for n in range(10**6) if slot_of(str(n)) == 7)
    with pytest.raises(StoreUnavailable, match="no node has slot 7"):
        slots.owner(key)
    assert slots.owner(key)  # read again


def test_other_servers_are_told_apart(redis_cluster: RedisCluster, redis_url: str) -> None:
    with pytest.raises(UsageError, match=r"node of a Redis Cluster: use redis.cluster://"):
        open_store(f"redis://127.0.0.1:{redis_cluster.nodes[0].port}/0")
    if redis_url.startswith("redis://"):
        with pytest.raises(UsageError, match="single server"):
            open_store(redis_url.replace("redis://", "redis+cluster://").removesuffix("/0"))


@pytest.mark.parametrize("host", ["", None])
def test_a_node_that_does_not_know_its_own_name(host: str | None) -> None:
    slots = SlotMap("redis+cluster://me:secret@here:7,there:8")
    assert slots.url == "redis+cluster://me:***@here:7,there:8"
    assert slots._settings["password"] == "secret"
    assert SlotMap("rediss+cluster://here:7")._class is redis.SSLConnection
    name = None if host is None else host.encode()
    found = slots._owners_in([[0, SLOTS - 1, [name, 7, b"id"], [b"there", 8, b"id"]]], Address("here", 7))
    assert found == [Address("here", 7)] * SLOTS


def test_ends_for_good(redis_cluster: RedisCluster) -> None:
    wires = cluster_wires(redis_cluster.url)
    wire = wires.take()
    wire.call("PING")
    wires.close()
    with pytest.raises(StoreError, match="closed by this process"):
        wire.call("GET", "a key")
