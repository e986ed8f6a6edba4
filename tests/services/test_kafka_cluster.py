"""The local Kafka: real brokers, killed and started again."""

import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from requirement import unavailable

from streamrec.errors import ServiceError, UsageError
from streamrec.services.class_archive import has_archive
from streamrec.services.java import cached_jars
from streamrec.services.kafka import KafkaCluster
from streamrec.services.port import HOST, free_port, is_free
from streamrec.testing.kafka_broker import kafka_missing, private_kafka
from streamrec.testing.redis_server import wait_until

pytestmark = pytest.mark.integration


def create(bootstrap: str, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=-1)])
    admin.close()


def write(bootstrap: str, topic: str, *values: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    for sent in [producer.send(topic, value) for value in values]:
        sent.get(30)
    producer.close()


def read(bootstrap: str, topic: str, n: int) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, 0)])
    try:
        return [next(consumer).value for _ in range(n)]
    finally:
        consumer.close()


@pytest.fixture(scope="module")
def _of_the_module() -> Iterator[KafkaCluster]:
    if reason := kafka_missing():
        unavailable(reason)
    with private_kafka() as cluster:
        yield cluster


@pytest.fixture
def cluster(_of_the_module: KafkaCluster) -> KafkaCluster:
    """One broker, up; what a test does to it, the next one mends by a start."""
    _of_the_module.start()
    return _of_the_module


@pytest.fixture
def stopped(_of_the_module: KafkaCluster) -> KafkaCluster:
    _of_the_module.stop()
    return _of_the_module


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A name that no other test has, not of another run either: STREAMREC_KAFKA's broker may know that."""
    return f"{request.node.name}-{uuid.uuid4().hex[:8]}"


def test_the_shared_one_answers(kafka: str, topic: str) -> None:
    create(kafka, topic)
    write(kafka, topic, b"1", b"2")
    assert read(kafka, topic, 2) == [b"1", b"2"]


@pytest.mark.slow
def test_killed_and_started_again_it_has_its_data(cluster: KafkaCluster, topic: str) -> None:
    bootstrap = cluster.bootstrap
    create(bootstrap, topic)
    for run in (b"1", b"2"):
        write(bootstrap, topic, run)
        cluster.kill()
        assert cluster.pids() == [None]
        assert not cluster.is_up()
        assert cluster.start()
        assert cluster.bootstrap == bootstrap
    assert read(bootstrap, topic, 2) == [b"1", b"2"]


def test_whoever_knows_the_directory_has_the_same_one(cluster: KafkaCluster, tmp_path: Path) -> None:
    again = KafkaCluster(cluster.directory)
    assert not again.start()
    assert again.is_up()
    assert (again.pids(), again.url) == (cluster.pids(), cluster.url)
    assert again.url == f"kafka://{again.bootstrap}"
    with pytest.raises(UsageError, match=r"has 1 broker\(s\), asked for 3"):
        KafkaCluster(cluster.directory, n_brokers=3)
    port = free_port()
    with pytest.raises(
        UsageError, match=rf"^Kafka runs at {again.bootstrap}, not at port {port}: stop it first"
    ):
        KafkaCluster(cluster.directory, port=port).start()


def test_it_is_stopped_cleanly_by_another_process_and_goes_on_elsewhere(
    cluster: KafkaCluster, topic: str
) -> None:
    create(cluster.bootstrap, topic)
    write(cluster.bootstrap, topic, b"1")
    code = "import sys; from streamrec.services.kafka import KafkaCluster as K; print(K(sys.argv[1]).stop())"
    run = [sys.executable, "-c", code, str(cluster.directory)]
    assert subprocess.run(run, check=True, capture_output=True, text=True).stdout == "True\n"
    assert cluster.pids() == [None]
    jars = cached_jars()
    assert jars is not None
    assert has_archive(jars)  # made by this broker, if by none before
    assert "BrokerServer id=1] shut down completed" in log(cluster).read_text()
    assert not cluster.stop()
    port = free_port()
    moved = KafkaCluster(cluster.directory, port=port)
    assert moved.start()
    assert moved.bootstrap == cluster.bootstrap == f"{HOST}:{port}"
    assert read(moved.bootstrap, topic, 1) == [b"1"]


def log(cluster: KafkaCluster) -> Path:
    return cluster.directory / "broker-1" / "broker-1.log"


def test_only_loopback_is_listened_to(cluster: KafkaCluster) -> None:
    for port in (cluster.nodes[0].port, cluster.nodes[0].controller_port):
        assert not is_free(port)
        with socket.socket() as other:
            other.bind(("127.0.0.2", port))  # fails where somebody listens on all addresses


def test_a_taken_port_is_told_before_anything_is_started(stopped: KafkaCluster) -> None:
    node = stopped.nodes[0]
    with (
        socket.create_server((HOST, node.port)),
        pytest.raises(
            ServiceError, match=rf"^Kafka broker 1: port {node.port} of 127.0.0.1 is taken by another"
        ),
    ):
        stopped.start()
    assert stopped.pids() == [None]
    with socket.create_server((HOST, node.controller_port)):
        assert stopped.start()  # nobody knows the controllers' port: it takes another
    assert stopped.nodes[0].controller_port != node.controller_port


def test_a_failed_start_names_the_log_and_its_last_error(stopped: KafkaCluster) -> None:
    properties = stopped.directory / "broker-1" / "data" / "meta.properties"
    good = properties.read_text()
    properties.write_text(good.replace("node.id=1", "node.id=7"))
    with pytest.raises(ServiceError) as caught:
        stopped.start()
    said = str(caught.value)
    assert said.startswith(
        f"broker-1 in {stopped.directory / 'broker-1'} ended instead of starting: see {log(stopped)}"
    )
    assert "node id 7" in said.rpartition("which says")[2]
    assert "\n" not in said
    assert stopped.pids() == [None]
    properties.write_text(good)


def test_one_that_is_not_ready_in_time_is_not_left_behind(
    stopped: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamrec.services.kafka._START_S", 0.0)
    with pytest.raises(ServiceError, match=r"is not ready after 0 s: "):
        stopped.start()
    assert stopped.pids() == [None]


def test_a_formatting_that_was_interrupted_is_done_again(
    tmp_path: Path, stopped: KafkaCluster, topic: str
) -> None:
    other = tmp_path / "with spaces \\ and é"
    half = other / "broker-1" / "data.new"
    half.mkdir(parents=True)
    (half / "bootstrap.checkpoint").write_text("half")
    cluster = KafkaCluster(other)
    try:
        assert cluster.start()
        create(cluster.bootstrap, topic)
        assert cluster.directory != stopped.directory
    finally:
        assert cluster.purge()
    assert not other.exists()
    assert not cluster.purge()


def test_purged_it_starts_empty_and_leaves_alone_what_is_not_its_own(
    cluster: KafkaCluster, topic: str
) -> None:
    mine = cluster.directory / "notes.txt"
    mine.write_text("")
    create(cluster.bootstrap, topic)
    assert cluster.purge()
    assert list(cluster.directory.iterdir()) == [mine]
    assert cluster.start()
    create(cluster.bootstrap, topic)


def test_a_damaged_cluster_file(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text("{")
    with pytest.raises(ServiceError, match=r"cluster\.json cannot be read .*: remove "):
        KafkaCluster(tmp_path)


@pytest.mark.slow
def test_the_broker_of_a_killed_test_run_is_gone(stopped: KafkaCluster) -> None:
    code = """
import os, signal
from streamrec.testing.kafka_broker import private_kafka
with private_kafka() as cluster:
    print(cluster.directory, cluster.nodes[0].port, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.PIPE, text=True)
    directory, port = done.stdout.split()
    assert wait_until(lambda: is_free(int(port)))
    assert wait_until(lambda: not Path(directory).exists())


def test_other_numbers_of_brokers(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has 1 or 3 brokers here, got 2"):
        KafkaCluster(tmp_path, n_brokers=2)


@pytest.fixture
def three(stopped: KafkaCluster) -> Iterator[KafkaCluster]:
    with private_kafka(3) as cluster:
        yield cluster


@pytest.mark.slow
def test_three_of_which_one_was_killed_take_a_write(three: KafkaCluster, topic: str) -> None:
    create(three.bootstrap, topic)
    for index in range(2):
        write(three.bootstrap, topic, b"before %d" % index)
        three.kill(index)
        assert [pid is None for pid in three.pids()] == [each == index for each in range(3)]
        write(three.bootstrap, topic, b"without %d" % index)
        assert three.start()
        assert three.is_up()
    wanted = [word % index for index in range(2) for word in (b"before %d", b"without %d")]
    assert read(three.bootstrap, topic, 4) == wanted
    assert three.stop()
    assert three.start()
    assert read(three.bootstrap, topic, 4) == wanted
