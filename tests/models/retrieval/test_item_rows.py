"""Bags of items and numbered items as rows."""

import numpy as np
import pytest

from streamrec.models.retrieval.item_bags import Bags, ItemBags, chosen_bags
from streamrec.models.retrieval.pool import Pool, Round


def bags(*items):
    """Items of bags of (id, value)."""
    flat = [bag for item in items for bag in item]
    entries = [entry for bag in flat for entry in bag]
    ids, values = [i for i, _ in entries], [v for _, v in entries]
    offsets = np.cumsum([0, *map(len, flat)])
    return Bags(np.array(ids, np.uint64), np.array(values, np.float32), offsets)


def same(one, other):
    return all(a.tolist() == b.tolist() for a, b in zip(one, other, strict=True))


ONE, TWO, NONE = [[(7, 1.0)], [], [(2**63 + 9, 0.5), (11, 0.5)]], [[], [(8, 2.0)], []], [[], [], []]


def test_bags_come_back_as_they_were():
    known = ItemBags(3, 4)
    items = np.array([5, 6], np.uint64)
    known.put(items, bags(ONE, TWO))
    assert same(known.get(np.array([6, 9, 5], np.uint64)), bags(TWO, NONE, ONE))
    assert known.alive(np.array([5, 9], np.uint64)).tolist() == [True, False]


def test_further_ids_than_are_kept_are_left_out():
    known = ItemBags(3, 2)
    known.put(np.array([5], np.uint64), bags(ONE))
    assert same(known.get(np.array([5], np.uint64)), bags([ONE[0], [], ONE[2][:1]]))


def test_the_deleted_are_known_and_not_alive():
    known, item = ItemBags(3, 4), np.array([5], np.uint64)
    known.put(item, bags(ONE))
    known.delete(item)
    assert known.known(item).all()
    assert not known.alive(item).any()
    assert same(known.get(item), bags(NONE))
    known.put(item, bags(TWO))
    assert known.alive(item).all()


def test_the_pool_draws_what_is_taken_of_late_and_is_cut_anywhere():
    pools = Pool(64, 1), Pool(64, 1)
    rng = np.random.default_rng(0)
    items = np.concatenate([rng.integers(1, 5, 2000), rng.integers(100, 104, 600)]).astype(np.uint64)
    pools[0].add(items, np.arange(len(items)))
    for k in range(0, len(items), 13):
        pools[1].add(items[k : k + 13], np.arange(k, min(k + 13, len(items))))
    drawn = np.concatenate([pools[0].draw(20, step) for step in range(50)])
    assert drawn.tolist() == np.concatenate([pools[1].draw(20, step) for step in range(50)]).tolist()
    assert np.mean(drawn >= 100) > 0.95  # 600 draws of 64 places leave hardly any as it was
    assert set(drawn.tolist()) >= {100, 101, 102, 103}


def test_every_item_has_its_turn():
    turns = Round()
    assert not len(turns.next(3, 0))
    turns.add(np.arange(1, 8, dtype=np.uint64))
    seen = np.concatenate([turns.next(3, step) for step in range(7)])
    assert np.bincount(seen.astype(int))[1:].tolist() == [3] * 7


def test_chosen_bags_are_those_of_the_batch():
    from streamrec.features.batch import Batch

    whole = bags(ONE, TWO)
    zeros = np.zeros(2, np.float32)
    batch = Batch(
        *whole, np.zeros((2, 0), np.float32), zeros, zeros, np.zeros(2, np.int64), zeros.astype(np.uint8)
    )
    assert same(chosen_bags(batch, np.array([2, 0])), bags([ONE[2], ONE[0]], [TWO[2], TWO[0]]))
    assert same(chosen_bags(batch, np.array([], np.int64)), bags())


@pytest.mark.parametrize("n", [0, 1])
def test_pools_of_nothing(n):
    assert not len(Pool(4, 0).draw(n, 3))
