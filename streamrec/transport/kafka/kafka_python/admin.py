"""Making topics over kafka-python."""

from collections.abc import Mapping
from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.errors import TopicAlreadyExistsError, UnknownTopicOrPartitionError

from streamrec.errors import SourceError
from streamrec.transport.kafka.kafka_python.connect import Link
from streamrec.transport.kafka.kafka_python.faults import clear
from streamrec.transport.kafka.settings import Writing
from streamrec.transport.kafka.url import KafkaUrl, check_topic

__all__ = ["PythonAdmin"]


class PythonAdmin:
    """See `streamrec.transport.kafka.client.Admin`."""

    def __init__(self, url: KafkaUrl) -> None:
        self._url = url
        self._link = Link(url, Writing().answer_s)
        self._library: Any = self._link.open(KafkaAdminClient)

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
        topic = {
            "num_partitions": partitions,
            "replication_factor": -1 if replication is None else replication,
            "configs": dict(config or {}),
        }
        try:
            self._library.create_topics({name: topic}, wait_for_metadata=True)
        except TopicAlreadyExistsError:  # somebody else was faster
            self._library.wait_for_topics([name])
        except Exception as fault:
            raise clear(fault, f"{self._url.shown}: topic {name}") from None
        return self._link.count_partitions([name])[name]

    def partitions(self, name: str) -> int:
        """How many it has."""
        check_topic(name, self._url.shown)
        return self._link.count_partitions([name])[name]

    def delete_topic(self, name: str) -> None:
        """Remove it."""
        try:
            self._library.delete_topics([name])
        except UnknownTopicOrPartitionError:
            return
        except Exception as fault:
            raise clear(fault, f"{self._url.shown}: topic {name}") from None

    def close(self) -> None:
        """Free everything."""
        self._library.close()
