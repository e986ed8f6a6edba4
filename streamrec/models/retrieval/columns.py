"""A map from ids to their columns in a matrix, in compiled code: open addressing, half full at most."""

import numpy as np
from numba import njit

from streamrec.memory import INNER
from streamrec.state.probe import spread

__all__ = ["column_of", "placed"]

_32 = np.uint64(32)


@njit(**INNER)
def _place(places: np.ndarray, columns: np.ndarray, identity: np.uint64) -> int:
    """Where the column of an id is in the map, or would be."""
    last = places.size - 1
    place = np.int64(spread(identity) >> _32) & last
    while places[place] >= 0 and columns[places[place]] != identity:
        place = (place + 1) & last
    return int(place)


@njit(**INNER)
def placed(columns: np.ndarray) -> np.ndarray:
    """The map of different ids uint64 (N,)."""
    size = 2
    while size < 2 * columns.size:
        size *= 2
    places = np.full(size, -1, np.int64)
    for j in range(columns.size):
        places[_place(places, columns, columns[j])] = j
    return places


@njit(**INNER)
def column_of(places: np.ndarray, columns: np.ndarray, identity: np.uint64) -> int:
    """The column of an id, −1 if it has none."""
    return places[_place(places, columns, identity)]
