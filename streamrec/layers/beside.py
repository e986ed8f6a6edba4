"""A second thread for large batches: two halves of a computation at once.

Compiled kernels hold no lock, so two of them use two processors. What is computed does not depend on the
thread: each half works on arrays of its own.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

__all__ = ["BESIDE_FROM", "beside"]

#: Examples of a batch from which on handing half of it over pays; that takes some 50 µs.
BESIDE_FROM = 512

_A = TypeVar("_A")
_B = TypeVar("_B")

_second = ThreadPoolExecutor(max_workers=1, thread_name_prefix="layers")


def beside(here: Callable[[], _A], there: Callable[[], _B]) -> tuple[_A, _B]:
    """Results of both, `there` computed by a second thread meanwhile.

    Neither may call this again. An exception of either is raised once both are over.
    """
    other = _second.submit(there)
    try:
        mine = here()
    finally:
        wait([other])
    return mine, other.result()
