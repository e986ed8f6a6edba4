"""A batch of examples as flat arrays: the only form past the extractor (DESIGN 3)."""

from typing import NamedTuple

import numpy as np
from numba import njit

from streamrec.memory import JIT

__all__ = ["Batch"]

_NO_KEYS, _NO_FLAGS = np.empty(0, np.uint64), np.empty(0, np.bool_)


@njit(**JIT)
def _only(
    ids: np.ndarray, values: np.ndarray, offsets: np.ndarray, bags: int, chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, values and offsets of those of every example's `bags` whose numbers are chosen."""
    n, taken = (offsets.size - 1) // bags, chosen.size
    its = np.empty(n * taken + 1, np.int64)
    its[0] = 0
    for b in range(n):
        for f in range(taken):
            bag, out = b * bags + chosen[f], b * taken + f
            its[out + 1] = its[out] + offsets[bag + 1] - offsets[bag]
    its_ids, its_values = np.empty(its[-1], np.uint64), np.empty(its[-1], np.float32)
    for b in range(n):
        for f in range(taken):
            first, to, end = offsets[b * bags + chosen[f]], its[b * taken + f], its[b * taken + f + 1]
            for k in range(end - to):
                its_ids[to + k], its_values[to + k] = ids[first + k], values[first + k]
    return its_ids, its_values, its


@njit(**JIT)
def _taken(
    ids: np.ndarray, values: np.ndarray, offsets: np.ndarray, bags: int, examples: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, values and offsets of the examples of these numbers, `bags` bags each."""
    its = np.zeros(examples.size * bags + 1, np.int64)
    for e in range(examples.size):
        shift = its[e * bags] - offsets[examples[e] * bags]
        for f in range(1, bags + 1):
            its[e * bags + f] = offsets[examples[e] * bags + f] + shift
    its_ids, its_values = np.empty(its[-1], np.uint64), np.empty(its[-1], np.float32)
    for e in range(examples.size):
        first, to, end = offsets[examples[e] * bags], its[e * bags], its[(e + 1) * bags]
        for k in range(end - to):
            its_ids[to + k], its_values[to + k] = ids[first + k], values[first + k]
    return its_ids, its_values, its


class Batch(NamedTuple):
    """B examples, F fields (crosses are fields too), D dense numbers.

    The bag of example b and field f is `ids[offsets[b * F + f]:offsets[b * F + f + 1]]`; absent is an empty
    bag. All ids of example b are therefore `ids[offsets[b * F]:offsets[(b + 1) * F]]`, in the order of the
    spec's fields.
    """

    ids: np.ndarray  # uint64 (nnz,), never 0
    values: np.ndarray  # float32 (nnz,)
    offsets: np.ndarray  # int64 (B * F + 1,)
    dense: np.ndarray  # float32 (B, D)
    labels: np.ndarray  # float32 (B,)
    weights: np.ndarray  # float32 (B,)
    time_ms: np.ndarray  # int64 (B,)
    role: np.ndarray  # uint8 (B,), see `events.feedback`
    # (B,) each, or (0,) where nobody asks
    key: np.ndarray = _NO_KEYS  # uint64, of the impression or event
    user: np.ndarray = _NO_KEYS  # uint64, `hash_bytes` of its text; 0: absent
    item: np.ndarray = _NO_KEYS  # uint64, likewise
    chosen: np.ndarray = _NO_FLAGS  # bool: the user took the item, see `events.block.Examples`

    def __len__(self) -> int:  # of the batch, not of the tuple: `_replace` cannot be used
        return len(self.labels)

    @property
    def n_fields(self) -> int:
        """F, the number of bags of an example."""
        return (len(self.offsets) - 1) // max(len(self), 1)

    def of(self, **arrays: np.ndarray) -> "Batch":
        """The same batch with other arrays by these names."""
        return Batch(**{**self._asdict(), **arrays})

    def part(self, start: int, end: int) -> "Batch":
        """Examples start … end − 1 as views."""
        f = self.n_fields
        first, last = self.offsets[start * f], self.offsets[end * f]
        return Batch(
            self.ids[first:last],
            self.values[first:last],
            self.offsets[start * f : end * f + 1] - first,
            self.dense[start:end],
            self.labels[start:end],
            self.weights[start:end],
            self.time_ms[start:end],
            self.role[start:end],
            self.key[start:end],
            self.user[start:end],
            self.item[start:end],
            self.chosen[start:end],
        )

    def filtered(self, keep: np.ndarray) -> "Batch":
        """The same examples with those ids only for which keep bool (nnz,) is true."""
        if keep.all():
            return self
        kept = np.concatenate([[0], np.cumsum(keep)])
        return self.of(ids=self.ids[keep], values=self.values[keep], offsets=kept[self.offsets])

    def leading(self, bags: int) -> "Batch":
        """The same examples with their first `bags` bags only, at most F."""
        return self.only(np.arange(bags))

    def only(self, bags: np.ndarray) -> "Batch":
        """The same examples with only the bags of these numbers int64 (n,), each 0 … F − 1, in this order."""
        if not len(self) or (len(bags) == self.n_fields and np.array_equal(bags, np.arange(self.n_fields))):
            return self
        ids, values, offsets = _only(self.ids, self.values, self.offsets, self.n_fields, bags)
        return self.of(ids=ids, values=values, offsets=offsets)

    def taken(self, examples: np.ndarray) -> "Batch":
        """The examples of these numbers int64 (n,), each 0 … B − 1, in this order."""
        ids, values, offsets = _taken(self.ids, self.values, self.offsets, self.n_fields, examples)
        rest = {name: getattr(self, name) for name in self._fields[3:]}
        return Batch(
            ids, values, offsets, **{k: its[examples] if len(its) else its for k, its in rest.items()}
        )
