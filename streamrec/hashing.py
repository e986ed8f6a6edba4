"""Stable 64-bit ids: the same bytes give the same id in every process, on every platform, in every version.

`hash_bytes` folds eight bytes at a time with an odd multiplier and a xor-shift and ends with MurmurHash3's
finaliser (Appleby, public domain constants); each step is a bijection of the state, so two different inputs
of one length collide with probability about 2⁻⁶⁴. `combine` makes an id from an ordered pair of ids: (field,
value), (id, id) of a cross. No id is 0: the sparse table uses 0 for an empty slot.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit

from streamrec.memory import JIT, address, load_u64

__all__ = ["combine", "hash_bytes", "hash_number", "hash_span", "hash_text", "hash_texts", "mix"]

_SEED = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ / golden ratio
_FOLD = np.uint64(0xD6E8FEB86659FD93)  # odd, good avalanche under xor-shift 32
_PAIR = np.uint64(0xC2B2AE3D27D4EB4F)
_M1 = np.uint64(0xFF51AFD7ED558CCD)
_M2 = np.uint64(0xC4CEB9FE1A85EC53)
_S8, _S32, _S33 = np.uint64(8), np.uint64(32), np.uint64(33)
_ZERO, _ONE, _EIGHT = np.uint64(0), np.uint64(1), np.uint64(8)


@njit(inline="always", **JIT)
def mix(h: np.uint64) -> np.uint64:
    """MurmurHash3's 64-bit finaliser: every bit of h changes every bit of the result."""
    h ^= h >> _S33
    h *= _M1
    h ^= h >> _S33
    h *= _M2
    return h ^ (h >> _S33)


@njit(inline="always", **JIT)
def _start(n: np.uint64) -> np.uint64:
    return _SEED ^ (n * _PAIR)


@njit(inline="always", **JIT)
def _fold(h: np.uint64, word: np.uint64) -> np.uint64:
    h = (h ^ word) * _FOLD
    return h ^ (h >> _S32)


@njit(inline="always", **JIT)
def _finish(h: np.uint64, tail: np.uint64) -> np.uint64:
    h = mix((h ^ tail) * _FOLD)
    return h if h != _ZERO else _ONE


@njit(**JIT)
def hash_bytes(data: np.ndarray, start: int, end: int) -> np.uint64:
    """The id of the bytes data[start:end] (uint8 array)."""
    n = np.uint64(end - start)
    at = address(data) + np.uint64(start)
    h = _start(n)
    for _ in range(n >> np.uint64(3)):
        h = _fold(h, load_u64(at))
        at += _EIGHT
    tail = _ZERO
    for i in range(end - 1, end - 1 - np.int64(n & np.uint64(7)), -1):
        tail = (tail << _S8) | np.uint64(data[i])
    return np.uint64(_finish(h, tail))


@njit(**JIT)
def hash_span(at: np.uint64, n: np.uint64, ones: np.uint64) -> np.uint64:
    """The id of n bytes at an address, each or-ed with its byte of `ones`; 7 bytes past them must be
    readable.

    `ones` = 0 gives `hash_bytes`; 0x2020202020202020 the id of the lower-cased text where all bytes are ASCII
    letters or digits.
    """
    h = _start(n)
    for _ in range(n >> np.uint64(3)):
        h = _fold(h, load_u64(at) | ones)
        at += _EIGHT
    below_tail = (_ONE << ((n & np.uint64(7)) << np.uint64(3))) - _ONE
    return np.uint64(_finish(h, (load_u64(at) | ones) & below_tail))


@njit(inline="always", **JIT)
def combine(a: np.uint64, b: np.uint64) -> np.uint64:
    """The id of the ordered pair (a, b)."""
    h = mix((a * _PAIR) ^ ((b << _S33) | (b >> np.uint64(31))) ^ _SEED)
    return h if h != _ZERO else _ONE


@njit(inline="always", **JIT)
def hash_number(bits: np.uint64) -> np.uint64:
    """The id of a number, given the bits of its float64 (−0.0 as 0.0): never equal by construction to that of
    its text.
    """
    h = mix(bits ^ _FOLD)
    return h if h != _ZERO else _ONE


def hash_text(text: str) -> int:
    """The id of a string: `hash_bytes` of its UTF-8."""
    data = np.frombuffer(text.encode("utf-8", "surrogatepass") or b"\0", dtype=np.uint8)
    return int(hash_bytes(data, 0, len(text.encode("utf-8", "surrogatepass"))))


def hash_texts(texts: Sequence[str]) -> np.ndarray:
    """`hash_text` of many: uint64 (len(texts),)."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    data = np.frombuffer(b"".join([*encoded, b"\0" * 8]), dtype=np.uint8)  # `hash_span` reads past the last
    sizes = np.fromiter(map(len, encoded), np.int64, len(encoded))
    ids = np.empty(len(encoded), np.uint64)
    _hash_each(data, sizes, ids)
    return ids


@njit(**JIT)
def _hash_each(data: np.ndarray, sizes: np.ndarray, ids: np.ndarray) -> None:
    at = address(data)
    for i in range(len(sizes)):
        n = np.uint64(sizes[i])
        ids[i] = hash_span(at, n, _ZERO)
        at += n
