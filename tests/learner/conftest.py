"""Topics of the shared broker."""

import uuid

import pytest
from topics import delete_topics, make_topic, send

from streamrec.transport.kafka import parse_url


@pytest.fixture
def topic(kafka):
    """Makes a topic of so many partitions with these records; (URL, values). Gone after the test."""
    made = []

    def make(n_partitions, records=()):
        url = f"kafka://{kafka}/t{uuid.uuid4().hex[:12]}"
        make_topic(url, n_partitions)
        name = parse_url(url).one_topic()
        made.extend((name, f"{name}.rejects"))
        return url, send(url, records)

    yield make
    delete_topics(f"kafka://{kafka}", *made)


@pytest.fixture
def store_of(redis_url):
    """Options that name a model of its own in the shared Redis."""
    return "--store", redis_url, "--name", f"m{uuid.uuid4().hex[:12]}"


@pytest.fixture
def settings(tmp_path):
    """Writes a settings file; its option."""
    from topics import SETTINGS

    def write(text=SETTINGS):
        path = tmp_path / "settings.toml"
        path.write_text(text)
        return "--config", path

    return write
