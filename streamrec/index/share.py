"""One search shared by several threads: parts are taken, not dealt out.

A thread that wakes late, or loses its processor, leaves its work to the others, and one that comes when all
is taken is not waited for.
"""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numba import njit

from streamrec.memory import INNER, JIT, address, fetch_add

__all__ = ["done", "give_way", "share", "take"]

#: Rounds of `_all_done`, some 100 µs together.
_ROUNDS = 10_000
#: Of a thread that gives way: where others want all processors, it has a tenth of the time that they have.
_NICENESS = 10


@njit(**INNER)
def take(counts: np.ndarray, n: int) -> int:
    """The first of the next n parts; they are this thread's. `counts`: int64 (2,), parts taken and done."""
    return fetch_add(address(counts), n)


@njit(**INNER)
def done(counts: np.ndarray, n: int) -> None:
    """n parts that were taken are done, and what they gave is written."""
    fetch_add(address(counts) + np.uint64(8), n)


@njit(**JIT)
def _all_done(counts: np.ndarray, n: int) -> bool:
    """Whether all n parts are done, after waiting a little: a part takes less than a thread's waking."""
    left = _ROUNDS
    while left and fetch_add(address(counts) + np.uint64(8), 0) < n:
        left -= 1
    return left > 0


def share(
    work: Callable[..., None], args: tuple[Any, ...], n: int, threads: int, pool: Executor | None
) -> None:
    """Do n parts in this thread and others.

    Args:
        work: called in each thread with counts and `args`; takes parts until all are taken.
        args: of it.
        n: how many parts there are.
        threads: that share the work, this one included.
        pool: of the others.

    """
    counts = np.zeros(2, np.int64)
    others = [pool.submit(work, counts, *args) for _ in range(1, threads) if pool]
    try:
        work(counts, *args)
    finally:
        if others and not _all_done(counts, n):
            for other in others:
                other.result()
        for other in others:
            other.cancel()


def give_way() -> None:
    """From now on this thread, and those that it starts, work in what time others leave.

    Only Linux has priorities of threads; elsewhere nothing changes.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        niceness = max(_NICENESS, os.getpriority(os.PRIO_PROCESS, thread))  # less is a privilege
        os.setpriority(os.PRIO_PROCESS, thread, niceness)
