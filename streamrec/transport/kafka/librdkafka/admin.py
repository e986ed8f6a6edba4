"""Making topics over librdkafka."""

import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from streamrec.errors import BrokerUnavailable, SourceError
from streamrec.transport.kafka.librdkafka.connect import Link
from streamrec.transport.kafka.librdkafka.faults import clear
from streamrec.transport.kafka.settings import Writing
from streamrec.transport.kafka.url import KafkaUrl, check_topic

__all__ = ["LibrdkafkaAdmin"]

_LOOK_S = 0.02


class LibrdkafkaAdmin:
    """See `streamrec.transport.kafka.client.Admin`."""

    def __init__(self, url: KafkaUrl) -> None:
        self._url = url
        self._answer_s = Writing().answer_s
        self._link = Link(url, self._answer_s)
        self._library: Any = self._link.open(AdminClient)

    def ensure_topic(
        self,
        name: str,
        partitions: int,
        *,
        config: Mapping[str, str] | None = None,
        replication: int | None = None,
    ) -> int:
        """Make it unless it is there."""
        check_topic(name, self._url.shown)
        try:
            return self._link.count_partitions([name])[name]
        except SourceError:
            pass
        copies = -1 if replication is None else replication
        topic = NewTopic(
            name, num_partitions=partitions, replication_factor=copies, config=dict(config or {})
        )
        try:
            self._library.create_topics([topic])[name].result(self._answer_s)
        except KafkaException as fault:
            if fault.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # somebody else was faster
                raise clear(fault, f"{self._url.shown}: topic {name}") from None
        return self._await_topic(name)

    def _await_topic(self, name: str) -> int:
        """Brokers hear of a new topic one after another."""
        deadline_s = time.monotonic() + self._answer_s
        while time.monotonic() < deadline_s:
            found = self._library.list_topics(timeout=self._answer_s).topics.get(name)
            if found is not None and found.error is None and found.partitions:
                n_led = sum(each.leader >= 0 for each in found.partitions.values())
                if n_led == len(found.partitions):
                    return n_led
            time.sleep(_LOOK_S)
        raise BrokerUnavailable(f"{self._url.shown}: topic {name} was made, but has no leader yet")

    def partitions(self, name: str) -> int:
        """How many it has."""
        check_topic(name, self._url.shown)
        return self._link.count_partitions([name])[name]

    def delete_topic(self, name: str) -> None:
        """Remove it."""
        try:
            self._library.delete_topics([name])[name].result(self._answer_s)
        except KafkaException as fault:
            if fault.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise clear(fault, f"{self._url.shown}: topic {name}") from None

    def close(self) -> None:
        """Nothing is held that needs it."""
