"""The approximate index beside the exact one: what it may not do, and how much it finds."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import numpy as np
import pytest

from streamrec.index import ApproximateIndex, ApproximateSettings, IndexSettings, RecallMonitor
from streamrec.index.chunk import CHUNK_SLOTS
from streamrec.index.inverted import InvertedLists
from streamrec.index.lanes import BLOCK
from streamrec.index.request import Found
from streamrec.index.share import give_way

pytest.importorskip("faiss", reason="the extra ann is not installed")
DIM, N = 16, 3 * CHUNK_SLOTS + 100  # the last four fill no block of lists
SETTINGS = ApproximateSettings(least_items=1000, probes=128, checked_every=1)


def clustered(n, seed):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((200, DIM))
    return (centres[rng.integers(0, 200, n)] + 0.4 * rng.standard_normal((n, DIM))).astype(np.float32)


@pytest.fixture(scope="module")
def index():
    with ApproximateIndex(IndexSettings(DIM, threads=1), SETTINGS) as made:
        made.update(np.arange(1, N + 1), clustered(N, 1))
        made.settle()
        yield made


def test_recall_is_high_scores_are_exact_and_it_is_monitored(index):
    queries = clustered(40, 2)
    found, exact = index.search(queries, 50), index.exact.search(queries, 50)
    shared = [np.intersect1d(a, b) for a, b in zip(found.ids, exact.ids, strict=True)]
    assert np.mean([len(s) for s in shared]) >= 0.95 * 50
    score_of = [
        dict(zip(ids.tolist(), scores.tolist(), strict=True)) for ids, scores in zip(*exact, strict=True)
    ]
    for q in range(40):
        for item, score in zip(found.ids[q].tolist(), found.scores[q].tolist(), strict=True):
            assert score_of[q].get(item, score) == score
    assert (np.diff(found.scores, axis=1) <= 0).all()
    while not index.monitor.n_checked:
        sleep(0.01)
    assert index.monitor.recall == pytest.approx(np.mean([len(s) for s in shared]) / 50)


def test_the_base_has_all_full_blocks_and_the_rest_is_searched_exactly(index):
    assert index._base.end == N - 4
    tail = index.exact.generation.since(index._base.end)
    assert tail.n_alive() == 4
    request = index.exact.request(np.ones(DIM), 10, None, None)
    assert sorted(index.exact.search_exactly(tail, request).ids[0]) == [0] * 6 + list(range(N - 3, N + 1))


def test_changes_are_found_at_once_and_what_is_gone_is_not(index):
    query = clustered(1, 3)[0]
    best = index.search(query, 20).ids
    index.update([N + 7], [10 * query], removed=best)
    found = index.search(query, 20)
    assert found.ids[0] == N + 7
    assert len(found.ids) == 20
    assert not np.isin(best, found.ids).any()


@pytest.mark.parametrize("n_excluded", [10, 400, 20_000])
def test_exclusions_never_leak_nor_shorten(index, n_excluded):
    query = clustered(1, 4)[0]
    exclude = index.exact.search(query, n_excluded).ids
    found = index.search(query, 30, exclude)
    assert len(found.ids) == 30
    assert not np.isin(found.ids, exclude).any()


def test_with_a_predicate_the_answer_is_exact(index):
    query = clustered(1, 5)[0]

    def few(ids):
        return ids % 5000 == 0

    found, exact = index.search(query, 30, where=few), index.exact.search(query, 30, where=few)
    assert found.ids.tolist() == exact.ids.tolist()
    assert few(found.ids).all()


def test_the_base_is_made_anew_when_items_have_changed():
    with ApproximateIndex(IndexSettings(DIM, threads=1), SETTINGS) as index:
        index.update(np.arange(1, N + 1), clustered(N, 1))
        index.settle()
        first = index._base
        index.update(np.arange(1, N + 1), clustered(N, 6))  # every item is another one
        query = clustered(1, 7)[0]
        assert index.search(query, 5).ids.tolist() == index.exact.search(query, 5).ids.tolist()
        index.settle()
        assert index._base.end > first.end
        recall = np.intersect1d(index.search(query, 100).ids, index.exact.search(query, 100).ids).size
        assert recall >= 85


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_threads_that_give_way_do_so_alone():
    def niceness():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = niceness()
    with ThreadPoolExecutor(1, initializer=give_way) as pool:
        assert pool.submit(niceness).result() == max(10, before)
    assert niceness() == before


def test_a_monitor_counts_what_was_shared():
    monitor = RecallMonitor(2)
    answers = Found(np.array([[1, 2, 3, 0]], np.uint64), np.zeros((1, 4), np.float32))
    exact = Found(np.array([[1, 3, 5, 6]], np.uint64), np.zeros((1, 4), np.float32))
    assert monitor.recall is None
    for _ in range(2):
        monitor.saw(answers, lambda: exact)
    monitor.close()
    assert monitor.n_checked == 1
    assert monitor.recall == 0.5


def test_without_a_base_searches_are_exact_and_it_is_tried_again_when_more_has_changed(monkeypatch, caplog):
    tries = []

    def fails(*_):
        tries.append(1)
        raise MemoryError("no room")

    with ApproximateIndex(IndexSettings(DIM, threads=1), SETTINGS) as index, monkeypatch.context() as patch:
        patch.setattr("streamrec.index.approximate.InvertedLists", fails)
        vectors = clustered(N, 1)
        index.update(np.arange(1, N + 1), vectors)
        index.settle()
        index.remove([1])
        index.settle()
        assert len(tries) == 1
        assert "no lists for approximate search of 98404 items: no room" in caplog.text
        query = clustered(1, 2)[0]
        assert index.search(query, 30).ids.tolist() == index.exact.search(query, 30).ids.tolist()
        patch.undo()
        n = N // 8
        index.update(np.arange(2, n), vectors[1 : n - 1])
        index.settle()
        assert index._base is not None


def test_what_changes_while_a_base_is_made_is_in_the_next_one_though_no_update_comes(monkeypatch):
    made, whole = [], threading.Event()

    class Slow(InvertedLists):
        def __init__(self, *args):
            made.append(1)
            assert whole.wait(30)
            super().__init__(*args)

    monkeypatch.setattr("streamrec.index.approximate.InvertedLists", Slow)
    with ApproximateIndex(IndexSettings(DIM, threads=1), SETTINGS) as index:
        index.update(np.arange(1, N + 1), clustered(N, 1))
        while not made:
            sleep(0.001)
        index.update(np.arange(1, N + 1), clustered(N, 6))
        whole.set()
        index.settle()
        assert len(made) == 2
        tail = index.exact.generation.since(index._base.end)
        assert tail.n_slots - tail.first < BLOCK
