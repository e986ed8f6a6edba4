"""The turns of the streams that a model learned: rows of a table, so that a commit has the new ones only."""

import numpy as np

from streamrec.join.decode import Turn
from streamrec.state.rows import Rows

__all__ = ["ORDER", "Order"]

#: Table of a commit; its rows are shadow rows, which only a learner reads.
ORDER = "order"
#: Numbers up to this are exact in float32; an event number is two of them.
_EXACT = 1 << 24
_WIDTH = 5


class Order:
    """Which partition was waited for, when; by stream.

    A row is (stream, event number // 2²⁴, event number % 2²⁴, partition, waited for), its id its number.

    Args:
        names: of streams and partitions, which rows name by number; grows.

    """

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._rows: list[tuple[float, ...]] = []
        self._n_stored = 0

    def turns(self, stream: str) -> list[Turn]:
        """All of one stream, oldest first."""
        if stream not in self._names:
            return []
        number = self._names.index(stream)
        return [
            Turn(int(high) * _EXACT + int(low), self._names[int(partition)], bool(waited_for))
            for of, high, low, partition, waited_for in self._rows
            if int(of) == number
        ]

    def add(self, stream: str, turn: Turn) -> None:
        """One more."""
        high, low = divmod(turn.n_events, _EXACT)
        of, partition = self._number(stream), self._number(turn.partition)
        self._rows.append((of, high, low, partition, turn.waited_for))

    def take_changed(self) -> Rows | None:
        """What was added since the last call; None if nothing was."""
        first, self._n_stored = self._n_stored, len(self._rows)
        if first == self._n_stored:
            return None
        rows = np.array(self._rows[first:], np.float32).reshape(-1, _WIDTH)
        ids = np.arange(first, self._n_stored, dtype=np.uint64)
        return Rows(ids, rows, np.ones(len(ids), np.bool_), np.zeros(0, np.uint64))

    def restore(self, pieces: list[Rows]) -> None:
        """Take back what `take_changed` gave over time, in any order."""
        if not pieces:
            return
        ids = np.concatenate([piece.ids for piece in pieces])
        rows = np.concatenate([piece.rows for piece in pieces])
        _, places = np.unique(ids, return_index=True)
        self._rows = [tuple(row) for row in rows[places].tolist()]
        self._n_stored = len(self._rows)

    def _number(self, name: str) -> int:
        if name not in self._names:
            self._names.append(name)
        return self._names.index(name)
