"""What the score's parts are worth: on clicks by popularity alone nothing may be worse than popularity."""

import numpy as np
import pytest
from learned_retriever import Learned, rating

from streamrec.evaluation.retrieval import Index
from streamrec.hashing import hash_text
from streamrec.models.retrieval.gate import Gate
from streamrec.models.retrieval.repeats import Repeats

USERS, ITEMS, N = 150, 300, 4000
P = 1 / np.arange(1, ITEMS + 1)
P /= P.sum()


def clicks(seed=2):
    """Users come for eight items, which are drawn by popularity, whoever comes and whatever he took before."""
    rng = np.random.default_rng(seed)
    items = rng.choice(ITEMS, N, p=P)
    users = np.repeat(rng.integers(USERS, size=N // 8), 8)
    lines = [rating(k, f"u{user}", f"i{item}", "all") for k, (user, item) in enumerate(zip(users, items))]  # noqa: B905
    return users, items, lines


@pytest.mark.parametrize("unseen", [False, True])
def test_where_popularity_is_all_nothing_is_worse_than_it(unseen, popular):
    """Measured is how probable the next click is among the first ten, which has no noise of draws."""
    ours, by_count = popular["unseen" if unseen else "all"]
    assert ours > 0.985 * by_count


@pytest.fixture(scope="module")
def popular():
    users, items, lines = clicks()
    learned = Learned(lines)
    index = Index.of(learned.pipeline.tables["item_vectors"])
    item_of = {hash_text(f"i{i}"): i for i in range(ITEMS)}
    order, counts = [item_of[i] for i in index.ids.tolist()], np.bincount(items, minlength=ITEMS)
    found = {"all": [], "unseen": []}
    for user in range(USERS):
        scores = np.full(ITEMS, -np.inf)
        scores[order] = index.scores(learned.query(f"u{user}", time=1000 * N))[0]
        for name, gone in (("all", []), ("unseen", items[users == user])):
            found[name].append([_mass(scores, gone), _mass(counts, gone)])
    return {name: np.mean(pairs, axis=0) for name, pairs in found.items()}


def _mass(scores, gone):
    scores = scores.astype(float)
    scores[gone] = -np.inf
    return P[np.argsort(-scores, kind="stable")[:10]].sum()


def seen_and_own(rng, b, n, odds):
    """What was seen, and items drawn by a softmax in which these have so many times the odds."""
    z, seen = rng.normal(0, 1, (b, n)), rng.random((b, n)) < 0.3
    p = np.exp(z) * np.where(seen, odds, 1.0)
    p /= p.sum(axis=1, keepdims=True)
    return z, seen, (rng.random((b, 1)) > p.cumsum(axis=1)).sum(axis=1)


@pytest.mark.parametrize(("odds", "expected"), [(1.0, 0.0), (0.2, np.log(0.2)), (5.0, 0.0)])
def test_repeats_are_compared_with_what_is_expected(odds, expected):
    repeats, rng = Repeats(), np.random.default_rng(1)
    for _ in range(40):
        repeats.count(*seen_and_own(rng, 50, 20, odds))
    assert repeats.log_odds == pytest.approx(expected, abs=0.2)


def test_where_nobody_repeats_what_was_seen_falls_below_the_rest():
    repeats, seen = Repeats(), np.tile([True, True, False, False], (1000, 1))
    repeats.count(np.zeros((1000, 4)), seen, np.full(1000, 3))
    assert repeats.log_odds == pytest.approx(np.log(0.5 / 1000.5), abs=1e-3)
    assert Repeats().log_odds == 0.0


def told(gate, share, batches, seed=3):
    """Towers that say `share` of what is so, and noise beside it."""
    rng = np.random.default_rng(seed)
    for _ in range(batches):
        others, truth = rng.normal(0, 1, (2, 32, 60))
        p = np.exp(others + share * truth)
        p /= p.sum(axis=1, keepdims=True)
        own = (rng.random((32, 1)) > p.cumsum(axis=1)).sum(axis=1)
        gate.see(others, truth, np.minimum(own, 59), np.ones(32))
    return gate.kappa


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0, 2.0])
def test_towers_count_as_much_as_they_are_worth(share):
    assert told(Gate(), share, 150) == pytest.approx(min(share, 1.0), abs=0.08)


def test_towers_are_heard_again_once_they_have_learned():
    gate = Gate()
    assert told(gate, 0.0, 150) < 0.1
    assert told(gate, 1.0, 400) > 0.8


def test_both_come_back_from_their_bytes():
    gate, repeats = Gate(), Repeats()
    told(gate, 0.3, 5)
    repeats.count(*seen_and_own(np.random.default_rng(1), 9, 5, 0.1))
    again, other = Gate(), Repeats()
    again.restore(gate.to_bytes())
    other.restore(repeats.to_bytes())
    assert told(again, 0.3, 5, seed=4) == told(gate, 0.3, 5, seed=4)
    assert other.log_odds == repeats.log_odds
