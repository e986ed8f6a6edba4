"""Changed rows in parts: by ranges of ids, by groups of a cluster, by size."""

from collections.abc import Iterable, Iterator

import numpy as np

from streamrec.store.base import Rows
from streamrec.store.keys import GROUPS
from streamrec.store.rows import MIN_BITS, buckets_of

__all__ = ["by_group", "cut", "in_range", "size_of"]


def size_of(changes: Iterable[Rows]) -> int:
    """Rows and deleted ids of all."""
    return sum(len(change.ids) + len(change.deleted) for change in changes)


def in_range(change: Rows, bits: int, number: int) -> Rows:
    """What a change has of the ids with these upper bits."""
    if not bits:
        return change
    here, gone = (buckets_of(ids, bits) == number for ids in (change.ids, change.deleted))
    return Rows(change.ids[here], change.rows[here], change.shadow[here], change.deleted[gone])


def by_group(rows: Rows) -> Iterator[Rows]:
    """Sorted rows, those of each group by themselves."""
    firsts = np.arange(GROUPS, dtype=np.uint64) << np.uint64(64 - MIN_BITS)
    bounds = [[*np.searchsorted(ids, firsts).tolist(), len(ids)] for ids in (rows.ids, rows.deleted)]
    for group in range(GROUPS):
        here, gone = (slice(each[group], each[group + 1]) for each in bounds)
        if here.start < here.stop or gone.start < gone.stop:
            yield Rows(rows.ids[here], rows.rows[here], rows.shadow[here], rows.deleted[gone])


def cut(rows: Rows, size: int) -> Iterator[Rows]:
    """Sorted rows in sorted parts of about `size` rows; deleted ids go along with the rows of their range."""
    n = max(len(rows.ids), len(rows.deleted))
    longest = rows.ids if len(rows.ids) >= len(rows.deleted) else rows.deleted
    for start in range(0, n, size):
        low = longest[start] if start else np.uint64(0)
        last = start + size >= n
        parts = []
        for ids in (rows.ids, rows.deleted):
            first = int(np.searchsorted(ids, low))
            parts.append(slice(first, len(ids) if last else int(np.searchsorted(ids, longest[start + size]))))
        here, gone = parts
        yield Rows(rows.ids[here], rows.rows[here], rows.shadow[here], rows.deleted[gone])
