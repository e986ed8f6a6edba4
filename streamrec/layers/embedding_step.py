"""The compiled steps of an embedding table: look up, begin, gather with summed gradients, write back."""

import numpy as np
from numba import njit

from streamrec.hashing import mix
from streamrec.memory import INNER, JIT, load_f32, store_f32
from streamrec.state.probe import find, mark_dirty, prefetch_slot, row_address, spread

__all__ = ["begin", "gather", "look_up", "write_back"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ / golden ratio: the step of the counter (Steele et al. 2014)
_1, _4, _32, _40 = np.uint64(1), np.uint64(4), np.uint64(32), np.uint64(40)
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
    n = 0
    for i in range(ids.size):
        if i + _AHEAD < ids.size:
            prefetch_slot(directory, stride, ids[i + _AHEAD])
        h = spread(ids[i])
        slot = find(directory, stride, ids[i], h)
        if slot >= 0:
            at = row_address(directory, stride, h, slot)
            for j in range(out.shape[1]):
                out[i, j] = load_f32(at + _4 * np.uint64(j))
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

    Returns how many rows there are; they count as changed.
    """
    directory, stride = table
    rows, sums, addresses, places = work
    places[:] = -1
    n = 0
    for i in range(ids.size):
        h = spread(ids[i])
        slot = find(directory, stride, ids[i], h)
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
        for j in range(rows.shape[1]):
            rows[n, j] = load_f32(at + _4 * np.uint64(j))
        for j in range(sums.shape[1]):
            sums[n, j] = gradients[i, j]
        mark_dirty(directory, stride, h, slot)
        n += 1
    return n


@njit(**JIT)
def write_back(addresses: np.ndarray, rows: np.ndarray) -> None:
    """Rows (N, W) to where `gather` found them; the table must not have grown since."""
    for u in range(len(rows)):
        for j in range(rows.shape[1]):
            store_f32(addresses[u] + _4 * np.uint64(j), rows[u, j])
