"""Work that threads take: all of it is done once, and nobody waits for a thread that has taken none."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from time import sleep

import numpy as np
import pytest
from numba import njit

from streamrec.index.share import done, share, take

N = 1000


@njit(nogil=True)
def count(counts, places, most):
    """Count each part in its place; stop after so many."""
    n = 0
    while n < most:
        first = take(counts, 7)
        if first >= len(places):
            return
        end = min(first + 7, len(places))
        for i in range(first, end):
            places[i] += 1
        n += end - first
        done(counts, end - first)


class Asleep:
    """A pool whose threads never wake."""

    def __init__(self):
        self.asked = []

    def submit(self, *_):
        self.asked.append(Future())
        return self.asked[-1]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_every_part_is_done_once(threads):
    with ThreadPoolExecutor(3) as pool:
        for _ in range(20):
            places = np.zeros(N, np.int64)
            share(count, (places, N), N, threads, pool)
            assert (places == 1).all()


def test_a_thread_that_never_wakes_is_not_waited_for():
    pool, places = Asleep(), np.zeros(N, np.int64)
    share(count, (places, N), N, 3, pool)
    assert (places == 1).all()
    assert [future.cancelled() for future in pool.asked] == [True, True]


def test_a_thread_that_has_taken_something_is_waited_for():
    """The other thread takes all, slowly; this one finds nothing left."""
    places, took = np.zeros(N, np.int64), threading.Event()

    def work(counts, here):
        if threading.current_thread() is here:
            took.wait(10)
            return
        counts[0] = N
        took.set()
        sleep(0.05)  # longer than anybody spins
        places[:] = 1
        counts[1] = N

    with ThreadPoolExecutor(1) as pool:
        share(work, (threading.current_thread(),), N, 2, pool)
        assert (places == 1).all()


def test_what_stops_another_thread_is_raised():
    def work(counts, here):
        counts[0] = N
        if threading.current_thread() is not here:
            raise MemoryError("no room")

    with ThreadPoolExecutor(1) as pool, pytest.raises(MemoryError, match="no room"):
        share(work, (threading.current_thread(),), N, 2, pool)
