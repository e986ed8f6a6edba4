"""Searches beside brute force in NumPy with the same order: score descending, then id."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.index import IndexSettings, ItemIndex
from streamrec.index.best import sort_best
from streamrec.index.chunk import CHUNK_SLOTS
from streamrec.index.generation import empty_best
from streamrec.index.scan import bound_blocks

KINDS = [(precision, coded) for precision in ("float32", "float16") for coded in (True, False)]


def brute_force(ids, vectors, query, k, exclude=(), where=None):
    """The definition, in float64: exact where numbers are small integers."""
    ids = np.asarray(ids, np.uint64)
    scores = np.asarray(vectors, np.float64) @ np.asarray(query, np.float64)
    allowed = ~np.isin(ids, np.asarray(exclude, np.uint64))
    if where is not None and len(ids):
        allowed &= where(ids)
    order = np.lexsort((ids[allowed], -scores[allowed]))[:k]
    return ids[allowed][order].tolist(), scores[allowed][order].tolist()


def answered(found):
    return found.ids.tolist(), found.scores.tolist()


def whole_numbers(shape, seed, most=3):
    return np.random.default_rng(seed).integers(-most, most + 1, shape).astype(np.float32)


@pytest.mark.parametrize(("precision", "coded"), KINDS)
def test_golden_numbers(precision, coded):
    with ItemIndex(IndexSettings(2, precision, coded)) as index:
        index.update([1, 2, 3], [[1, 0], [0, 1], [1, 1]])
        assert answered(index.search([1, 2], 2)) == ([3, 2], [3.0, 2.0])
        assert answered(index.search([1, 2], 2, exclude=[3])) == ([2, 1], [2.0, 1.0])


@pytest.mark.parametrize(("precision", "coded"), KINDS)
@pytest.mark.parametrize(
    ("n", "dim", "k"), [(1, 1, 1), (31, 3, 5), (33, 8, 40), (500, 17, 100), (3000, 64, 10)]
)
def test_whole_numbers_are_ranked_as_by_brute_force(precision, coded, n, dim, k):
    ids = np.random.default_rng(n).permutation(10 * n)[:n] + 1
    vectors, queries = whole_numbers((n, dim), 1), whole_numbers((4, dim), 2)
    with ItemIndex(IndexSettings(dim, precision, coded)) as index:
        index.update(ids, vectors)
        batch = index.search(queries, k)
        for q, query in enumerate(queries):
            expected = brute_force(ids, vectors, query, k)
            assert answered(index.search(query, k)) == expected
            assert (batch.ids[q].tolist(), batch.scores[q].tolist()) == expected


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("scale", [1e-24, 1e-4, 1.0, 1e4])
def test_codes_and_threads_change_no_bit(precision, scale):
    rng = np.random.default_rng(3)
    n, dim = 40_000, 24
    centres = rng.standard_normal((50, dim))
    vectors = (scale * (centres[rng.integers(0, 50, n)] + 0.05 * rng.standard_normal((n, dim)))).astype(
        np.float32
    )
    vectors[::7] = vectors[0]  # many equal ones
    queries = np.concatenate([scale * centres[:3], rng.standard_normal((3, dim)) ** 9]).astype(np.float32)
    answers = []
    for coded, threads in ((False, 1), (True, 1), (True, 2), (False, 3)):
        with ItemIndex(IndexSettings(dim, precision, coded, threads=threads)) as index:
            index.update(np.arange(n) + 1, vectors)
            found = index.search(queries, 50)
            answers.append((found.ids.tobytes(), found.scores.tobytes()))
    assert len(set(answers)) == 1
    stored = vectors.astype(precision).astype(np.float64)
    exact = np.sort(queries.astype(np.float64) @ stored.T, axis=1)[:, ::-1][:, :50]
    size = np.linalg.norm(queries, axis=1).max() * np.linalg.norm(stored, axis=1).max()
    assert np.abs(found.scores - exact).max() <= 1e-5 * size


def test_all_vectors_equal_and_zero_are_ordered_by_id():
    with ItemIndex(IndexSettings(5)) as index:
        index.update(np.arange(1000, 0, -1), np.zeros((1000, 5)))
        assert index.search(np.ones(5), 7).ids.tolist() == [1, 2, 3, 4, 5, 6, 7]
        index.update(np.arange(1000, 0, -1), np.ones((1000, 5)))
        assert index.search(np.ones(5), 7).ids.tolist() == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("n_excluded", [0, 1, 45, 49, 50])
def test_exclusions_never_leak_nor_shorten(n_excluded):
    vectors, query = whole_numbers((50, 4), 5) * 1e6, whole_numbers(4, 6)
    ids = np.arange(50) + 1
    exclude = [*brute_force(ids, vectors, query, n_excluded)[0], 777]
    with ItemIndex(IndexSettings(4)) as index:
        index.update(ids, vectors)
        for k in (0, 1, 5, 50, 1000):
            assert answered(index.search(query, k, exclude)) == brute_force(ids, vectors, query, k, exclude)


@pytest.mark.parametrize("coded", [True, False])
def test_the_best_that_is_left_is_found_however_many_blocks_are_above_it(coded):
    """More blocks than are sorted at once have an item that is better, but excluded or dead."""
    n, query = 30_000, whole_numbers(8, 12)
    ids, vectors = np.arange(n) + 1, whole_numbers((n, 8), 11, most=40)
    best = np.array(brute_force(ids, vectors, query, 20_000)[0])
    exclude, dead = best[::2], best[1::2]
    with ItemIndex(IndexSettings(8, coded=coded)) as index:
        index.update(ids, vectors)
        index.remove(dead)
        alive = ~np.isin(ids, dead)
        expected = brute_force(ids[alive], vectors[alive], query, 50, exclude)
        assert answered(index.search(query, 50, exclude)) == expected
        assert expected[0][0] not in best


@pytest.mark.parametrize("dim", [1, 8, 61, 256])
def test_no_score_is_above_its_bound(dim):
    """Bounds of single blocks: vectors and queries of all sizes, sparse, equal, with one large number."""
    rng = np.random.default_rng(dim)
    kinds = [
        rng.standard_normal((64, dim)) ** 5,
        rng.standard_normal((64, dim)) * (rng.random((64, dim)) < 0.1),
        np.ones((64, dim)),
        np.where(rng.random((64, dim)) < 0.05, 1e6, 1e-3),
    ]
    for vectors in kinds:
        with ItemIndex(IndexSettings(dim, threads=1)) as index:
            index.update(np.arange(64) + 1, vectors)
            for query in (*kinds[0][:5], *kinds[1][:5], *kinds[3][:5], -vectors[0]):
                request = index.request(query, 1, None, None)
                tops, best = np.empty((1, 2), np.float32), empty_best(request, 1)
                slots, kept = index.generation.slots(request)
                bound_blocks(np.zeros(2, np.int64), slots, request.queries, best, tops)
                scores = index.search(query, 64)
                greatest = [scores.scores[scores.ids <= 32].max(), scores.scores[scores.ids > 32].max()]
                assert (tops[0] >= greatest).all()
                del kept


@pytest.mark.parametrize(("precision", "coded"), KINDS)
def test_slots_from_a_position_on_are_searched_alone(precision, coded):
    n = CHUNK_SLOTS + 100
    with ItemIndex(IndexSettings(4, precision, coded)) as index:
        index.update(np.arange(n) + 1, whole_numbers((n, 4), 9))
        index.remove([n - 1])
        request = index.request(np.ones(4), 200, None, None)
        for position in (CHUNK_SLOTS - 64, CHUNK_SLOTS, CHUNK_SLOTS + 64, CHUNK_SLOTS + 96):
            tail = index.generation.since(position)
            ids = index.search_exactly(tail, request).ids[0]
            assert sorted(ids[ids > 0].tolist()) == [i for i in range(position + 1, n + 1) if i != n - 1]
            assert tail.n_alive() == n - position - 1


def test_each_query_has_exclusions_of_its_own_and_all_a_predicate():
    vectors, queries = whole_numbers((300, 6), 7), whole_numbers((3, 6), 8)
    ids, exclude = np.arange(300) + 1, [[1, 2], [], list(range(1, 295))]

    def odd(items):
        return items % 2 == 1

    with ItemIndex(IndexSettings(6)) as index:
        index.update(ids, vectors)
        found = index.search(queries, 10, exclude, odd)
    for q in range(3):
        n = int((found.ids[q] != 0).sum())
        expected = brute_force(ids, vectors, queries[q], 10, exclude[q], odd)
        assert (found.ids[q, :n].tolist(), found.scores[q, :n].tolist()) == expected
    assert (found.ids[2, 3:] == 0).all()
    assert (found.scores[2, 3:] == -np.inf).all()


CHANGES = st.lists(
    st.tuples(
        st.dictionaries(st.integers(1, 40), st.integers(-5, 5), max_size=8),
        st.sets(st.integers(1, 40), max_size=8),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(CHANGES, st.sampled_from(KINDS), st.integers(0, 12), st.sets(st.integers(1, 40), max_size=30))
def test_any_changes_leave_what_a_dictionary_has(changes, kind, k, exclude):
    items = {}
    with ItemIndex(IndexSettings(2, *kind)) as index:
        for put, asked in changes:
            removed = asked - put.keys()
            index.update(
                list(put), np.array([[v, 1] for v in put.values()], np.float32).reshape(-1, 2), list(removed)
            )
            items = {**{i: v for i, v in items.items() if i not in removed}, **put}
        vectors = np.array([[v, 1] for v in items.values()]).reshape(-1, 2)
        expected = brute_force(list(items), vectors, [1, 2], k, list(exclude))
        assert answered(index.search([1, 2], k, list(exclude))) == expected
        assert len(index) == len(items)


def test_the_last_vector_of_a_repeated_id_counts():
    with ItemIndex(IndexSettings(1)) as index:
        index.update([5, 6, 5], [[1], [2], [3]])
        assert answered(index.search([1], 5)) == ([5, 6], [3.0, 2.0])


def test_a_generation_that_is_held_stays_as_it_is():
    rng = np.random.default_rng(1)
    ids = np.arange(1, 60_001)
    with ItemIndex(IndexSettings(4, threads=1)) as index:
        index.update(ids, rng.standard_normal((60_000, 4)))
        held, request = index.generation, index.request(np.ones(4), 50, None, None)
        before = index.search_exactly(held, request)
        for _ in range(12):
            index.update(ids[:30_000], rng.standard_normal((30_000, 4)), ids[50_000:])
        after = index.search_exactly(held, request)
        assert before.ids.tobytes() == after.ids.tobytes()
        assert before.scores.tobytes() == after.scores.tobytes()
        assert len(index) == 50_000


def test_dead_slots_are_reclaimed():
    rng = np.random.default_rng(1)
    ids = np.arange(1, 4 * CHUNK_SLOTS + 1)
    items = rng.integers(-9, 10, (len(ids), 2)).astype(np.float32)
    with ItemIndex(IndexSettings(2, threads=1)) as index:
        index.update(ids, items)
        for _ in range(40):
            chosen = rng.choice(len(ids), 10_000, replace=False)
            items[chosen] = rng.integers(-9, 10, (10_000, 2))
            index.update(ids[chosen], items[chosen])
            assert index.generation.n_slots <= 1.25 * len(ids) + 3 * CHUNK_SLOTS
        assert answered(index.search([3, 1], 500)) == brute_force(ids, items, [3, 1], 500)
        index.remove(ids)
        index.remove([])
        assert index.generation.n_slots <= CHUNK_SLOTS
        assert answered(index.search([3, 1], 500)) == ([], [])


def test_readers_see_whole_generations_while_a_writer_writes():
    """All items of one generation have the number of it as their vector, so an answer must be of one number."""
    n, wrong, done = 500, [], threading.Event()
    with ItemIndex(IndexSettings(1)) as index:
        index.update(np.arange(1, n + 1), np.ones((n, 1)))

        def read():
            last = 0.0
            while not done.is_set():
                found = index.search([1.0], n + 5)
                if len(found.ids) != n or found.scores.min() != found.scores.max() or found.scores[0] < last:
                    wrong.append(answered(found))
                last = found.scores[0]

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for number in range(2, 400):  # 200,000 slots: chunks come and go meanwhile
            shift = n * (number % 2)  # half of the time all items are other ones
            gone = np.arange(1, n + 1) + n - shift
            index.update(np.arange(1, n + 1) + shift, np.full((n, 1), number), gone)
        done.set()
        for reader in readers:
            reader.join()
    assert not wrong


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda index: index.update([0], [[1, 1]]), "ids: expected a list of 64-bit ids other than 0"),
        (
            lambda index: index.update([1], [[1, np.nan]]),
            "item vectors: expected numbers of at most 1e.15, row 0",
        ),
        (
            lambda index: index.update([1], [[1, 1, 1]]),
            r"item vectors: expected shape \(N, 2\), got \(1, 3\)",
        ),
        (lambda index: index.update([1, 2], [[1, 1]]), "expected one for each of 2 ids, got 1"),
        (lambda index: index.update([1], [[1, 1]], [1]), "got 1 in both"),
        (lambda index: index.search([1, np.inf], 1), "query vectors: expected numbers"),
        (lambda index: index.search([1, 1], -1), "k: expected at least 0"),
        (lambda index: index.search([[1, 1]], 1, [[1], [2]]), "for each of 1 queries, got 2"),
        (
            lambda index: index.search([1, 1], 1, where=lambda ids: ids),
            "where: expected a bool for each of 1 ids",
        ),
    ],
)
def test_bad_input_is_one_clear_line_and_changes_nothing(call, message):
    with ItemIndex(IndexSettings(2)) as index:
        index.update([9], [[2, 3]])
        with pytest.raises(ValueError, match=message):
            call(index)
        assert answered(index.search([1, 1], 3)) == ([9], [5.0])


@pytest.mark.parametrize("bad", [{"dim": 0}, {"precision": "int4"}, {"slack": 1.0}, {"threads": 0}])
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))}: expected"):
        IndexSettings(**{"dim": 4, **bad})


def test_heaps_are_sorted_and_ties_broken_by_id():
    scores = np.array([[1, 3, 3, 0]], np.float32)
    ids, n = np.array([[8, 7, 2, 0]], np.uint64), np.array([3])
    sort_best(scores, ids, n)
    assert ids[0].tolist() == [2, 7, 8, 0]
    assert scores[0].tolist() == [3, 3, 1, -np.inf]
