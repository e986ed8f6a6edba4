"""A Kafka for tests: the one that the environment offers, and one for a test alone, to be killed.

The second is a `streamrec.services.kafka.KafkaCluster`: `kill` is `kill -9`, `start` goes on with its data.
"""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any

from streamrec.errors import ServiceError
from streamrec.services.java import kafka_jars, require_java
from streamrec.services.kafka import KafkaCluster
from streamrec.testing.docker import docker_answers

__all__ = ["kafka_missing", "private_kafka", "reachable_kafka"]

_log = logging.getLogger(__name__)


def kafka_missing() -> str | None:
    """Why no broker can be started here; None where one can.

    Fetches the jars where they are not there yet.
    """
    try:
        require_java()
        kafka_jars(_log.warning)
    except ServiceError as error:
        return str(error)
    return None


@contextmanager
def private_kafka(n_brokers: int = 1) -> Iterator[KafkaCluster]:
    """A cluster that nobody else uses, started, in a directory that lives as long; gone with this process."""
    with TemporaryDirectory(prefix="streamrec-kafka-") as directory, _gone_with_this_process(directory):
        cluster = KafkaCluster(directory, n_brokers=n_brokers)
        try:
            cluster.start()
            yield cluster
        finally:
            _kill(cluster)


def _kill(cluster: KafkaCluster) -> None:
    """Nothing of it is kept: no reason to wait for a clean end."""
    for index, pid in enumerate(cluster.pids()):
        if pid is not None:
            cluster.kill(index)


@contextmanager
def _gone_with_this_process(directory: str) -> Iterator[None]:
    """Brokers live on when their starter dies; those of a killed test run must not."""
    watch = subprocess.Popen(
        [sys.executable, "-m", __name__, directory], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        watch.kill()
        watch.communicate()


@contextmanager
def reachable_kafka() -> Iterator[str | None]:
    """`host:port` of a Kafka: `STREAMREC_KAFKA`, else a container, else a local process, else None."""
    given = os.environ.get("STREAMREC_KAFKA")
    container = None if given else _container()
    if given:
        yield given.removeprefix("kafka://").rstrip("/")
    elif container is not None:
        try:
            yield container.get_bootstrap_server()
        finally:
            container.stop()
    elif kafka_missing() is None:
        with private_kafka() as cluster:
            yield cluster.bootstrap
    else:
        yield None


def _container() -> Any:
    """A Kafka container, started, or None where no Docker engine answers."""
    if not docker_answers():
        return None
    try:
        return import_module("testcontainers.kafka").KafkaContainer().with_kraft().start()
    except Exception:  # whatever is missing (the package, the image), the next way is tried
        return None


if __name__ == "__main__":  # the watch: standard input is a pipe from the test run, closed when that is gone
    sys.stdin.read()
    _kill(KafkaCluster(sys.argv[1]))
    shutil.rmtree(sys.argv[1], ignore_errors=True)
