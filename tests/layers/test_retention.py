"""Rows of embeddings that expire and are evicted, beside a dictionary of last uses and values."""

import numpy as np
import pytest

from streamrec.layers.embedding import EmbeddingSettings, EmbeddingTable

HOUR_MS = 3_600_000
DAY_S = 86_400
START_MS = 480_000 * HOUR_MS


def table(**retention):
    return EmbeddingTable("e", EmbeddingSettings(width=2, retention=retention), 1)


def learn(embeddings, ids, time_ms, clicks, size):
    """Micro-batches of examples with two ids each."""
    removed = 0
    for at in range(0, len(ids), size):
        part = ids[at : at + size].reshape(-1)
        embeddings.acquire(part)
        embeddings.apply(part, np.ones((len(part), 2), np.float32))
        n = len(part) // 2
        counted = np.array([clicks[at : at + size], np.ones(n)])
        removed += embeddings.retain(part, np.arange(2, 2 * n + 1, 2), time_ms[at : at + size], counted)
    return removed


def stream(n=3_000, hours=600, seed=0):
    rng = np.random.default_rng(seed)
    ids = rng.zipf(1.2, (n, 2)).astype(np.uint64) % np.uint64(2_000) + np.uint64(1)
    time_ms = START_MS + np.sort(rng.integers(0, hours * HOUR_MS, n))
    return ids, time_ms, rng.integers(0, 2, n)


def found(embeddings, ids):
    return embeddings.table.get(np.array(sorted(ids), np.uint64))[1]


@pytest.mark.parametrize("size", [1, 50])
def test_by_last_use(size):
    ids, time_ms, clicks = stream()
    embeddings, ttl_h = table(expire_after_s=2 * DAY_S), 48
    assert learn(embeddings, ids, time_ms, clicks, size) > 500
    last = {int(i): t for both, t in zip(ids, time_ms, strict=True) for i in both}
    now = time_ms[-1]
    assert found(embeddings, {i for i, t in last.items() if t > now - ttl_h * HOUR_MS}).all()
    gone = {i for i, t in last.items() if t < now - ttl_h * 18 / 16 * HOUR_MS}
    assert len(gone) > 100
    assert not found(embeddings, gone).any()


@pytest.mark.parametrize("size", [1, 50])
def test_by_value(size):
    ids, time_ms, clicks = stream()
    settings = {"show": 0.1, "click": 1.0, "half_life_s": DAY_S, "least": 0.05}
    embeddings = table(value=settings)
    assert learn(embeddings, ids, time_ms, clicks, size) > 500
    worth, now = {}, time_ms[-1]
    for both, t, click in zip(ids, time_ms, clicks, strict=True):
        for i in both.tolist():
            worth[i] = worth.get(i, 0.0) + (1.0 if click else 0.1) * 0.5 ** ((now - t) / (24 * HOUR_MS))
    assert found(embeddings, {i for i, v in worth.items() if v > 0.1}).all()
    gone = {i for i, v in worth.items() if v < 0.05 * 0.9}
    assert len(gone) > 100
    assert not found(embeddings, gone).any()


def test_by_both():
    """A clicked row is worth something for long, but goes when it was not used for a day."""
    one, two = np.array([[1, 2]], np.uint64), np.array([[3, 3]], np.uint64)
    value = {"half_life_s": 30 * DAY_S}
    for retention, kept in (({"expire_after_s": DAY_S, "value": value}, False), ({"value": value}, True)):
        embeddings = table(**retention)
        learn(embeddings, one, np.array([START_MS]), [1], 1)
        for hours in range(1, 100):
            learn(embeddings, two, np.array([START_MS + hours * HOUR_MS]), [0], 1)
        assert found(embeddings, [1, 2]).tolist() == [kept, kept]
        assert found(embeddings, [3]).all()


def test_never_more_rows_than_wanted():
    ids, time_ms, clicks = stream()
    embeddings = table(value={"most_rows": 160})
    for at in range(0, 3_000, 10):
        learn(embeddings, ids[at : at + 10], time_ms[at : at + 10], clicks[at : at + 10], 10)
        assert len(embeddings.table) <= 160
    most = np.argsort(np.bincount(ids.reshape(-1).astype(np.int64)))[-5:]
    assert found(embeddings, most.tolist()).all()


RETENTIONS = pytest.mark.parametrize(
    "retention",
    [
        {"expire_after_s": 2 * DAY_S},
        {"value": {"half_life_s": DAY_S, "most_rows": 400}},
        {"expire_after_s": 3 * DAY_S, "value": {"half_life_s": DAY_S}},
    ],
)


@RETENTIONS
def test_a_restart_after_every_micro_batch_changes_nothing(retention):
    """The clock comes back too: it knows that a sweep is due at the first event of a new period."""
    ids, time_ms, clicks = stream()
    whole, again = table(**retention), table(**retention)
    learn(whole, ids, time_ms, clicks, 50)
    for at in range(0, 3_000, 50):
        part = slice(at, at + 50)
        learn(again, ids[part], time_ms[part], clicks[part], 50)
        restarted = table(**retention)
        for each, rows in again.table.pieces():
            restarted.table.upsert(each, rows, changed=False)
        restarted.restore(again.blobs())
        again = restarted
    assert again.table.digest() == whole.table.digest()
    assert again.blobs() == whole.blobs()
    assert [*whole.blobs()] == ["e.clock"]


@RETENTIONS
def test_what_is_removed_reaches_a_mirror(retention):
    ids, time_ms, clicks = stream()
    learner, scorer = table(**retention), table(**retention)
    for start, end in ((0, 1_000), (1_000, 1_500), (1_500, 3_000)):
        learn(learner, ids[start:end], time_ms[start:end], clicks[start:end], 50)
        changed, rows, deleted = learner.table.take_changed()
        assert start == 0 or len(deleted) > 10
        scorer.table.delete(deleted, changed=False)
        scorer.table.upsert(changed, rows, changed=False)
    assert scorer.table.digest() == learner.table.digest()


def test_an_id_that_comes_back_starts_anew():
    embeddings = table(expire_after_s=DAY_S)
    ids, other = np.array([[1, 1]], np.uint64), np.array([[2, 2]], np.uint64)
    start = embeddings.lookup(ids[0])
    learn(embeddings, ids, np.array([START_MS]), [0], 1)
    assert (embeddings.lookup(ids[0]) != start).all()
    for hours in (20, 40):
        learn(embeddings, other, np.array([START_MS + hours * HOUR_MS]), [0], 1)
    assert embeddings.lookup(ids[0]).tobytes() == start.tobytes()


def test_nothing_is_removed_and_nothing_kept_where_nothing_is_asked():
    embeddings = table()
    ids, time_ms, clicks = stream(300)
    assert learn(embeddings, ids, time_ms, clicks, 10) == 0
    assert embeddings.blobs() == {}
    assert embeddings.table.width == 4
    assert len(embeddings.table) == len(np.unique(ids))
