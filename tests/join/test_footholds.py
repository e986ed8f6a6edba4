"""Where to begin when records are gone."""

import random
from itertools import pairwise

from streamrec.join.worker.footholds import Foothold, added, earliest


def foothold(n):
    return Foothold(n, {"p": 2 * n}, {})


def test_they_are_few_and_spread_over_what_a_rebuild_reads():
    rng, footholds, n, begins_at = random.Random(0), [], 0, 0
    for _ in range(5000):
        n += rng.randint(1, 300)
        begins_at = max(begins_at, n - 100_000) if rng.random() < 0.01 else begins_at
        footholds = added(footholds, foothold(n), begins_at)
        places = [begins_at, *(each.n_events for each in footholds), n]
        assert len(footholds) <= 6
        assert places == sorted(places)
        gaps = [after - before for before, after in pairwise(places)]
        assert max(gaps) <= (n - begins_at) / 2 + 300


def test_the_earliest_of_which_everything_is_there():
    footholds = [foothold(10), foothold(20), foothold(30)]
    assert earliest(footholds, {"p": 0}) == footholds[0]
    assert earliest(footholds, {"p": 21}) == footholds[1]
    assert earliest(footholds, {"p": 40, "not read yet": 5}) == footholds[1]
    assert earliest(footholds, {"p": 61}) is None
