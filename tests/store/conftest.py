"""What tests of stores on a cluster share."""

from collections.abc import Iterator

import pytest
from cluster_stores import Opener, opening

from streamrec.testing.redis_cluster import RedisCluster


@pytest.fixture
def open_cluster(redis_cluster: RedisCluster) -> Iterator[Opener]:
    """Opens stores on the cluster, and closes them."""
    with opening(redis_cluster) as make:
        yield make
