"""A store as a dictionary: what every real one must agree with."""

from collections.abc import Iterable

import numpy as np

from streamrec.store.base import Commit, Rows, Store

State = dict[str, dict[int, tuple[bytes, bool]]]


def rows(
    ids: Iterable[int],
    values: object = 0.0,
    shadow: object = False,
    deleted: Iterable[int] = (),
    width: int = 2,
) -> Rows:
    array = np.array(list(ids), np.uint64)
    filled = np.empty((len(array), width), np.float32)
    filled[:] = np.asarray(values, np.float32).reshape(-1, 1) if np.ndim(values) == 1 else values
    hidden = np.broadcast_to(np.asarray(shadow, np.bool_), array.shape).copy()
    return Rows(array, filled, hidden, np.array(list(deleted), np.uint64))


def commit(seq: int, **tables: Rows) -> Commit:
    return Commit(seq, tables, {"position": str(seq).encode()}, 1_000 + seq)


def random_commit(seq: int, rng: np.random.Generator, n: int = 60, space: int = 200) -> Commit:
    """Rows of two tables, some hidden, some deleted; ids over the whole range of 64 bits."""
    tables = {}
    for name, width in (("wide", 2), ("deep", 5)):
        drawn = rng.choice(space, n, replace=False).astype(np.uint64) + np.uint64(1)
        ids = drawn * np.uint64(0x9E3779B97F4A7C15)
        cut = n * 5 // 6
        values = rng.standard_normal((cut, width)).astype(np.float32)
        tables[name] = Rows(ids[:cut], values, rng.random(cut) < 0.3, ids[cut:])
    return Commit(
        seq, tables, {"position": str(seq).encode(), f"odd{seq % 2}": bytes(rng.bytes(9))}, 1_000 + seq
    )


class Oracle:
    """Commits applied one after the other."""

    def __init__(self) -> None:
        self.seq = 0
        self.tables: State = {}
        self.blobs: dict[str, bytes] = {}

    def apply(self, made: Commit) -> Commit:
        self.seq = made.seq
        self.blobs |= made.blobs
        apply_pieces(self.tables, made.tables.items())
        return made

    def check(self, store: Store, model: str) -> None:
        """What the store gives now is this, for a learner and for a reader."""
        for shadow in (True, False):
            snapshot = store.load(model, shadow=shadow)
            assert snapshot.head.seq == self.seq
            assert dict(snapshot.blobs) == {name: blob for name, blob in self.blobs.items() if blob}
            assert without_empty(loaded(snapshot.pieces)) == without_empty(self.seen(shadow=shadow))

    def seen(self, *, shadow: bool) -> State:
        return {
            name: {key: row for key, row in table.items() if shadow or not row[1]}
            for name, table in self.tables.items()
        }


def apply_pieces(state: State, pieces: Iterable[tuple[str, Rows]]) -> None:
    for name, changed in pieces:
        table = state.setdefault(name, {})
        for key in changed.deleted.tolist():
            table.pop(key, None)
        for key, row, hidden in zip(changed.ids.tolist(), changed.rows, changed.shadow.tolist(), strict=True):
            table[key] = (row.tobytes(), hidden)


def loaded(pieces: Iterable[tuple[str, Rows]]) -> State:
    state: State = {}
    apply_pieces(state, pieces)
    return state


def without_empty(state: State) -> State:
    return {name: table for name, table in state.items() if table}
