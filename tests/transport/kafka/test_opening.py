"""What is said where no broker answers, over both libraries."""

import re
import socket
import time

import pytest

from streamrec.errors import BrokerError, BrokerUnavailable
from streamrec.services.port import free_port
from streamrec.transport.kafka import open_admin, open_consumer, open_producer
from streamrec.transport.kafka.faults import no_connection
from streamrec.transport.kafka.kafka_python import connect as python_connect
from streamrec.transport.kafka.librdkafka import connect as librdkafka_connect

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]


@pytest.fixture
def _soon(monkeypatch):
    """Give up sooner than in life."""
    for module in (python_connect, librdkafka_connect):
        monkeypatch.setattr(module, "CONNECT_S", 1.0)


@pytest.fixture
def mute():
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def refused(url, opened=open_consumer):
    start = time.monotonic()
    with pytest.raises(BrokerError) as raised:
        opened(url)
    assert time.monotonic() - start < 8.0
    text = str(raised.value)
    assert text.startswith("kafka://")
    assert "\n" not in text
    return type(raised.value), text


@pytest.mark.parametrize("opened", [open_consumer, open_producer, open_admin])
@pytest.mark.usefixtures("_soon")
def test_nobody_listens(client, opened):
    kind, text = refused(f"kafka://127.0.0.1:{free_port()}/topic", opened)
    assert kind is BrokerUnavailable
    assert "Connection refused" in text or "ECONNREFUSED" in text


@pytest.mark.usefixtures("_soon")
def test_an_unknown_host(client):
    kind, text = refused("kafka://no-such-host.invalid:9092")
    assert kind is BrokerUnavailable
    assert "no-such-host" in text
    assert "resol" in text.lower()


@pytest.mark.usefixtures("_soon")
def test_something_else_listens(client, mute):
    kind, _ = refused(f"kafka://127.0.0.1:{mute}")
    assert kind is BrokerUnavailable


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("SSL handshake failed: Disconnected", "TLS failed"),
        ("[Error 58] SaslAuthenticationFailedError: no", "the login was refused"),
        ("socket disconnected", "hangs up: .* check user, password, sasl= and tls="),
        ("111 ECONNREFUSED", "does not answer: 111 ECONNREFUSED: is the broker running"),
    ],
)
def test_what_a_failed_connection_means(reason, message):
    error = no_connection("kafka://h:1", reason)
    assert isinstance(error, BrokerError)
    assert re.match(f"kafka://h:1:? {message}", str(error))


@pytest.mark.usefixtures("_soon")
def test_tls_where_there_is_none(client, kafka):
    kind, text = refused(f"kafka://{kafka}?tls=1")
    assert issubclass(kind, BrokerError)
    assert "TLS failed" in text


@pytest.mark.usefixtures("_soon")
def test_a_login_where_none_is_taken(client, kafka):
    kind, text = refused(f"kafka://ann:s3cret@{kafka}?sasl=PLAIN")
    assert issubclass(kind, BrokerError)
    assert "SASL" in text.upper()
    assert "s3cret" not in text
