"""What waits between the thread that reads and the one that joins."""

import threading

import numpy as np
import pytest

from streamrec.join.worker import feed as module
from streamrec.join.worker.feed import Feed
from streamrec.transport.kafka.client import Partition, Run

A, B = Partition("a", 3), Partition("b", 3)


def run(partition, offsets, next_offset=None):
    data = b"".join(b"%d\n" % offset for offset in offsets)
    return Run(partition, np.array(offsets, np.int64), data, next_offset or offsets[-1] + 1)


def numbers(chunk):
    return list(map(int, chunk.data.split()))


def test_what_was_here_already_is_left_out():
    """A consumer that was sought may bring what it had fetched before."""
    feed = Feed([A], {A: 5}, None)
    feed.put(run(A, [3, 4]))
    assert feed.next == {A: 5}
    feed.put(run(A, [3, 4, 5, 7]))
    feed.put(run(A, [5, 7]))
    feed.put(run(A, [7, 8]))
    assert feed.next == {A: 9}
    chunk = feed.read()
    assert (chunk.offset, chunk.end, chunk.offsets.tolist(), numbers(chunk)) == (5, 9, [5, 7, 8], [5, 7, 8])
    assert feed.read().data == b""


def test_small_runs_come_together_and_large_ones_are_cut(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_RECORDS", 5)
    feed = Feed([A], {A: 0}, None)
    for offsets in ([0, 1], [2], [3, 4, 5], [6, 7, 8, 9, 10, 11]):
        feed.put(run(A, offsets))
    chunks = [feed.read() for _ in range(5)]
    assert [numbers(chunk) for chunk in chunks] == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9, 10], [11], []]
    assert [chunk.end for chunk in chunks[:4]] == [3, 6, 11, 12]
    feed.see(A, 12, 12)
    assert feed.lag() == {"a:3": 0}


@pytest.mark.parametrize("limit", ["_MOST_WAITING", "_MOST_BYTES"])
def test_full(monkeypatch, limit):
    monkeypatch.setattr(module, limit, 3 if limit == "_MOST_WAITING" else 7)
    feed = Feed([A, B], {A: 0, B: 0}, None)
    feed.put(run(A, [0, 1]))
    assert not feed.is_full(A)
    feed.put(run(A, [2, 3]))
    assert (feed.is_full(A), feed.is_full(B)) == (True, False)
    feed.put(run(B, [0]))
    feed.hold([str(A), str(B)])
    assert feed.is_full(B)
    assert feed.read().data == b""
    feed.hold([])
    feed.read()
    assert not feed.is_full(A)


def test_lag_counts_what_waits_here():
    feed = Feed([A], {A: 0}, None)
    feed.put(run(A, [0, 1, 2]))
    assert feed.lag() == {}
    feed.see(A, 3, 10)
    assert feed.lag() == {"a:3": 10}
    feed.read()
    assert feed.lag() == {"a:3": 7}
    assert feed.lags("a:3")
    feed.see(A, 10, 10)
    assert not feed.lags("a:3")


def test_the_end_is_reached_when_nothing_waits():
    feed = Feed([A, B], {A: 0, B: 0}, {A: 2, B: 0})
    assert not feed.ended(str(B))  # not known yet
    feed.put(run(A, [0, 1, 2, 3]))
    feed.see(A, 4, 4)
    feed.see(B, 0, 0)
    assert (feed.ended(str(A)), feed.ended(str(B))) == (False, True)
    assert numbers(feed.read()) == [0, 1]
    assert feed.read() is None


def test_one_thread_puts_while_another_reads():
    feed, got = Feed([A], {A: 0}, {A: 3000}), []

    def work():
        while (chunk := feed.read()) is not None:
            got.extend(numbers(chunk))

    thread = threading.Thread(target=work)
    thread.start()
    for offset in range(3000):
        feed.put(run(A, [offset]))
        feed.is_full(A)
        feed.see(A, offset + 1, 3000)
    thread.join(20)
    assert got == list(range(3000))
