"""Opening clients: librdkafka where it is installed (the extra `fast`), kafka-python else."""

import difflib
import os
from importlib.util import find_spec

from streamrec.errors import UsageError
from streamrec.transport.kafka.client import Admin, Consumer, Producer
from streamrec.transport.kafka.settings import Reading, Writing
from streamrec.transport.kafka.url import KafkaUrl, parse_url

__all__ = ["LIBRARIES", "library", "open_admin", "open_consumer", "open_producer"]

#: What STREAMREC_KAFKA_CLIENT may say → the package that it needs.
LIBRARIES = {"librdkafka": "confluent_kafka", "python": "kafka"}
_VARIABLE = "STREAMREC_KAFKA_CLIENT"


def library() -> str:
    """Which library is used: the one STREAMREC_KAFKA_CLIENT names, else the faster one that is installed.

    Raises:
        UsageError: the variable names no library, or one that is not installed.

    """
    wanted = os.environ.get(_VARIABLE, "")
    if not wanted:
        return "librdkafka" if find_spec(LIBRARIES["librdkafka"]) else "python"
    if wanted not in LIBRARIES:
        near = difflib.get_close_matches(wanted, LIBRARIES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"{_VARIABLE}={wanted!r}: expected {' or '.join(sorted(LIBRARIES))}{hint}")
    if find_spec(LIBRARIES[wanted]) is None:
        raise UsageError(f"{_VARIABLE}={wanted}: it is not installed: pip install 'streamrec[fast]'")
    return wanted


def open_consumer(
    url: str | KafkaUrl,
    *,
    group: str | None = None,
    reading: Reading = Reading(),  # noqa: B008  (immutable)
) -> Consumer:
    """A consumer, connected; topics of the URL are not looked at.

    group: whose offsets `commit` writes, and which `subscribe` joins.

    Raises:
        UsageError: the URL is wrong.
        BrokerUnavailable: no broker answered in time.
        BrokerError: the login was refused.

    """
    place = _place(url)
    if library() == "librdkafka":
        from streamrec.transport.kafka.librdkafka.consumer import LibrdkafkaConsumer

        return LibrdkafkaConsumer(place, group, reading)
    from streamrec.transport.kafka.kafka_python.consumer import PythonConsumer

    return PythonConsumer(place, group, reading)


def open_producer(
    url: str | KafkaUrl,
    *,
    transactional_id: str | None = None,
    writing: Writing = Writing(),  # noqa: B008  (immutable)
) -> Producer:
    """A producer, connected.

    transactional_id: for transactions; older producers of this name are superseded, and what they left open
        is aborted (or completed, where its commit had begun) before this returns.

    Raises: as `open_consumer`.
    """
    place = _place(url)
    if library() == "librdkafka":
        from streamrec.transport.kafka.librdkafka.producer import LibrdkafkaProducer

        return LibrdkafkaProducer(place, transactional_id, writing)
    from streamrec.transport.kafka.kafka_python.producer import PythonProducer

    return PythonProducer(place, transactional_id, writing)


def open_admin(url: str | KafkaUrl) -> Admin:
    """What makes and removes topics, connected. Raises as `open_consumer`."""
    place = _place(url)
    if library() == "librdkafka":
        from streamrec.transport.kafka.librdkafka.admin import LibrdkafkaAdmin

        return LibrdkafkaAdmin(place)
    from streamrec.transport.kafka.kafka_python.admin import PythonAdmin

    return PythonAdmin(place)


def _place(url: str | KafkaUrl) -> KafkaUrl:
    return parse_url(url) if isinstance(url, str) else url
