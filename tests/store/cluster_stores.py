"""What the tests of a cluster have in common."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from redis.crc import key_slot
from store_oracle import Oracle, random_commit

from streamrec.store.cluster import cluster_wires
from streamrec.store.keys import GROUPS, Keys
from streamrec.store.limits import Limits
from streamrec.store.redis import RedisStore
from streamrec.store.slots import SlotMap
from streamrec.testing.redis_cluster import RedisCluster
from streamrec.testing.redis_server import patiently

SMALL = Limits(part_bytes=1024, mean_rows=1, batch_rows=32, flush_s=float("inf"), tail_commits=2)
Opener = Callable[..., RedisStore]


@contextmanager
def opening(cluster: RedisCluster) -> Iterator[Opener]:
    opened: list[RedisStore] = []

    def make(**settings: Any) -> RedisStore:
        opened.append(RedisStore(cluster.url, connect=cluster_wires, **{"limits": SMALL, **settings}))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


def take_steps(lease, oracle: Oracle, rng: np.random.Generator, count: int, **settings: int) -> None:
    """So many commits, which the oracle knows, too."""
    for _ in range(count):
        made = random_commit(oracle.seq + 1, rng, **settings)
        patiently(lambda made=made: lease.commit(made))
        oracle.apply(made)


def model_on(cluster: RedisCluster, node: Any) -> str:
    """A new model whose head is on this node."""
    while True:
        name = f"test {uuid.uuid4().hex}"
        if cluster.owner(Keys(name).head) is node:
            return name


def groups_on(cluster: RedisCluster, model: str, node: Any) -> list[int]:
    """Groups whose rows are on this node."""
    slots, keys = SlotMap(cluster.url), Keys(model)  # read once
    return [group for group in range(GROUPS) if slots.owner(keys.fence(group)).port == node.port]


def slot_of(key: str) -> int:
    return key_slot(key.encode())
