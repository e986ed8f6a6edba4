"""What each transaction of the worker says of itself: records of a topic of its own, partition by partition.

A record holds the position after the transaction, the joiner's checkpoint (from which its pending state is
rebuilt by reading the input again), and the turns taken since the record before. It is written in the same
transaction as the examples, so the newest one that can be read tells how far they go.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from streamrec.errors import StoreMismatch
from streamrec.join.decode import Turn
from streamrec.transport.kafka.client import Consumer, Partition
from streamrec.transport.kafka.open import open_consumer
from streamrec.transport.kafka.url import KafkaUrl

__all__ = ["CONFIG", "JoinState", "TurnsSince", "read_state", "state_record", "state_topic"]

#: Never forgotten by age; by size, long after a checkpoint needs it.
CONFIG = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": str(64 << 20),
    "segment.bytes": str(8 << 20),
}
_FORMAT = 1
#: Records looked at first: with one input topic the last is enough.
_FEW = 64
_POLL_S = 0.2
_MOST = 5000


class JoinState(NamedTuple):
    """How far one partition is joined."""

    position: Mapping[str, int]
    checkpoint: Mapping[str, Any]
    turns: list[Turn]  # since the checkpoint began, and who was waited for then
    writer: str  # whose transaction it was


def state_topic(target: str) -> str:
    """The topic that goes with a topic of examples.

    >>> state_topic("examples")
    'examples.joins'
    """
    return f"{target}.joins"


class TurnsSince(NamedTuple):
    """The turns that one transaction adds to those before it."""

    n_events: int  # joined before the transaction
    waited_for: Mapping[str, bool]  # by partition, before the transaction
    turns: list[Turn]

    def whole(self) -> list[Turn]:
        """Turns that say as much without those before."""
        return [Turn(self.n_events, name, waited) for name, waited in self.waited_for.items()] + self.turns


def state_record(
    position: Mapping[str, int], checkpoint: Mapping[str, Any], since: TurnsSince, writer: str
) -> bytes:
    """A transaction's record."""
    record = {
        "format": _FORMAT,
        "position": dict(position),
        "checkpoint": dict(checkpoint),
        "before": {"n_events": since.n_events, "waited_for": dict(since.waited_for)},
        "turns": [list(turn) for turn in since.turns],
        "writer": writer,
    }
    return json.dumps(record, separators=(",", ":")).encode()


def read_state(url: KafkaUrl, partition: Partition) -> JoinState | None:
    """The newest record's state; None where there is none.

    Raises:
        StoreMismatch: written by another version, or what it needs is gone.

    """
    consumer = open_consumer(url)
    try:
        begin, end = consumer.begins([partition])[partition], consumer.ends([partition])[partition]
        n = _FEW
        while begin < end:
            first = max(begin, end - n)
            records = _read(consumer, partition, first, end)
            state = _state(records) if records else None
            if state is not None:
                return state
            if first == begin:
                if not records:
                    return None
                raise StoreMismatch(
                    f"{partition}: what the last join needs to go on is gone (deleted by retention): "
                    "join into a new target topic"
                )
            n *= 16
        return None
    finally:
        consumer.close()


def _read(consumer: Consumer, partition: Partition, first: int, end: int) -> list[dict[str, Any]]:
    consumer.assign({partition: first})
    records: list[dict[str, Any]] = []
    while consumer.position(partition) < end:
        for record in consumer.records(_POLL_S, _MOST):
            parsed = json.loads(record.value or b"{}")
            if parsed.get("format") != _FORMAT:
                raise StoreMismatch(
                    f"{partition}: offset {record.offset}: expected a join worker's record of format "
                    f"{_FORMAT}, got {parsed.get('format')}: use the version that wrote it, or a new target"
                )
            records.append(parsed)
    return records


def _state(records: list[dict[str, Any]]) -> JoinState | None:
    """The last record's, with the turns of those before; None where some that it needs are not here."""
    last = records[-1]
    begins_at = last["checkpoint"]["scalars"]["events"]
    turns: list[Turn] = []
    for record in reversed(records):
        n_events, waited_for = record["before"]["n_events"], record["before"]["waited_for"]
        since = TurnsSince(n_events, waited_for, [Turn(*turn) for turn in record["turns"]])
        if n_events <= begins_at:
            turns = since.whole() + turns
            return JoinState(last["position"], last["checkpoint"], turns, last["writer"])
        turns = since.turns + turns
    return None
