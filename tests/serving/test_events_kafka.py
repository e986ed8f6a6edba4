"""`POST /v1/events` over a real broker, which dies and comes back."""

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from serving_fakes import FakeStore

from streamrec.services.kafka import KafkaCluster
from streamrec.serving.service import BackgroundService
from streamrec.testing.redis_server import wait_until
from streamrec.transport import open_sink
from streamrec.transport.kafka import Partition, Record, open_admin, open_consumer

pytestmark = pytest.mark.integration

#: Longer than a request may wait: for the answer of those before it, then for its own.
PATIENCE_S = 20
CLIENTS = {"python": "kafka", "librdkafka": "confluent_kafka"}


@pytest.fixture(params=CLIENTS)
def _client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(CLIENTS[request.param])
    monkeypatch.setenv("STREAMREC_KAFKA_CLIENT", request.param)


@pytest.fixture
def service(kafka_broker: KafkaCluster, _client: None) -> Iterator[BackgroundService]:
    admin = open_admin(kafka_broker.url)
    admin.ensure_topic("events", 3)
    admin.close()
    with BackgroundService(
        FakeStore(),
        "m",
        open_events=open_sink(f"{kafka_broker.url}/events"),  # type: ignore[arg-type]
    ) as service:
        yield service


def post(service: BackgroundService, events: list[dict[str, Any]]) -> tuple[int, dict[str, Any], str | None]:
    """Status, answer, and when to come again."""
    connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=PATIENCE_S)
    connection.request("POST", "/v1/events", json.dumps(events), {"content-type": "application/json"})
    answer = connection.getresponse()
    told = json.load(answer)
    connection.close()
    return answer.status, told, answer.getheader("retry-after")


def pair(i: int) -> list[dict[str, Any]]:
    shown = {"type": "impression", "id": f"i{i}", "time": i, "user": "u", "item": "m", "features": {}}
    return [shown, {"type": "click", "id": f"c{i}", "time": i, "impression": f"i{i}"}]


def sent(url: str, n: int) -> list[Record]:
    """The first n records of the topic, and any that follow soon."""
    consumer = open_consumer(url)
    consumer.assign({Partition("events", number): 0 for number in range(3)})
    found: list[Record] = []
    assert wait_until(lambda: found.extend(consumer.records(0.2, 1000)) or len(found) >= n, 30)
    found += consumer.records(0.5, 1000)
    consumer.close()
    return found


@pytest.mark.slow
def test_events_arrive_and_a_dead_broker_is_told(
    service: BackgroundService, kafka_broker: KafkaCluster
) -> None:
    for i in range(50):
        assert post(service, [*pair(i), {"type": "clik"}])[0] == 207
    before = sent(kafka_broker.url, 100)
    assert len(before) == 100
    kafka_broker.kill()
    for i in range(50, 53):
        status, told, again = post(service, pair(i))
        assert (status, told["title"], again) == (503, "Service Unavailable", "1")
        assert kafka_broker.url in told["detail"]
    kafka_broker.start()
    assert wait_until(lambda: post(service, pair(60))[0] == 200, 60)
    for i in range(70, 90):
        assert post(service, pair(i))[0] == 200
    after = sent(kafka_broker.url, 100 + 2 + 40)
    ids = [json.loads(record.value or b"")["id"] for record in after]
    assert len(set(ids)) == len(ids)
    acknowledged = {f"{kind}{i}" for kind in "ic" for i in (*range(50), 60, *range(70, 90))}
    # the one that got no answer in time may be there, those that were refused are not
    assert acknowledged <= set(ids) <= acknowledged | {"i50", "c50"}
    for shown, clicked in ((f"i{i}", f"c{i}") for i in (*range(50), 60, *range(70, 90))):
        first, second = after[ids.index(shown)], after[ids.index(clicked)]
        assert (first.partition, first.offset < second.offset) == (second.partition, True)
        assert first.key == second.key == shown.encode()


def test_a_topic_that_is_not_there_is_told(kafka: str) -> None:
    store: Any = FakeStore()
    with BackgroundService(store, "m", open_events=open_sink(f"kafka://{kafka}/not.there")) as service:
        status, told, _ = post(service, pair(1))
    assert (status, "there is no topic not.there" in told["detail"]) == (503, True)
