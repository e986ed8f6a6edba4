"""Ranks against sorting all scores."""

import numpy as np
import pytest

from streamrec.evaluation.retrieval import NOWHERE, Index, ranks, shares
from streamrec.features.batch import Batch
from streamrec.models.retriever import Boosts, Query
from streamrec.state.table import SparseTable

N, D = 40, 3


class Drawn:
    """Users are what their number draws."""

    table, item_features = "item_vectors", ()

    def query(self, batch, users):
        rngs = [np.random.default_rng(int(user)) for user in users]
        vectors = np.array([rng.integers(-2, 3, D) for rng in rngs], np.float32)  # with ties
        boosted = [
            Boosts(np.arange(1, 50, 7, dtype=np.uint64), rng.integers(0, 3, 7).astype(np.float32))
            for rng in rngs
        ]
        return Query(vectors, boosted, [np.array([3, 10], np.uint64)] * len(users), -1.0)

    def see_items(self, batch, items, deleted): ...


def batch_of(users, items):
    n, zeros = len(users), np.zeros(len(users), np.float32)
    flags = zeros.astype(np.uint8)
    who = np.array(users, np.uint64), np.array(items, np.uint64), np.ones(n, np.bool_)
    none = np.zeros(0, np.uint64)
    return Batch(
        none,
        zeros[:0],
        np.zeros(1, np.int64),
        zeros[:, None],
        zeros,
        zeros,
        flags.astype(np.int64),
        flags,
        who[0],
        *who,
    )


def test_ranks_are_places_in_the_sorted_list():
    rng = np.random.default_rng(0)
    ids = rng.permutation(np.arange(1, N + 1)).astype(np.uint64)
    table = SparseTable(D)
    table.upsert(ids, rng.integers(-2, 3, (N, D)).astype(np.float32))
    users, items = rng.integers(1, 9, 100), rng.integers(1, N + 5, 100)
    taken = {user: np.array([5, 6, 2 * user], np.uint64) for user in range(1, 9)}
    found = ranks(Drawn(), Index.of(table), batch_of(users, items), taken)
    for b, (user, item) in enumerate(zip(users.tolist(), items.tolist(), strict=True)):
        query = Drawn().query(None, np.array([user]))
        score = {
            i: float(table.get(np.array([i], np.uint64))[0][0] @ query.vectors[0]) for i in range(1, N + 1)
        }
        for i, boost in zip(query.boosted[0].ids.tolist(), query.boosted[0].boosts.tolist(), strict=True):
            if i in score:
                score[i] += boost
        for i in (3, 10):
            score[i] -= 1.0
        order = sorted(score, key=lambda i: (-score[i], i))
        unseen = [i for i in order if i not in taken[user].tolist()]
        assert found[:, b].tolist() == [
            its.index(item) if item in its else NOWHERE for its in (order, unseen)
        ]


def test_an_item_without_a_vector_is_not_found():
    index = Index(np.array([1, 2], np.uint64), D)
    index.put(np.array([2], np.uint64), np.full((1, D), -9, np.float32))
    assert ranks(Drawn(), index, batch_of([1, 1], [1, 2]), {}).tolist() == [[NOWHERE, 0]] * 2


@pytest.mark.parametrize("k", [1, 5, 10, 50, 100])
def test_shares_count_ranks_below_k(k):
    found = np.array([[0, k - 1, k, NOWHERE], [k, k, k, 0]])
    told = shares(found)
    assert (told[f"top_{k}"], told[f"unseen_top_{k}"]) == (0.5, 0.25)
    assert shares(found[:, :0])[f"top_{k}"] is None
