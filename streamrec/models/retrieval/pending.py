"""Interactions of a micro-batch that is not complete: they wait, and are part of every commit."""

import struct
from typing import NamedTuple

import numpy as np

from streamrec.models.retrieval.item_bags import Bags

__all__ = ["Interactions", "interactions_of", "joined", "to_bytes"]

_HEAD = struct.Struct("<3q")  # interactions, ids, bags of an interaction
_TYPES = ("<u8", "<u8", "<i8", "<i8", "<f4", "<u8", "<f4", "<i8")


class Interactions(NamedTuple):
    """B interactions: who took what when."""

    users: np.ndarray  # uint64 (B,)
    items: np.ndarray  # uint64 (B,)
    time_ms: np.ndarray  # int64 (B,)
    numbers: np.ndarray  # int64 (B,), in the stream from 0
    weights: np.ndarray  # float32 (B,)
    bags: Bags  # of the query

    @property
    def moments(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What `History.near` asks for."""
        return self.items, self.time_ms, self.numbers


def joined(parts: list[Interactions]) -> Interactions:
    """Several in a row."""
    if len(parts) == 1:
        return parts[0]
    columns = [np.concatenate([part[i] for part in parts]) for i in range(5)]
    firsts = np.cumsum([0, *(len(part.bags.ids) for part in parts)])
    offsets = [part.bags.offsets[:-1] + first for part, first in zip(parts, firsts[:-1], strict=True)]
    ids, values = (np.concatenate([part.bags[i] for part in parts]) for i in range(2))
    users, items, time_ms, numbers, weights = columns
    bags = Bags(ids, values, np.concatenate([*offsets, firsts[-1:]]))
    return Interactions(users, items, time_ms, numbers, weights, bags)


def to_bytes(parts: list[Interactions]) -> bytes:
    """Exact state; empty where nothing waits."""
    if not parts:
        return b""
    whole = joined(parts)
    n = len(whole.users)
    head = _HEAD.pack(n, len(whole.bags.ids), (len(whole.bags.offsets) - 1) // n)
    arrays = zip((*whole[:5], *whole.bags), _TYPES, strict=True)
    return head + b"".join(array.astype(dtype).tobytes() for array, dtype in arrays)


def interactions_of(state: bytes) -> list[Interactions]:
    """What `to_bytes` was given, as one part; none of nothing."""
    if not state:
        return []
    n, nnz, bags = _HEAD.unpack_from(state)
    sizes, arrays, at = (n, n, n, n, n, nnz, nnz, n * bags + 1), [], _HEAD.size
    for size, dtype in zip(sizes, _TYPES, strict=True):
        array = np.frombuffer(state, dtype, size, at)
        at += array.nbytes
        arrays.append(array.astype(array.dtype.newbyteorder("=")))
    users, items, time_ms, numbers, weights = arrays[:5]
    return [Interactions(users, items, time_ms, numbers, weights, Bags(*arrays[5:]))]
