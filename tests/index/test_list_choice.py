"""Which lists a query reads, beside the formula in NumPy."""

from itertools import pairwise

import numpy as np
import pytest

from streamrec.index.codes import encode_queries
from streamrec.index.offer import Query
from streamrec.index.probe import mark, near

DIM = 12  # no multiple of eight
RNG = np.random.default_rng(5)


def lists(n):
    """Centres, distances, and where the blocks of n lists begin and end: lists of 1 to 9 blocks."""
    starts = np.concatenate([[0], np.cumsum(RNG.integers(1, 10, n))])
    return RNG.standard_normal((n, DIM)).astype(np.float32), RNG.random(n), starts


def asked(vector):
    vectors = np.zeros((1, 16), np.float32)
    vectors[0, :DIM] = vector
    made = Query(vectors, np.empty(vectors.shape, np.int16), np.empty((1, 3), np.float32))
    encode_queries(*made)
    return made


def read(made, vector, most):
    blocks = np.full(most, -1)
    return blocks[: near(made, asked(vector), blocks)].tolist()


@pytest.mark.parametrize("n_lists", [1, 31, 500])
@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
def test_lists_of_the_greatest_promises_are_read(n_lists, share):
    centres, distances, starts = lists(n_lists)
    made, most = mark(centres, distances, starts), max(1, int(share * starts[-1]))
    for query in RNG.standard_normal((5, DIM)):
        blocks = read(made, query, most)
        assert len(blocks) == most
        assert blocks == sorted(set(blocks))
        promises = centres @ query + 5 * distances * np.linalg.norm(query) / np.sqrt(DIM)
        taken = np.isin(np.arange(starts[-1]), blocks)
        of_list = [taken[a:b] for a, b in pairwise(starts)]
        whole, none = ([f(part) for part in of_list] for f in (np.all, lambda part: not part.any()))
        tolerance = 0.25 * np.abs(centres).max() * np.linalg.norm(query)  # of codes of four bits
        if not all(whole):
            assert promises[whole].min(initial=np.inf) > promises[~np.array(whole)].max() - tolerance
        assert promises[none].max(initial=-np.inf) < promises[~np.array(none)].min() + tolerance


def test_a_wide_list_is_read_before_a_narrow_one_of_the_same_centre():
    made = mark(np.ones((2, DIM), np.float32), np.array([0.1, 2.0]), np.array([0, 3, 6]))
    assert read(made, np.ones(DIM), 3) == [3, 4, 5]


def test_lists_that_promise_the_same_share_the_room():
    made = mark(np.ones((2, DIM), np.float32), np.zeros(2), np.array([0, 3, 6]))
    assert read(made, np.ones(DIM), 4) == [0, 1, 2, 3]
    assert read(made, np.zeros(DIM), 6) == [0, 1, 2, 3, 4, 5]


def test_an_empty_list_takes_no_room():
    made = mark(np.array([[9.0] * DIM, [1.0] * DIM], np.float32), np.zeros(2), np.array([0, 0, 3]))
    assert read(made, np.ones(DIM), 2) == [0, 1]
