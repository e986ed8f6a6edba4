"""Embedding tables beside a dictionary of vectors in float64, and what a commit, a mirror and a restart promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_checks import random

from streamrec.layers.bag import Pooling
from streamrec.layers.embedding import EmbeddingSettings, EmbeddingTable
from streamrec.optim.registry import OPTIMIZERS

UNTIMED = settings(deadline=None, max_examples=40)
IDS = np.array([3, 2**63 + 5, 3, 77, 1, 2**63 + 5, 3], np.uint64)


def table(seed=1, **changes):
    return EmbeddingTable("e", EmbeddingSettings(**{"width": 4, **changes}), seed)


def stream(n, distinct, seed=0):
    return np.random.default_rng(seed).integers(1, distinct + 1, n).astype(np.uint64) * np.uint64(0x1234567)


def mirror(source, target):
    """What a commit carries and a scorer takes over."""
    for name, part in source.tables.items():
        ids, rows, deleted = part.take_changed()
        target.tables[name].delete(deleted, changed=False)
        target.tables[name].upsert(ids, rows, changed=False)
    target.restore(source.blobs())


def learn(embeddings, ids, seed=5, sizes=None):
    """Micro-batches of `sizes`, or of one size that divides nothing evenly."""
    at, k = 0, 0
    while at < len(ids):
        part = ids[at : at + (sizes[k % len(sizes)] if sizes else 7)]
        embeddings.acquire(part)
        g = random((len(part), embeddings.width), seed + at, np.float32) * np.float32(0.1)
        embeddings.apply(part, g)
        at, k = at + len(part), k + 1


def test_the_start_is_of_seed_and_id_alone():
    first, second = table(), table()
    expected = first.lookup(IDS)
    first.acquire(IDS)
    for i in np.random.default_rng(0).permutation(IDS):
        second.acquire(np.array([i]))
    assert first.lookup(IDS).tobytes() == second.lookup(IDS).tobytes() == expected.tobytes()
    assert first.table.digest() == second.table.digest()
    assert not (table(seed=2).lookup(IDS) == expected).any()
    assert (table(width=9).lookup(IDS)[:, :4] == expected).all()
    assert expected[:4].tolist() == expected[[0, 1, 2, 3]].tolist()
    assert len(np.unique(expected)) == 16  # four ids


def test_starts_are_uniform_within_the_scale():
    starts = table(width=8, scale=0.2).lookup(np.arange(1, 20_001, dtype=np.uint64))
    assert np.abs(starts).max() <= 0.2
    assert np.abs(starts).max() > 0.1999
    assert abs(starts.mean()) < 4 * 0.2 / np.sqrt(3 * starts.size)
    counts = np.histogram(starts, 20, (-0.2, 0.2))[0]
    assert ((counts - 8_000) ** 2 / 8_000).sum() < 45  # chi-squared of 19, one in 1,000 above 44
    by_number, by_id = np.corrcoef(starts.T), np.corrcoef(starts[:-1, 0], starts[1:, 0])[0, 1]
    assert np.abs(by_number - np.eye(8)).max() < 0.04
    assert abs(by_id) < 0.04
    assert not table(scale=0.0).lookup(IDS).any()


def test_looking_up_changes_nothing():
    embeddings = table()
    embeddings.lookup(IDS)
    assert len(embeddings.table) == 0
    learn(embeddings, IDS)
    embeddings.table.take_changed()
    before = embeddings.table.digest()
    embeddings.lookup(np.append(IDS, np.uint64(8)))
    assert embeddings.table.digest() == before
    assert len(embeddings.table.take_changed()[0]) == 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradients_of_an_id_are_summed_then_one_step(name):
    """IDS has three times 3 and twice 2⁶³ + 5; the sum is in their order, so its bits are known."""
    embeddings = table(optimizer=name)
    starts, g = embeddings.acquire(IDS), random((7, 4), 3, np.float32)
    rows = {int(i): embeddings.table.get(np.array([i]))[0] for i in IDS}
    embeddings.apply(IDS, g)
    optimizer = OPTIMIZERS[name].build(OPTIMIZERS[name].settings())
    for i, row in rows.items():
        total = np.zeros(4, np.float32)
        for each in g[np.uint64(i) == IDS]:
            total += each
        optimizer.apply(row, total[None])
        assert embeddings.table.get(np.array([i], np.uint64))[0].tobytes() == row.tobytes()
    assert (embeddings.lookup(IDS) != starts).any(axis=1).all()


@UNTIMED
@given(
    st.lists(st.integers(1, 12), max_size=30),
    st.sampled_from([1, 3, 16]),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_any_stream_beside_a_dictionary(ids, width, sizes):
    """AdaGrad in float64 on a dictionary of vectors."""
    embeddings = table(width=width)
    ids = np.array(ids, np.uint64)
    vectors = {int(i): v.astype(np.float64) for i, v in zip(ids, embeddings.lookup(ids), strict=True)}
    squares = {i: np.full(width, 0.1) for i in vectors}
    at, k = 0, 0
    while at < len(ids):
        part = ids[at : at + sizes[k % len(sizes)]]
        g = random((len(part), width), at, np.float32)
        embeddings.acquire(part)
        embeddings.apply(part, g)
        for i in set(part.tolist()):
            total = g[part == i].astype(np.float64).sum(0)
            squares[i] += total**2
            vectors[i] -= 0.05 * total / np.sqrt(squares[i] + 1e-7)
        at, k = at + len(part), k + 1
    for i, vector in vectors.items():
        np.testing.assert_allclose(embeddings.lookup(np.array([i], np.uint64))[0], vector, 1e-5, 1e-6)
    assert len(embeddings.table) == len(vectors)


def test_one_micro_batch_of_many_ids_that_repeat():
    """Thousands of rows at once, so many that the table grows and the map of places is full of collisions."""
    embeddings, ids = (
        table(width=2, optimizer={"name": "momentum", "learning_rate": 1.0}),
        stream(60_000, 30_000),
    )
    starts = embeddings.acquire(ids)
    embeddings.apply(ids, np.ones((len(ids), 2), np.float32))
    counts = dict(zip(*np.unique(ids, return_counts=True), strict=True))
    times = np.array([counts[i] for i in ids], np.float32)
    assert (embeddings.lookup(ids) == starts - times[:, None]).all()
    assert len(embeddings.table) == len(counts)


def test_an_id_without_a_row_is_left_out_of_a_step():
    embeddings = table()
    embeddings.acquire(IDS[:1])
    before = embeddings.lookup(IDS)
    embeddings.apply(IDS, np.ones((7, 4), np.float32))
    assert (embeddings.lookup(IDS) != before).any(axis=1).tolist() == (IDS == 3).tolist()
    assert len(embeddings.table) == 1


def test_absent_ids_may_count_as_zero():
    embeddings = table(absent="zero")
    assert not embeddings.lookup(IDS).any()
    got = embeddings.acquire(IDS[:2])
    assert got.tobytes() == table().lookup(IDS[:2]).tobytes() == embeddings.lookup(IDS[:2]).tobytes()
    assert not embeddings.lookup(IDS[3:4]).any()


@pytest.mark.parametrize("absent", ["start", "zero"])
def test_admission_by_count(absent):
    """Until an id is admitted it counts as absent and learns nothing; then it starts where all do."""
    embeddings = table(absent=absent, admission={"policy": "count", "n": 3})
    ids, starts = IDS[[0, 1]], table().lookup(IDS[[0, 1]])
    waiting = starts if absent == "start" else np.zeros_like(starts)
    for _ in range(2):
        assert (embeddings.acquire(ids) == waiting).all()
        embeddings.apply(ids, np.ones((2, 4), np.float32))
        assert (embeddings.lookup(ids) == waiting).all()
    assert (embeddings.acquire(ids[:1]) == starts[:1]).all()
    embeddings.apply(ids, np.ones((2, 4), np.float32))
    assert (embeddings.lookup(ids)[0] < starts[0]).all()
    assert (embeddings.lookup(ids)[1] == waiting[1]).all()
    assert len(embeddings.table) == 1
    again = table(admission={"policy": "count", "n": 3})
    again.acquire(np.repeat(ids, [3, 2]))  # all of it in one micro-batch
    assert len(again.table) == 1
    assert (again.lookup(ids) == starts).all()


@pytest.mark.parametrize("admission", [{}, {"policy": "count", "n": 2}, {"policy": "poisson", "p": 0.3}])
def test_learning_at_once_is_acquiring_then_applying(admission):
    """Also where the table grows on the way."""
    together, apart = table(admission=admission), table(admission=admission)
    for ids in np.split(stream(60_000, 30_000), [1, 3, 40, 700, 5_000]):
        g = random((len(ids), 4), len(ids), np.float32)
        together.learn(ids, g, together.find(ids)[1] if len(ids) % 2 else None)
        apart.acquire(ids)
        apart.apply(ids, g)
    assert len(together.table) > 5_000
    for name, part in together.tables.items():
        assert part.digest() == apart.tables[name].digest()


def test_admission_does_not_depend_on_micro_batches():
    ids, kinds = stream(4_000, 900), {"policy": "poisson", "p": 0.2}
    by_one, by_many = table(admission=kinds), table(admission=kinds)
    for i in ids:
        by_one.acquire(np.array([i]))
    for part in np.split(ids, [1, 10, 11, 3_000]):
        by_many.acquire(part)
    assert 0 < len(by_one.table) < 900
    assert by_one.table.digest() == by_many.table.digest()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_mirror_gives_the_same_bits_and_a_restart_goes_on(name):
    changes = {"optimizer": name, "admission": {"policy": "count", "n": 2}, "width": 5}
    ids = stream(700, 90)
    learner, scorer, resumed = table(**changes), table(**changes), table(**changes)
    learn(learner, ids[:350])
    mirror(learner, scorer)
    learn(learner, ids[350:420], seed=5 + 350)
    mirror(learner, scorer)  # a second commit has only what changed since
    assert scorer.lookup(ids).tobytes() == learner.lookup(ids).tobytes()
    whole = table(**changes)
    learn(whole, ids[:420])
    mirror(whole, resumed)
    learn(resumed, ids[420:], seed=6)
    learn(learner, ids[420:], seed=6)
    for part in learner.tables:
        assert resumed.tables[part].digest() == learner.tables[part].digest()


def test_only_what_admission_remembers_is_hidden():
    embeddings = table(admission={"policy": "count"})
    learn(embeddings, IDS)
    hidden = {
        name: embeddings.hidden(name, part.take_changed()[1]) for name, part in embeddings.tables.items()
    }
    assert {name: (len(rows), rows.all(), rows.any()) for name, rows in hidden.items()} == {
        "e": (2, False, False),
        "e.admission": (4, True, True),
    }


def test_two_fields_share_a_table_with_bags_of_weighted_ids():
    """d loss / d vector by finite differences, through the bags of both fields and an id that stands in three."""
    ids = np.array([5, 6, 5, 7, 5], np.uint64)
    values, offsets = random(5, 1, np.float32), np.array([0, 2, 3, 3, 5])  # two examples of two fields
    embeddings = table(width=3, optimizer={"name": "momentum", "learning_rate": 1.0}, scale=1.0)
    bags, weight = Pooling(2, 3, "weighted"), random((2, 6), 2, np.float32)
    rows = embeddings.acquire(ids)
    loss = float((bags.forward(rows, values, offsets) * weight).sum())
    embeddings.apply(ids, bags.backward(values, offsets, weight))
    for i in (5, 6, 7):
        step = embeddings.lookup(ids) - rows
        for j in range(3):
            moved = rows.astype(np.float64)
            moved[ids == i, j] += 0.5  # the loss is linear in the vectors
            slope = (float((bags.forward(moved, values, offsets) * weight).sum()) - loss) / 0.5
            assert step[ids == i, j] == pytest.approx(-slope, abs=1e-5)
    assert bags.look_up(embeddings.table, ids, values, offsets).tobytes() == (
        bags.forward(embeddings.lookup(ids), values, offsets).tobytes()
    )


def test_no_ids_at_all():
    embeddings, none = table(), np.empty(0, np.uint64)
    assert embeddings.acquire(none).shape == embeddings.lookup(none).shape == (0, 4)
    embeddings.apply(none, np.empty((0, 4), np.float32))
    assert len(embeddings.table) == 0


@pytest.mark.parametrize(
    ("gradients", "got"),
    [
        (np.ones((7, 3), np.float32), r"float32 of shape \(7, 3\)"),
        (np.ones((6, 4), np.float32), r"float32 of shape \(6, 4\)"),
        (np.ones((7, 4)), r"float64 of shape \(7, 4\)"),
    ],
)
def test_gradients_that_do_not_fit_are_one_line(gradients, got):
    with pytest.raises(ValueError, match=rf"^e: expected gradients float32 of shape \(7, 4\), got {got}$"):
        table().apply(IDS, gradients)


@pytest.mark.parametrize("wrong", [{"width": 0}, {"scale": -1.0}, {"absent": "mean"}, {"optimizer": "sgd"}])
def test_settings_out_of_their_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EmbeddingSettings(**wrong)
