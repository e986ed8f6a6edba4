"""Rows sent in transactions that fail once a newer learner has moved the fence of their group."""

from collections.abc import Generator, Iterable

import numpy as np

from streamrec.store.keys import Keys
from streamrec.store.log import Forgotten, Owner
from streamrec.store.marks import Round
from streamrec.store.rows import Batch
from streamrec.store.wire import ServerWire, Wire

__all__ = ["Transactions"]


class Transactions:
    """Those of one learner.

    Args:
        wire: of the caller's alone while something is sent.
        keys: of the model.
        owner: the learner.
        marks: which count what is sent; None on a single server.

    """

    def __init__(self, wire: Wire, keys: Keys, owner: Owner, marks: Round | None) -> None:
        self._wire, self._keys, self._owner, self._marks = wire, keys, owner, marks

    def sent(self, batches: Iterable[Batch]) -> Generator[list[tuple[str, int]], None, None]:
        """Send batches, one at a time to each server; the next is encoded while Redis works.

        Of each it tells, once it is done, how many rows each space has more (field and number). Whoever does
        not ask to the end must close it.

        Raises:
            Forgotten: a fence is another learner's, or has moved meanwhile.
            StoreUnavailable: a server refuses, or does not answer.

        """
        flying: dict[ServerWire, Batch] = {}
        try:
            for batch in batches:
                node = self._wire.at(self._keys.fence(batch.groups[0]))
                if node in flying:
                    yield _answered(node, flying.pop(node))
                flying[node] = self._send(node, batch)
            for node in list(flying):
                yield _answered(node, flying.pop(node))
        except BaseException:
            self._wire.close()  # answers that nobody will take may be on their way
            raise

    def _send(self, node: ServerWire, batch: Batch) -> Batch:
        """Run the commands as one transaction, if the fences are this learner's; returns what was sent."""
        fences = [self._keys.fence(group) for group in batch.groups]
        # WATCH lets the transaction fail if a fence moves between this look at it and EXEC; or, where it was
        # held up on its way until another flush has begun, the group's mark
        marks = [self._keys.mark(group) for group in batch.groups if self._marks is not None]
        _, set_to = node.calls([("WATCH", *fences, *marks), ("MGET", *fences)])
        if any(fence != self._owner.fence.encode() for fence in set_to):
            raise Forgotten  # or fenced: the lease finds out by asking for its epoch
        if self._marks is not None:
            (group,) = batch.groups
            batch = Batch(self._marks.count(group) + batch.data, [group], [("", 0, 1), *batch.effects])
        node.send(b"*1\r\n$5\r\nMULTI\r\n" + batch.data + b"*1\r\n$4\r\nEXEC\r\n")
        return batch


def _answered(node: ServerWire, batch: Batch) -> list[tuple[str, int]]:
    """By field of its space, how many rows more there are by each effect."""
    effects = zip(batch.effects, _totals(node, batch), strict=True)
    return [(field, sign * total) for (field, sign, _), total in effects if field]


def _totals(node: ServerWire, batch: Batch) -> list[int]:
    """The sum of the answers to the commands of each effect."""
    counts = [commands for _, _, commands in batch.effects]
    total = sum(counts)
    lines = node.lines(total + 2)  # OK, QUEUED …, and what EXEC says
    refused = next((line for line in lines if line.startswith(b"-")), None)
    if refused is not None:
        raise node.refused(Exception(refused[1:].decode(errors="replace")))
    if lines[-1] == b"*-1":
        raise Forgotten
    answers = np.array([int(line[1:]) for line in node.lines(total)], np.int64)
    return [int(part.sum()) for part in np.split(answers, np.cumsum(counts)[:-1])]
