"""Opening kafka-python's objects: settings from a URL, a clear error within a bounded time, quiet loggers."""

import logging
import time
from collections.abc import Callable, Collection
from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaConnectionError
from kafka.net.compat import KafkaNetClient

from streamrec.errors import TopicMissing
from streamrec.transport.kafka.faults import no_connection
from streamrec.transport.kafka.kafka_python.faults import clear
from streamrec.transport.kafka.settings import CONNECT_S
from streamrec.transport.kafka.url import KafkaUrl

__all__ = ["Link"]

_LOG = logging.getLogger("streamrec.transport.kafka")
#: A broker that restarts is back after seconds; asking it twice a second costs nothing.
_RECONNECT_MS = 500
#: It is asked again at once.
_NOT_READY_S = 0.02
#: Kafka's code for a topic that does not exist.
_UNKNOWN_TOPIC = 3


class _Quiet(logging.Handler):
    """Turns what the library logs into our own debug messages and remembers why connections failed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last_failure = ""
        self.refusal = ""  # the last one that told of TLS or the login; those that follow say less

    def emit(self, record: logging.LogRecord) -> None:
        """Pass it on, without the exception, which keeps a socket from being closed."""
        text = record.getMessage()
        record.msg, record.args, record.exc_info = text, None, None
        if record.name.startswith("kafka.net") and "onnection" in text and "ailed: " in text:
            self.last_failure = text.partition("ailed: ")[2].partition(" (backoff")[0]
            if "SSL" in self.last_failure or "Sasl" in self.last_failure:
                self.refusal = self.last_failure
        _LOG.debug("kafka-python: %s", text)


class _Client(KafkaNetClient):  # type: ignore[misc]
    """Connections that tell, and do not raise, that a broker is not there.

    kafka-python 3.0.12 forgets the request of a transaction for which it could not connect, and waits for its
    answer for ever; told that the broker is not ready, it tries again.
    """

    def await_ready(self, node_id: object, timeout_ms: float = 30_000) -> bool:
        """Whether the broker is connected."""
        try:
            return bool(super().await_ready(node_id, timeout_ms))
        except KafkaConnectionError:
            time.sleep(_NOT_READY_S)
            return False


def _quieten() -> _Quiet:
    """The library's loggers speak to ours only; what an application set up itself is left as it is."""
    library = logging.getLogger("kafka")
    for handler in library.handlers:
        if isinstance(handler, _Quiet):
            return handler
    quiet = _Quiet()
    silent = all(isinstance(each, logging.NullHandler) for each in library.handlers)
    if silent and library.level == logging.NOTSET:
        library.propagate = False
        library.setLevel(logging.WARNING)  # it formats much at debug
    library.addHandler(quiet)
    return quiet


class Link:
    """Connects one object of the library to a cluster, and knows its connections.

    url: the cluster.
    answer_s: one question to a broker.
    """

    def __init__(self, url: KafkaUrl, answer_s: float) -> None:
        self.url = url
        self._quiet = _quieten()
        self._client: Any = None
        self._settings: dict[str, Any] = {
            "bootstrap_servers": list(url.servers),
            "bootstrap_timeout_ms": int(CONNECT_S * 1000),
            "request_timeout_ms": int(answer_s * 1000),
            "reconnect_backoff_max_ms": _RECONNECT_MS,
            "client_id": "streamrec",
            **_security(url),
        }

    def open(self, kind: Callable[..., Any], **settings: Any) -> Any:
        """A consumer, producer or admin client, connected.

        Raises:
            BrokerUnavailable: no broker has answered in time.
            BrokerError: a broker refused the login.

        """
        self._quiet.last_failure = self._quiet.refusal = ""
        try:
            return kind(**self._settings, **settings, kafka_client=self._connect)
        except Exception as fault:
            self.close()
            if self._quiet.last_failure and "bootstrap" in str(fault):
                reason = self._quiet.refusal or self._quiet.last_failure
                raise no_connection(self.url.shown, reason) from None
            raise clear(fault, self.url.shown) from None

    def _connect(self, **configs: Any) -> Any:
        self._client = _Client(**configs)
        return self._client

    def close(self) -> None:
        """Close the connections, where the object itself could not."""
        if self._client is not None:
            self._client.close()

    @property
    def connected(self) -> bool:
        """Whether there is a connection to any broker just now."""
        client = self._client
        return any(client.connected(broker.node_id) for broker in list(client.cluster.brokers()))

    @property
    def last_failure(self) -> str:
        """Why a connection failed, the last time that one did."""
        return self._quiet.last_failure

    def wake(self) -> None:
        """Let the library's own thread look at once at what has been given to it."""
        self._client.wakeup()

    def count_partitions(self, topics: Collection[str]) -> dict[str, int]:
        """How many partitions each topic has.

        Raises:
            TopicMissing: a topic does not exist.

        """
        link = Link(self.url, self._settings["request_timeout_ms"] / 1000)
        admin = link.open(KafkaAdminClient)
        try:
            found = admin.describe_topics(list(topics))
        except Exception as fault:
            raise clear(fault, self.url.shown) from None
        finally:
            admin.close()
        counts = {topic["name"]: len(topic["partitions"]) for topic in found if not topic["error_code"]}
        for topic in found:
            if topic["error_code"] not in {0, _UNKNOWN_TOPIC}:
                raise clear(topic["error_code"], f"{self.url.shown}: topic {topic['name']}")
        if missing := sorted(set(topics) - set(counts)):
            raise TopicMissing(f"{self.url.shown}: there is no topic {', '.join(missing)}")
        return counts


def _security(url: KafkaUrl) -> dict[str, Any]:
    """The library's settings for TLS and login."""
    security = url.security
    settings: dict[str, Any] = {"security_protocol": security.protocol}
    if security.tls:
        settings |= {"ssl_cafile": security.ca, "ssl_certfile": security.cert, "ssl_keyfile": security.key}
    if security.sasl:
        settings |= {
            "sasl_mechanism": security.sasl,
            "sasl_plain_username": security.user,
            "sasl_plain_password": security.password,
        }
    return settings
