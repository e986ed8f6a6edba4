"""Opening librdkafka's objects: settings from a URL, a clear error within a bounded time, quiet logs."""

import logging
import time
from collections.abc import Callable, Collection
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from streamrec.errors import StreamrecError, TopicMissing
from streamrec.transport.kafka.faults import no_connection
from streamrec.transport.kafka.librdkafka.faults import clear
from streamrec.transport.kafka.settings import CONNECT_S
from streamrec.transport.kafka.url import KafkaUrl

__all__ = ["Link"]

_LOG = logging.getLogger("streamrec.transport.kafka")
#: A broker that restarts is back after seconds; asking it twice a second costs nothing.
_RECONNECT_MS = 500
#: What the first answer is waited for at a time, to look at faults in between.
_STEP_S = 0.5
#: Whether brokers answer is tried for so long, and not more often than once a second.
_TRY_S = 0.2
_TRY_AGAIN_S = 1.0
#: Waiting does not mend these.
_FINAL = (KafkaError._AUTHENTICATION, KafkaError._SSL)


class _Quiet:
    """Takes what the library logs as our own debug messages."""

    def log(self, _: int, text: str, *arguments: object) -> None:
        """As a logger's."""
        _LOG.debug("librdkafka: " + text, *arguments)


class Link:
    """Connects one object of the library to a cluster, and hears how its connections are.

    url: the cluster.
    answer_s: one question to a broker.
    """

    def __init__(self, url: KafkaUrl, answer_s: float) -> None:
        self.url = url
        self.last_failure = ""  # why a connection failed, the last time that one did
        self._answer_s = answer_s
        self._library: Any = None
        self._failed_s: float | None = None  # since when connections fail; None: not that we know
        self._tried_s = float("-inf")
        self._final: KafkaError | None = None

    def open(self, kind: Callable[..., Any], settings: dict[str, Any] | None = None) -> Any:
        """A consumer, producer or admin client, connected.

        Raises:
            BrokerUnavailable: no broker has answered in time.
            BrokerError: a broker refused the login.

        """
        common = {
            "bootstrap.servers": ",".join(self.url.servers),
            "client.id": "streamrec",
            "reconnect.backoff.max.ms": _RECONNECT_MS,
            "error_cb": self._heard,
            "socket.timeout.ms": int(self._answer_s * 1000),
            **_security(self.url),
        }
        try:
            self._library = kind(common | (settings or {}), logger=_Quiet())
            self._await_answer()
        except KafkaException as fault:
            raise clear(fault, self.url.shown) from None
        return self._library

    def _await_answer(self) -> None:
        deadline_s = time.monotonic() + CONNECT_S
        while not self._answers(_STEP_S):
            self._library.poll(0)  # brings what `_heard` is to hear
            if self._final is not None or time.monotonic() > deadline_s:
                self._free()
                raise self._why()

    def _why(self) -> StreamrecError:
        if self._final is not None:
            return clear(self._final, self.url.shown)
        return no_connection(self.url.shown, self.last_failure or "no answer")

    def _free(self) -> None:
        if hasattr(self._library, "close"):
            self._library.close()

    def _answers(self, timeout_s: float) -> bool:
        try:
            self._library.list_topics(timeout=timeout_s)
        except KafkaException:
            return False
        return True

    def _heard(self, fault: KafkaError) -> None:
        """The library's report of a fault of any connection."""
        _LOG.debug("librdkafka: %s", fault)
        if fault.code() in _FINAL:
            self._final = fault
        if fault.code() != KafkaError._ALL_BROKERS_DOWN:
            self.last_failure = fault.str()
        if self._failed_s is None:
            self._failed_s = time.monotonic()

    def hear_answer(self) -> None:
        """A broker has answered."""
        self._failed_s = None

    def silent_s(self, limit_s: float) -> float:
        """For how long brokers have been silent, 0 where it is less than the limit."""
        now = time.monotonic()
        if self._failed_s is None or now - self._failed_s < limit_s:
            return 0.0
        if now - self._tried_s > _TRY_AGAIN_S:
            if self._answers(_TRY_S):
                self._failed_s = None
                return 0.0
            self._tried_s = now
        return now - self._failed_s

    def count_partitions(self, topics: Collection[str]) -> dict[str, int]:
        """How many partitions each topic has.

        Raises:
            TopicMissing: a topic does not exist.

        """
        try:
            found = self._library.list_topics(timeout=self._answer_s).topics
        except KafkaException as fault:
            raise clear(fault, self.url.shown) from None
        if missing := sorted(set(topics) - set(found)):
            raise TopicMissing(f"{self.url.shown}: there is no topic {', '.join(missing)}")
        for topic in topics:
            if found[topic].error is not None:
                raise clear(found[topic].error, f"{self.url.shown}: topic {topic}")
        return {topic: len(found[topic].partitions) for topic in topics}


def _security(url: KafkaUrl) -> dict[str, Any]:
    """The library's settings for TLS and login."""
    security = url.security
    settings: dict[str, Any] = {
        "security.protocol": security.protocol,
        "ssl.ca.location": security.ca,
        "ssl.certificate.location": security.cert,
        "ssl.key.location": security.key,
        "sasl.mechanisms": security.sasl,
        "sasl.username": security.user,
        "sasl.password": security.password,
    }
    return {name: value for name, value in settings.items() if value is not None}
