"""Which new ids get a row: half of all features occur once (McMahan et al. 2013, section 4.1), and one row
each would be wasted.

An id that is not admitted is left out of its example. Decisions are a function of the stream: what they
remember is kept in a table of their own, which is committed like any other.
"""

from typing import Any, Literal

import numpy as np
from numba import njit
from pydantic import BaseModel, ConfigDict, Field

from streamrec.hashing import mix
from streamrec.memory import JIT, load_f32, load_u64, store_f32, store_u64
from streamrec.state.probe import acquire, find, has_room, mark_dirty, prefetch_slot, row_address, spread
from streamrec.state.table import SparseTable

__all__ = ["Admission", "AdmissionSettings"]

_COUNT, _POISSON, _BLOOM = range(3)
_BLOCK_WORDS = 16  # a row of the Bloom filter: 64 one-byte counters in 16 float32 slots, one cache line
_HASHES = 4  # with 4 counters an id and a block of 64 half full, about 1 in 100 unseen ids looks seen
_DRAWS = np.uint64(1)  # row of the Poisson policy's table: how many decisions were drawn so far


class AdmissionSettings(BaseModel):
    """When an id that was never seen gets a row.

    Attributes:
        policy: "all" at once; "count" at its n-th occurrence, counted exactly, four words of memory an id
            still waiting; "bloom" the same with a counting Bloom filter of fixed size, which now and then
            admits too early, never too late; "poisson" at each occurrence with probability p.
        n: occurrences, for count and bloom, 1 to 255.
        p: probability, for poisson, above 0 and at most 1.
        bloom_bytes: size of the Bloom filter; an id waiting takes four of them.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: Literal["all", "count", "poisson", "bloom"] = "all"
    n: int = Field(2, ge=1, le=255)
    p: float = Field(0.03, gt=0, le=1)
    bloom_bytes: int = Field(64 << 20, ge=64, le=1 << 36)


@njit(inline="always", **JIT)
def _bump_count(
    directory: np.ndarray, stride: np.uint64, identity: np.uint64, n: int, blank: np.ndarray
) -> int:
    """1 where this is the n-th occurrence or a later one, 0 before, −1 where the table is full."""
    h = spread(identity)
    slot = acquire(directory, stride, identity, h, blank)
    if slot < 0:
        return -1
    at = row_address(directory, stride, h, slot)
    count = load_f32(at) + np.float32(1.0)
    store_f32(at, count)
    mark_dirty(directory, stride, h, slot)
    return 1 if count >= n else 0


@njit(inline="always", **JIT)
def _draw(directory: np.ndarray, stride: np.uint64, p: float, blank: np.ndarray) -> int:
    """1 with probability p: a counter-based generator, so the outcome depends on the number of the decision
    alone.
    """
    h = spread(_DRAWS)
    slot = acquire(directory, stride, _DRAWS, h, blank)
    at = row_address(directory, stride, h, slot)
    number = load_u64(at) + np.uint64(1)
    store_u64(at, number)
    mark_dirty(directory, stride, h, slot)
    return 1 if float(mix(number) >> np.uint64(11)) * 2.0**-53 < p else 0


@njit(inline="always", **JIT)
def _bump_bloom(
    directory: np.ndarray, stride: np.uint64, identity: np.uint64, n: int, n_blocks: int, blank: np.ndarray
) -> int:
    """As `_bump_count`, by the least of four counters in one block.

    Only the least are raised (conservative update).
    """
    bits = mix(identity)
    block = np.uint64(1) + (bits >> np.uint64(32)) * np.uint64(n_blocks) // np.uint64(1 << 32)
    h = spread(block)
    slot = acquire(directory, stride, block, h, blank)
    if slot < 0:
        return -1
    at = row_address(directory, stride, h, slot)
    least = np.uint64(255)
    for i in range(_HASHES):
        cell = (bits >> np.uint64(6 * i)) & np.uint64(63)
        count = (
            load_u64(at + (cell & np.uint64(56))) >> ((cell & np.uint64(7)) << np.uint64(3))
        ) & np.uint64(255)
        least = min(least, count)
    if least < np.uint64(255):
        for i in range(_HASHES):
            cell = (bits >> np.uint64(6 * i)) & np.uint64(63)
            shift = (cell & np.uint64(7)) << np.uint64(3)
            word = load_u64(at + (cell & np.uint64(56)))
            if (word >> shift) & np.uint64(255) == least:
                store_u64(at + (cell & np.uint64(56)), word + (np.uint64(1) << shift))
        mark_dirty(directory, stride, h, slot)
    return 1 if least + np.uint64(1) >= np.uint64(n) else 0


@njit(**JIT)
def _admit(
    directory: np.ndarray,
    stride: np.uint64,
    memory: Any,
    options: Any,
    ids: np.ndarray,
    keep: np.ndarray,
    start: int,
) -> tuple[int, int]:
    """Decide for ids start, start + 1, …; an admitted id gets its blank row at once. Returns (how far, which
    table is full).

    memory is (directory, stride, blank row) of what the policy remembers; options (policy, n, p, n_blocks,
    blank row).
    """
    own_directory, own_stride, own_blank = memory
    policy, n, p, n_blocks, blank = options
    for k in range(start, ids.size):
        if k + 16 < ids.size:
            prefetch_slot(directory, stride, ids[k + 16])
        h = spread(ids[k])
        keep[k] = find(directory, stride, ids[k], h) >= 0
        if keep[k]:
            continue
        if not has_room(directory, h):  # before the decision, which must not be made twice
            return k, 0
        if policy == _COUNT:
            admitted = _bump_count(own_directory, own_stride, ids[k], n, own_blank)
        elif policy == _POISSON:
            admitted = _draw(own_directory, own_stride, p, own_blank)
        else:
            admitted = _bump_bloom(own_directory, own_stride, ids[k], n, n_blocks, own_blank)
        if admitted < 0:
            return k, 1
        if admitted:
            acquire(directory, stride, ids[k], h, blank)
        keep[k] = admitted > 0
    return ids.size, -1


class Admission:
    """Decides which ids of a stream get a row in one table.

    Args:
        settings: the policy, not "all".
        blank: row float32 (W,) of an id that was never learned.

    """

    def __init__(self, settings: AdmissionSettings, blank: np.ndarray[Any, Any]) -> None:
        self._policy = {"count": _COUNT, "poisson": _POISSON, "bloom": _BLOOM}[settings.policy]
        self._settings = settings
        self._blank = blank
        width = {_COUNT: 1, _POISSON: 2, _BLOOM: _BLOCK_WORDS}[self._policy]
        #: What the policy remembers; part of every commit.
        self.memory = SparseTable(width)
        self._own_blank = np.zeros(width, np.float32)

    def admit(self, table: SparseTable, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """bool (N,): which of ids uint64 (N,), in the order of the stream, take part in their example."""
        keep = np.empty(len(ids), np.bool_)
        settings, memory = self._settings, self.memory
        options = (self._policy, settings.n, settings.p, max(1, settings.bloom_bytes // 64), self._blank)
        done = 0
        while done < len(ids):
            arrays = (memory.directory, memory.stride, self._own_blank)
            done, full = _admit(table.directory, table.stride, arrays, options, ids, keep, done)
            if full == 0:
                table.grow_for(int(ids[done]))
            elif full == 1:
                self._grow_memory(int(ids[done]))
        return keep

    def _grow_memory(self, identity: int) -> None:
        if self._policy == _COUNT:
            self.memory.grow_for(identity)
        else:
            self.memory.reserve(2 * len(self.memory) + 1024)
