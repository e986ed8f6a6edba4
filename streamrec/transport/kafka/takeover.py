"""Taking transactions over from a producer that may have been killed.

A broker aborts what a predecessor left open, with a marker in each partition. Kafka 4.0 to 4.3 write no
marker into a partition that has no leader at that moment (a broker that restarts within its session, for
one), and forget the transaction. Its records then stay open, and the successor's next commit would show them:
what was joined again is there twice. So the successor looks for what is still open, and aborts a transaction
of its own there: its marker ends both.
"""

import logging
from collections.abc import Collection

from streamrec.transport.kafka.client import Consumer, Partition, Producer
from streamrec.transport.kafka.open import open_consumer, open_producer
from streamrec.transport.kafka.settings import Reading
from streamrec.transport.kafka.url import KafkaUrl

__all__ = ["take_over"]

_log = logging.getLogger("streamrec")

_FLUSH_S = 15.0
#: A record that nobody ever sees.
_KEY = b"streamrec-aborted"


def take_over(
    url: KafkaUrl, transactional_id: str, partitions: Collection[Partition], reader: Consumer
) -> Producer:
    """A producer before which no transaction of this id is left open in the partitions.

    partitions: where the predecessor may have written; others may write there too.
    reader: of the same cluster, of what is committed only.

    Raises: as `open_producer`.
    """
    producer = open_producer(url, transactional_id=transactional_id)
    try:
        if left := _with_open_transactions(url, partitions, reader):
            _abort_in(producer, left)
            if forgotten := left - _with_open_transactions(url, left, reader):
                names = ", ".join(map(str, sorted(forgotten)))
                _log.warning("%s: a transaction that the broker had forgotten was aborted", names)
    except BaseException:
        producer.close()
        raise
    return producer


def _with_open_transactions(
    url: KafkaUrl, partitions: Collection[Partition], reader: Consumer
) -> set[Partition]:
    """Those whose committed records end before all records do."""
    everything = open_consumer(url, reading=Reading(committed_only=False))
    try:
        written = everything.ends(partitions)
    finally:
        everything.close()
    committed = reader.ends(partitions)  # after it: what others write meanwhile is not taken for open
    return {partition for partition in partitions if committed[partition] < written[partition]}


def _abort_in(producer: Producer, partitions: Collection[Partition]) -> None:
    producer.begin()
    for topic, number in sorted(partitions):
        producer.send(topic, None, _KEY, number)
    producer.flush(_FLUSH_S)  # an abort drops what has not been sent
    producer.abort()
