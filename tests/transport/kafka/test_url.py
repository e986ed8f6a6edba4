"""Kafka URLs; no broker needed."""

import pytest

from streamrec.errors import UsageError
from streamrec.transport.kafka import KafkaUrl, parse_url
from streamrec.transport.kafka.open import library
from streamrec.transport.kafka.url import Security


@pytest.fixture
def files(tmp_path):
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text("x")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "servers", "topics"),
    [
        ("kafka://h:1", ("h:1",), ()),
        ("kafka://h", ("h:9092",), ()),
        ("kafka://h:1/", ("h:1",), ()),
        ("kafka://h:1/a", ("h:1",), ("a",)),
        ("kafka://h:1,g:2,f/a,b.c-d_E", ("h:1", "g:2", "f:9092"), ("a", "b.c-d_E")),
        ("kafka://[::1]:9094/a", ("[::1]:9094",), ("a",)),
    ],
)
def test_places_and_topics(text, servers, topics):
    assert parse_url(text, {}) == KafkaUrl(servers, topics)


def test_login_and_tls(files):
    url = parse_url(
        f"kafka://ann%40x:p%3Aw%2F@h:1/a?tls=1&ca={files}/ca&cert={files}/cert&key={files}/key&sasl=scram-sha-256",
        {},
    )
    assert url.security == Security(
        True, f"{files}/ca", f"{files}/cert", f"{files}/key", "SCRAM-SHA-256", "ann@x", "p:w/"
    )
    assert url.security.protocol == "SASL_SSL"
    assert url.shown == "kafka://ann@x@h:1/a"


def test_the_environment_completes_the_url(files):
    environ = {
        "STREAMREC_KAFKA_USER": "ann",
        "STREAMREC_KAFKA_PASSWORD": "secret",
        "STREAMREC_KAFKA_CA": f"{files}/ca",
        "STREAMREC_KAFKA_SASL": "PLAIN",
    }
    assert parse_url("kafka://h:1/a", environ).security == Security(
        tls=True, ca=f"{files}/ca", sasl="PLAIN", user="ann", password="secret"
    )
    bob = parse_url("kafka://bob@h:1/a?sasl=SCRAM-SHA-512", environ).security
    assert (bob.user, bob.password, bob.sasl) == ("bob", "secret", "SCRAM-SHA-512")


@pytest.mark.parametrize(
    ("query", "protocol"),
    [("", "PLAINTEXT"), ("?tls=1", "SSL"), ("?tls=no", "PLAINTEXT"), ("?tls=TRUE", "SSL")],
)
def test_protocols(query, protocol):
    assert parse_url(f"kafka://h:1{query}", {}).security.protocol == protocol
    login = parse_url(f"kafka://u:p@h:1{query}", {}).security
    assert login.protocol == f"SASL_{protocol}"
    assert login.sasl == "SCRAM-SHA-512"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("redis://h:1/a", "expected kafka://host:port/topic"),
        ("h:1/a", "expected kafka://host:port/topic"),
        ("kafka://", "'' is no host:port"),
        ("kafka://h:1,/a", "'' is no host:port"),
        ("kafka://h:x/a", "port 'x': expected a number from 1 to 65535"),
        ("kafka://h:0/a", "port '0'"),
        ("kafka://h:65536/a", "port '65536'"),
        ("kafka://h:/a", "port ''"),
        ("kafka://h:1/a,,b", "'' is no topic name"),
        ("kafka://h:1/a b", "'a b' is no topic name"),
        ("kafka://h:1/..", "'..' is no topic name"),
        (f"kafka://h:1/{'a' * 250}", "is no topic name: expected at most 249"),
        ("kafka://h:1/a/b", "'a/b' is no topic name"),
        ("kafka://h:1/a,a", "a topic is named twice"),
        ("kafka://h:1/a?tsl=1", "unknown setting 'tsl': expected .*; did you mean 'tls'\\?"),
        ("kafka://h:1/a?tls=maybe", "tls='maybe': expected 1 or 0"),
        ("kafka://h:1/a?ca=/nowhere", "ca=/nowhere: there is no such file"),
        ("kafka://u:pw@h:1/a?sasl=SCRAM-SHA512", "sasl='SCRAM-SHA512': .*; did you mean 'SCRAM-SHA-512'\\?"),
        ("kafka://u@h:1/a", "a login needs user and password"),
        ("kafka://h:1/a?sasl=PLAIN", "a login needs user and password"),
    ],
)
def test_mistakes(text, message):
    with pytest.raises(UsageError, match=message):
        parse_url(text, {})


def test_mistakes_with_files(files):
    with pytest.raises(UsageError, match="needs both cert=FILE and key=FILE"):
        parse_url(f"kafka://h:1/a?cert={files}/cert", {})
    with pytest.raises(UsageError, match="tls=0 contradicts ca="):
        parse_url(f"kafka://h:1/a?tls=0&ca={files}/ca", {})


@pytest.mark.parametrize(
    "text",
    [
        "kafka://ann:s3cret@h:x/a",
        "kafka://ann:s3cr@et@h:1/a?tsl=1",
        "kafka://ann:s3/cret@h:1/a",
        "kafka://ann:s3?cret@h:1/a",
    ],
)
def test_no_message_has_the_password(text):
    with pytest.raises(UsageError) as raised:
        parse_url(text, {})
    for part in ("s3", "cret", "et@"):
        assert part not in str(raised.value)


def test_how_many_topics():
    assert parse_url("kafka://h:1/a,b", {}).some_topics() == ("a", "b")
    assert parse_url("kafka://h:1/a", {}).one_topic() == "a"
    with pytest.raises(UsageError, match=r"kafka://h:1: no topic: expected kafka://host:port/topic"):
        parse_url("kafka://h:1", {}).some_topics()
    with pytest.raises(UsageError, match="no topic"):
        parse_url("kafka://h:1", {}).one_topic()
    with pytest.raises(UsageError, match="2 topics, where one is expected"):
        parse_url("kafka://h:1/a,b", {}).one_topic()


def test_the_library_can_be_chosen(monkeypatch):
    monkeypatch.delenv("STREAMREC_KAFKA_CLIENT", raising=False)
    monkeypatch.setattr("streamrec.transport.kafka.open.find_spec", lambda name: name == "kafka" or None)
    assert library() == "python"
    monkeypatch.setattr("streamrec.transport.kafka.open.find_spec", lambda name: True)
    assert library() == "librdkafka"
    monkeypatch.setenv("STREAMREC_KAFKA_CLIENT", "python")
    assert library() == "python"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pyton", "expected librdkafka or python; did you mean 'python'\\?"),
        ("librdkafka", r"it is not installed: pip install 'streamrec\[fast\]'"),
    ],
)
def test_a_library_that_is_not_there(monkeypatch, name, message):
    monkeypatch.setenv("STREAMREC_KAFKA_CLIENT", name)
    monkeypatch.setattr("streamrec.transport.kafka.open.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=message):
        library()
