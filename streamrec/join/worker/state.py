"""What each transaction of the worker says of itself: records of a topic of its own, partition by partition.

The record `state` holds the position after the transaction and the joiner's checkpoint, from which its
pending state is rebuilt by reading the input again. It is written in the same transaction as the examples, so
the newest one that can be read tells how far they go. Records `turns.N` hold turns that it has no room for
(`turns`). The topic is compacted: of each of these, the newest is kept for ever.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from streamrec.errors import BrokerUnavailable, StoreMismatch
from streamrec.join.worker.footholds import Foothold
from streamrec.join.worker.turns import Page, Pages, page_from_json
from streamrec.transport.kafka.client import Consumer, Partition, Record
from streamrec.transport.kafka.open import open_consumer
from streamrec.transport.kafka.url import KafkaUrl

__all__ = ["CONFIG", "JoinState", "page_key", "page_record", "read_state", "state_record", "state_topic"]

#: A transaction a twentieth of a second writes some 40 MB an hour, so segments are cleaned every few minutes.
CONFIG = {
    "cleanup.policy": "compact",
    "segment.bytes": str(8 << 20),
    "min.cleanable.dirty.ratio": "0.3",
}
_FORMAT = 2
_KEY = b"state"
#: Records looked at first: the last ones, of which the state is one.
_FEW = 64
_POLL_S = 0.1
_MOST = 5000
#: Without anything new for so long, the broker is away.
_PATIENCE_S = 15.0


class JoinState(NamedTuple):
    """How far one partition is joined."""

    position: Mapping[str, int]
    checkpoint: Mapping[str, Any]
    writer: str  # whose transaction it was
    pages: Sequence[Page]  # turns since the checkpoint began
    footholds: Sequence[Foothold] = ()


def state_topic(target: str) -> str:
    """The topic that goes with a topic of examples.

    >>> state_topic("examples")
    'examples.joins'
    """
    return f"{target}.joins"


def state_record(
    position: Mapping[str, int],
    checkpoint: Mapping[str, Any],
    pages: Pages,
    footholds: Sequence[Foothold],
    writer: str,
) -> tuple[bytes, bytes]:
    """A transaction's key and value."""
    record = {
        "format": _FORMAT,
        "position": dict(position),
        "checkpoint": dict(checkpoint),
        "first_page": pages.first,
        "page": pages.open.as_json(),
        "footholds": [each.as_json() for each in footholds],
        "writer": writer,
    }
    return _KEY, _json(record)


def page_key(number: int) -> bytes:
    """The key of a page of turns."""
    return f"turns.{number}".encode()


def page_record(page: Page) -> tuple[bytes, bytes]:
    """A page's key and value."""
    return page_key(page.number), _json({"format": _FORMAT, **page.as_json()})


def _json(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode()


def read_state(url: KafkaUrl, partition: Partition) -> JoinState | None:
    """The newest transaction's state; None where there was none.

    Whoever asks must have begun to own the partition's transactions, so that none is open.

    Raises:
        StoreMismatch: written by another version, or what it needs is gone.
        BrokerUnavailable: the broker went away.

    """
    consumer = open_consumer(url)
    try:
        begin, end = consumer.begins([partition])[partition], consumer.ends([partition])[partition]
        first, n = end, _FEW
        record: Record | None = None
        while record is None and first > begin:
            first, n = max(begin, end - n), n * 16
            records = _read(consumer, partition, first, end)
            record = next((each for each in reversed(records) if each.key == _KEY), None)
        if record is None:
            return None
        state = _parsed(record)
        open_page = page_from_json(state["page"])
        pages = [*_older_pages(consumer, partition, range(state["first_page"], open_page.number)), open_page]
        footholds = [Foothold(*each) for each in state.get("footholds", ())]
        return JoinState(state["position"], state["checkpoint"], state["writer"], pages, footholds)
    finally:
        consumer.close()


def _older_pages(consumer: Consumer, partition: Partition, numbers: range) -> list[Page]:
    if not numbers:
        return []
    begin, end = consumer.begins([partition])[partition], consumer.ends([partition])[partition]
    records = {record.key: record for record in _read(consumer, partition, begin, end)}
    missing = [number for number in numbers if page_key(number) not in records]
    if missing:
        raise StoreMismatch(
            f"{partition}: what the last join needs to go on is gone: turns {missing[0]} to {missing[-1]}: "
            "was the topic's cleanup.policy changed? Join into a new target topic"
        )
    return [page_from_json(_parsed(records[page_key(number)])) for number in numbers]


def _read(consumer: Consumer, partition: Partition, first: int, end: int) -> list[Record]:
    consumer.assign({partition: first})
    records: list[Record] = []
    heard_s, position = time.monotonic(), first
    while position < end:
        records += consumer.records(_POLL_S, _MOST)
        if consumer.position(partition) > position:
            heard_s, position = time.monotonic(), consumer.position(partition)
        elif time.monotonic() - heard_s > _PATIENCE_S:
            raise BrokerUnavailable(
                f"{partition}: nothing at offset {position} of {end} for {_PATIENCE_S:.0f} s: "
                f"{consumer.trouble or 'is the broker running?'}"
            )
    return records


def _parsed(record: Record) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(record.value or b"{}")
    if parsed.get("format") != _FORMAT:
        raise StoreMismatch(
            f"{record.partition}: offset {record.offset}: expected a join worker's record of format "
            f"{_FORMAT}, got {parsed.get('format')}: use the version that wrote it, or a new target"
        )
    return parsed
