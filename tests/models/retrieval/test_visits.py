"""Co-visits against dictionaries in float64; what a full row keeps; gaps that follow and do not saturate."""

from collections import defaultdict

import numpy as np
import pytest

from streamrec.models.retrieval.history import Near
from streamrec.models.retrieval.settings import VisitSettings
from streamrec.models.retrieval.visits import Visits

WINDOW = 2


def near_of(rng, b, items, side=3):
    ids = rng.integers(0, items + 1, (b, 2 * side)).astype(np.uint64)
    return Near(ids, np.where(ids != 0, rng.uniform(0.1, 1, ids.shape), 0).astype(np.float32))


def taken(visits, n=300, items=20, seed=1):
    """Counted, and what a dictionary says."""
    rng = np.random.default_rng(seed)
    pairs, degree, count = defaultdict(float), defaultdict(float), defaultdict(int)
    for start in range(0, n, 10):
        its, near = rng.integers(1, items + 1, 10).astype(np.uint64), near_of(rng, 10, items)
        visits.take(its, np.arange(start, start + 10), near)
        for b, item in enumerate(its.tolist()):
            count[item] += 1
            for k, other in enumerate(near.items[b].tolist()):
                if k % 3 < WINDOW and other not in (0, item):
                    for one, two in ((item, other), (other, item)):
                        pairs[one, two] += float(near.weights[b, k])
                        degree[one] += float(near.weights[b, k])
    return rng, pairs, degree, count


def test_scores_are_sums_of_cosines():
    visits = Visits(VisitSettings(window=WINDOW, neighbours=32, shrinkage=2.5), 0.05)
    rng, pairs, degree, count = taken(visits)
    near, columns = near_of(rng, 4, 25), np.arange(1, 26, dtype=np.uint64)
    scores = visits.scores(near, columns)
    inverse = lambda item: 1 / np.sqrt(max(degree[item], 1.0) + 2.5)  # noqa: E731
    for b, (ids, values) in enumerate(visits.best(near)):
        expected = {
            i: sum(
                float(w) * pairs[j, i] * inverse(j) * inverse(i)
                for j, w in zip(near.items[b].tolist(), near.weights[b], strict=True)
            )
            for i in columns.tolist()
        }
        assert scores[b].tolist() == pytest.approx(list(expected.values()), rel=1e-4, abs=1e-7)
        assert dict(zip(ids.tolist(), values, strict=True)) == pytest.approx(
            {i: s for i, s in expected.items() if s > 0}, rel=1e-4
        )
    counts = visits.counts(columns)
    assert counts.taken.tolist() == [count[i] for i in columns.tolist()]
    assert counts.pairs.tolist() == pytest.approx([degree[i] for i in columns.tolist()], rel=1e-5)


def test_a_full_row_keeps_what_comes_often():
    visits = Visits(VisitSettings(window=1, near=1, neighbours=4), 0.05)
    rng = np.random.default_rng(0)
    for k in range(2000):
        other = 2 + k % 3 if k % 2 else int(rng.integers(10, 500))
        near = Near(np.array([[other, 0]], np.uint64), np.array([[1, 0]], np.float32))
        visits.take(np.array([1], np.uint64), np.array([k]), near)
    ((ids, _),) = visits.best(Near(np.array([[1, 0]], np.uint64), np.array([[1, 0]], np.float32)))
    assert {2, 3, 4} <= set(ids.tolist())
    assert len(ids) <= 4


def test_gaps_follow_the_rate_below_one_batch_and_above():
    """An item of every second interaction is in a batch of 32 sixteen times: its gap is 2, not 32."""
    visits = Visits(VisitSettings(), 0.02)
    rng = np.random.default_rng(4)
    nothing = Near(np.zeros((1, 2), np.uint64), np.zeros((1, 2), np.float32))
    for k in range(6000):
        item = 1 if rng.random() < 0.5 else int(rng.integers(2, 42))
        visits.take(np.array([item], np.uint64), np.array([k]), nothing)
    gaps = visits.counts(np.arange(1, 42, dtype=np.uint64)).gap
    assert gaps[0] == pytest.approx(2, rel=0.2)
    assert np.median(gaps[1:]) == pytest.approx(80, rel=0.2)
    assert visits.counts(np.array([99], np.uint64)).gap.tolist() == [0.0]


def test_the_first_gaps_count_alike_and_later_ones_by_the_rate():
    visits, item = Visits(VisitSettings(), 0.25), np.array([7], np.uint64)
    nothing = Near(np.zeros((1, 2), np.uint64), np.zeros((1, 2), np.float32))
    gaps = [5, 60, 40, 80, 30]
    for number in np.cumsum(gaps) - 1:
        visits.take(item, np.array([number]), nothing)
    four = np.mean(gaps[:4])
    assert visits.counts(item).gap[0] == pytest.approx(0.75 * four + 0.25 * gaps[4])


def test_recent_popularity_is_halved_by_what_comes_after():
    visits = Visits(VisitSettings(half_life=100), 0.05)
    nothing = Near(np.zeros((1, 2), np.uint64), np.zeros((1, 2), np.float32))
    for item, number in ((1, 0), (2, 100), (1, 200)):
        visits.take(np.array([item], np.uint64), np.array([number]), nothing)
    one, two = np.exp(visits.counts(np.array([1, 2], np.uint64)).recent)
    assert one / two == pytest.approx((1 + 0.25) / 0.5, rel=1e-5)


def test_who_was_never_taken_counts_as_average_at_first_and_less_from_then_on():
    """Ten items by turns, and one that is known from interaction 500 on."""
    visits, cold = Visits(VisitSettings(half_life=100), 0.05), np.array([99], np.uint64)
    nothing = Near(np.zeros((1000, 2), np.uint64), np.zeros((1000, 2), np.float32))
    items, numbers = 1 + np.arange(1000, dtype=np.uint64) % 10, np.arange(1000)
    visits.take(items[:500], numbers[:500], Near(*(part[:500] for part in nothing)))
    visits.meet(np.array([99, 3], np.uint64), 500)
    taken, recent = visits.expected(np.array([99, 1, 5], np.uint64), 500)
    assert taken.tolist() == [50, 50, 50]
    assert recent[1] < recent[0] < recent[2] + 0.1  # 1 was taken longer ago than 5
    visits.take(items[500:], numbers[500:], Near(*(part[500:] for part in nothing)))
    taken, recent = visits.expected(np.array([99, 1, 3], np.uint64), 1000)
    assert taken.tolist() == pytest.approx([1000 / 510, 100, 100], rel=1e-6)
    assert np.exp(recent[0] - recent[1:].mean()) == pytest.approx(10 / 510, rel=0.1)
    assert visits.counts(cold).taken.tolist() == [0]  # as it is learned
    visits.take(cold, np.array([1000]), Near(*(part[:1] for part in nothing)))
    assert visits.expected(cold, 1001)[0].tolist() == [1]
    visits.forget(np.arange(1, 8, dtype=np.uint64))  # of the others 301 are left, in four items
    assert visits.expected(np.array([77], np.uint64), 1001)[0].tolist() == pytest.approx(
        [301 / 1005], rel=1e-6
    )
    visits.meet(np.array([77], np.uint64), 1001)
    assert visits.expected(np.array([77], np.uint64), 1001)[0].tolist() == pytest.approx([301 / 4], rel=1e-6)
