"""Histories against lists: whatever is asked at any moment, also when pages are full and go round."""

import numpy as np
import pytest

from streamrec.models.retrieval.history import History

MOST, NEAR = 32, 3


def u64(*values):
    return np.array(values, np.uint64)


def appended(history, rows, first=0):
    users, items, times = (np.array(column) for column in zip(*rows, strict=True))
    history.append(users.astype(np.uint64), items.astype(np.uint64), times.astype(np.int64), first)


def stream(n=400, users=4, items=30, seed=1):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.integers(0, 3, n))
    return [(int(rng.integers(1, users + 1)), int(rng.integers(1, items + 1)), int(t)) for t in times]


def expected_near(rows, user, item, time, number):
    its = [(i, t) for k, (u, i, t) in enumerate(rows) if u == user][-MOST:]
    numbers = [k for k, (u, _, _) in enumerate(rows) if u == user][-MOST:]
    valid = [(i, t) for (i, t), k in zip(its, numbers, strict=True) if k < number and (i, t) != (item, time)]
    after = max([k + 1 for k, (_, t) in enumerate(valid) if t <= time], default=0)
    before = [i for i, _ in valid[:after]][::-1][:NEAR]
    behind = [i for i, _ in valid[after:]][:NEAR]
    fill = lambda side: side + [0] * (NEAR - len(side))  # noqa: E731
    return fill(before) + fill(behind), {i for i, _ in valid}


@pytest.mark.parametrize("cut", [1, 7, 400])
def test_near_is_what_a_list_gives(cut):
    rows = [row for k, row in enumerate(stream()) if row not in stream()[:k]]  # each interaction once
    history = History(MOST, NEAR, 0.5)
    for start in range(0, len(rows), cut):
        appended(history, rows[start : start + cut], start)
    columns = np.arange(1, 31, dtype=np.uint64)
    rng = np.random.default_rng(2)
    for _ in range(60):
        k = int(rng.integers(len(rows)))
        user, item, time = rows[k]
        number = int(rng.choice([k, len(rows), 2**60]))
        moments = u64(item), np.array([time], np.int64), np.array([number], np.int64)
        near, seen = history.near(u64(user), moments, columns)
        items, taken = expected_near(rows, user, item, time, number)
        assert near.items[0].tolist() == items
        assert set(columns[seen[0]].tolist()) == taken
        weights = np.tile(np.arange(1, NEAR + 1) ** -0.5, 2).astype(np.float32)
        assert (
            near.weights[0].tolist() == np.where(near.items[0] != 0, weights, 0).astype(np.float32).tolist()
        )


def test_repeats_are_kept_but_not_the_same_interaction_again():
    history = History(MOST, NEAR, 0.5)
    appended(history, [(1, 5, 10), (1, 5, 10), (1, 5, 11), (2, 5, 10)])
    assert history.entries(1).tolist() == [[5, 10, 0], [5, 11, 2]]


def test_the_newest_are_kept_for_many_users():
    """Tables grow while interactions are written."""
    history, n = History(16, NEAR, 0.5), 3000
    appended(history, [(1 + k % n, k + 1, k) for k in range(20 * n)])
    for user in (1, 2, n):
        assert history.entries(user)[:, 0].tolist() == [user + n * k for k in range(4, 20)]


def test_nobody_has_no_history():
    near, seen = History(MOST, NEAR, 0.5).near(
        u64(3), (u64(0), np.zeros(1, np.int64), np.ones(1, np.int64)), u64(1)
    )
    assert not near.items.any()
    assert not near.weights.any()
    assert not seen.any()
