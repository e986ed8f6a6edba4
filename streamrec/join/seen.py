"""The ids of the last events: a set in two generations, so that forgetting is dropping the older one.

Whatever comes is remembered, a duplicate too: what the set holds is a function of the last events alone, of
nothing before them. `Joiner.checkpoint` rests on this.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from streamrec.memory import JIT

__all__ = ["CLICKED", "TAGS", "Seen", "empty", "grown", "is_known", "remember", "turned"]

#: Ids are unique within their type: the type's tag (random bits) keeps an impression and a click of one name
#: apart. In the order of `EVENT_TYPES`.
TAGS = np.array(
    [0x8F3A6C1D52E97B04, 0x1B56C4E9A3F2087D, 0xD4719E2F60B8C35A, 0, 0x63C80D5BF4A1927E], dtype=np.uint64
)
#: Under this tag the set holds the impressions for which a click came.
CLICKED = np.uint64(0xA92D71B8063FE5C4)

_SMALLEST = 1 << 12
_ZERO, _ONE = np.uint64(0), np.uint64(1)


class Seen(NamedTuple):
    """Open addressing, linear probing; 0 is an empty slot, sizes are powers of two."""

    young: np.ndarray  # uint64 (S,): ids of this generation
    old: np.ndarray  # uint64 (S',): ids of the one before


def empty() -> Seen:
    """Nothing seen yet."""
    return Seen(np.zeros(_SMALLEST, np.uint64), np.zeros(_SMALLEST, np.uint64))


def turned(seen: Seen) -> Seen:
    """The next generation begins: the older one is forgotten."""
    return Seen(np.zeros(len(seen.young), np.uint64), seen.young)


def grown(seen: Seen, n_ids: int) -> Seen:
    """Room for `n_ids` ids at a load of at most two thirds; fourfold, for each growth touches all memory."""
    size = len(seen.young)
    if n_ids * 3 <= size * 2:
        return seen
    while n_ids * 3 > size * 2:
        size *= 4
    larger = np.zeros(size, np.uint64)
    _copy(seen.young, larger)
    return seen._replace(young=larger)


@njit(**JIT)
def _find(ids: np.ndarray, id_: np.uint64) -> np.uint64:
    """Where the id is, or the empty slot where it belongs."""
    mask = np.uint64(len(ids) - 1)
    at = id_ & mask
    while ids[at] != _ZERO and ids[at] != id_:
        at = (at + _ONE) & mask
    return at


@njit(**JIT)
def remember(young: np.ndarray, old: np.ndarray, id_: np.uint64) -> tuple[bool, bool]:
    """Whether the id was there, and whether it takes a new slot of `young`. There must be room (`grown`)."""
    id_ = id_ if id_ != _ZERO else _ONE
    at = _find(young, id_)
    if young[at] == id_:
        return True, False
    young[at] = id_
    return old[_find(old, id_)] == id_, True


@njit(**JIT)
def is_known(young: np.ndarray, old: np.ndarray, id_: np.uint64) -> bool:
    """Whether the id is there; changes nothing."""
    id_ = id_ if id_ != _ZERO else _ONE
    in_young: bool = young[_find(young, id_)] == id_
    return in_young or old[_find(old, id_)] == id_


@njit(**JIT)
def _copy(ids: np.ndarray, larger: np.ndarray) -> None:
    for id_ in ids:
        if id_ != _ZERO:
            larger[_find(larger, id_)] = id_
