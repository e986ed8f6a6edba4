"""Every test here runs over both libraries, against one real broker."""

import gc
import uuid
import warnings

import kafka
import kafka.admin
import pytest

from streamrec.transport.kafka import open_admin, open_consumer, open_producer

CLIENTS = {"python": "kafka", "librdkafka": "confluent_kafka"}


@pytest.fixture(params=sorted(CLIENTS))
def client(request, monkeypatch):
    """The library in use; `librdkafka` needs the extra `fast`."""
    pytest.importorskip(CLIENTS[request.param])
    monkeypatch.setenv("STREAMREC_KAFKA_CLIENT", request.param)
    return request.param


@pytest.fixture(autouse=True)
def _sockets_are_collected():
    """kafka-python leaves a socket that could not connect to the garbage collector, which warns."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class Cluster:
    """Opens clients and closes them at the end."""

    def __init__(self, address):
        self.url = f"kafka://{address}"
        self.name = "t" + uuid.uuid4().hex[:10]
        self._open = []

    def topic(self, n_partitions=1, **settings):
        name = f"{self.name}.{len(self._open)}"
        assert self.keep(open_admin(self.url)).ensure_topic(name, n_partitions, **settings) == n_partitions
        return name

    def consumer(self, **settings):
        return self.keep(open_consumer(self.url, **settings))

    def producer(self, **settings):
        return self.keep(open_producer(self.url, **settings))

    def truncate(self, partition, offset):
        """Delete what lies before the offset, as retention does."""
        admin = kafka.admin.KafkaAdminClient(bootstrap_servers=self.url.removeprefix("kafka://"))
        admin.delete_records({kafka.TopicPartition(*partition): offset})
        admin.close()

    def keep(self, client):
        self._open.append(client)
        return client

    def close(self, client):
        self._open.remove(client)
        client.close()

    def close_all(self):
        while self._open:
            self._open.pop().close()


@pytest.fixture
def address(kafka):
    """The broker that all tests share, unless a module has its own."""
    return kafka


@pytest.fixture
def cluster(address, client):
    """Clients of a broker."""
    made = Cluster(address)
    yield made
    made.close_all()
