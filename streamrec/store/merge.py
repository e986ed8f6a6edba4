"""Many commits' changes of one table as one: the last value of every id."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from streamrec.errors import StoreMismatch
from streamrec.store.base import Commit, Rows

__all__ = ["difference", "newest", "served", "tables_of", "without_empty"]


def newest(changes: Sequence[Rows]) -> Rows:
    """The last state of every id in these changes, oldest first; sorted by id, each id once.

    In one change `deleted` comes before the rows: an id that is in both was deleted and made anew.
    """
    if len(changes) == 1 and not len(changes[0].deleted) and _is_sorted(changes[0].ids):
        return changes[0]
    rows = np.concatenate([change.rows for change in changes])
    ids = np.concatenate([part for change in changes for part in (change.deleted, change.ids)])
    # the row of each id: its place in `rows`, or −1 for a deleted one
    places: list[np.ndarray] = []
    start = 0
    for change in changes:
        places.append(np.full(len(change.deleted), -1, np.int64))
        places.append(np.arange(start, start + len(change.ids), dtype=np.int64))
        start += len(change.ids)
    place = np.concatenate(places)
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    last = np.append(ids[1:] != ids[:-1], True)[: len(ids)]
    ids, place = ids[last], place[order[last]]
    alive = place >= 0
    shadow = np.concatenate([change.shadow for change in changes])
    return Rows(ids[alive], rows[place[alive]], shadow[place[alive]], ids[~alive])


def difference(now: Rows, then: Rows) -> Rows:
    """What makes `now` into `then`: both as `newest` gives them, without deleted ids, and of one width.

    Rows are the same if their bits are.
    """
    at = np.searchsorted(now.ids, then.ids)
    there = at < len(now.ids)
    at = np.where(there, at, 0)
    same = there.copy()
    if len(now.ids):
        same &= now.ids[at] == then.ids
        same &= (_bits(now.rows)[at] == _bits(then.rows)).all(axis=1)
        same &= now.shadow[at] == then.shadow
    gone = np.setdiff1d(now.ids, then.ids, assume_unique=True)
    return Rows(then.ids[~same], then.rows[~same], then.shadow[~same], gone)


def served(rows: Rows) -> Rows:
    """What a reader sees of a change: shadow rows are gone, so a mirror is as small as what is served."""
    if not rows.shadow.any():
        return rows
    seen = ~rows.shadow
    gone = np.concatenate([rows.deleted, rows.ids[rows.shadow]])
    return Rows(rows.ids[seen], rows.rows[seen], rows.shadow[seen], gone)


def tables_of(commits: Iterable[Commit]) -> dict[str, list[Rows]]:
    """The changes of each table, oldest first.

    Raises:
        StoreMismatch: a table's width changed.

    """
    tables: dict[str, list[Rows]] = {}
    for commit in commits:
        for name, rows in commit.tables.items():
            changes = tables.setdefault(name, [])
            if changes and changes[0].rows.shape[1] != rows.rows.shape[1]:
                before, now = changes[0].rows.shape[1], rows.rows.shape[1]
                widths = f"{before} slots a row before and {now} in commit {commit.seq}"
                raise StoreMismatch(f"table {name!r}: {widths}: another model needs another name or --fresh")
            changes.append(rows)
    return tables


def _is_sorted(ids: np.ndarray) -> bool:
    return bool((ids[1:] > ids[:-1]).all())


def without_empty(blobs: Mapping[str, bytes]) -> dict[str, bytes]:
    """Small state without the names that were taken away."""
    return {name: blob for name, blob in blobs.items() if blob}


def _bits(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows, np.float32).view(np.uint32)
