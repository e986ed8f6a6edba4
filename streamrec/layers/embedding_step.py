"""The compiled steps of an embedding table: look up, begin, gather with summed gradients, write back."""

import numpy as np
from numba import njit

from streamrec.hashing import mix
from streamrec.memory import INNER, JIT, address, copy_bytes, prefetch
from streamrec.state.probe import find, home_address, mark_dirty, row_address, spread

__all__ = ["begin", "gather", "look_up", "write_back"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ / golden ratio: the step of the counter (Steele et al. 2014)
_1, _4, _6, _8, _32, _40, _63 = (np.uint64(n) for n in (1, 4, 6, 8, 32, 40, 63))
_AHEAD = 8  # ids between prefetch and use


@njit(**INNER)
def _start(identity: np.uint64, seed: np.uint64, scale: np.float32, out: np.ndarray) -> None:
    """Uniform within ±scale, in steps of scale/2²³: 24 bits a number, of a counter that seed and id begin."""
    state = mix(identity ^ seed)
    for j in range(out.size):
        state += _GOLDEN
        out[j] = (np.float32(mix(state) >> _40) * np.float32(2.0**-23) - np.float32(1.0)) * scale


@njit(**JIT)
def begin(ids: np.ndarray, start: tuple[np.uint64, float], width: int, rows: np.ndarray) -> None:
    """Write the first vectors of ids into the first `width` slots of rows (N, W)."""
    seed, scale = start
    for i in range(ids.size):
        _start(ids[i], seed, np.float32(scale), rows[i, :width])


@njit(**INNER)
def _prefetch_row(table: tuple[np.ndarray, np.uint64], identity: np.uint64, n_bytes: np.uint64) -> None:
    """Ask for the cache lines of the id and so much of its row, where its search will start."""
    directory, stride = table
    at = home_address(directory, stride, identity)
    for line in range((n_bytes + _8 + _63) >> _6):
        prefetch(at + (np.uint64(line) << _6))


@njit(**INNER)
def _seek(
    table: tuple[np.ndarray, np.uint64], ids: np.ndarray, i: int, n_bytes: np.uint64
) -> tuple[np.uint64, int]:
    """Number i of ids, spread, and its slot; the rows of those soon to come are asked for meanwhile."""
    directory, stride = table
    if i + _AHEAD < ids.size:
        _prefetch_row(table, ids[i + _AHEAD], n_bytes)
    h = spread(ids[i])
    return h, find(directory, stride, ids[i], h)


@njit(**JIT)
def look_up(
    table: tuple[np.ndarray, np.uint64],
    ids: np.ndarray,
    start: tuple[np.uint64, float],
    out: np.ndarray,
    absent: np.ndarray,
) -> int:
    """Vectors of ids into out (N, width); ids without a row get their start (seed, scale).

    Those ids are collected in absent uint64 (N,), or (0,) where nobody asks; returns how many there are.
    """
    directory, stride = table
    seed, scale = start
    n, to, n_bytes = 0, address(out), _4 * np.uint64(out.shape[1])
    for i in range(ids.size):
        h, slot = _seek(table, ids, i, n_bytes)
        if slot >= 0:
            copy_bytes(row_address(directory, stride, h, slot), to + np.uint64(i) * n_bytes, n_bytes)
        else:
            _start(ids[i], seed, np.float32(scale), out[i])
            if absent.size:
                absent[n] = ids[i]
            n += 1
    return n


@njit(**INNER)
def _place_of(at: np.uint64, h: np.uint64, places: np.ndarray, addresses: np.ndarray) -> np.uint64:
    """Where the row at this address is in the map, or is to be: open addressing, half full at most."""
    last = np.uint64(places.size - 1)
    place = (h >> _32) & last
    while places[place] >= 0 and addresses[places[place]] != at:
        place = (place + _1) & last
    return place


@njit(**JIT)
def gather(
    table: tuple[np.ndarray, np.uint64],
    ids: np.ndarray,
    gradients: np.ndarray,
    work: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> int:
    """Copy the rows of ids that have one, each once, and sum its gradients in the order of ids.

    work: rows float32 (N, W), sums float32 (N, width), addresses of the rows uint64 (N,), and places int32, a
    power of two of at least 2·N, for a map from addresses to numbers of rows.

    Returns how many rows there are, which count as changed; ids without one are passed over.
    """
    directory, stride = table
    rows, sums, addresses, places = work
    places[:] = -1
    n, to, n_bytes = 0, address(rows), _4 * np.uint64(rows.shape[1])
    for i in range(ids.size):
        h, slot = _seek(table, ids, i, stride)
        if slot < 0:
            continue
        at = row_address(directory, stride, h, slot)
        place = _place_of(at, h, places, addresses)
        u = places[place]
        if u >= 0:
            for j in range(sums.shape[1]):
                sums[u, j] += gradients[i, j]
            continue
        places[place], addresses[n] = n, at
        copy_bytes(at, to + np.uint64(n) * n_bytes, n_bytes)
        for j in range(sums.shape[1]):
            sums[n, j] = gradients[i, j]
        mark_dirty(directory, stride, h, slot)
        n += 1
    return n


@njit(**JIT)
def write_back(addresses: np.ndarray, rows: np.ndarray) -> None:
    """Rows (N, W) to where `gather` found them; the table must not have grown since."""
    at, n_bytes = address(rows), _4 * np.uint64(rows.shape[1])
    for u in range(len(rows)):
        copy_bytes(at + np.uint64(u) * n_bytes, addresses[u], n_bytes)
