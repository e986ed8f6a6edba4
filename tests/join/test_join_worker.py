"""The join worker on a real broker: what it writes is what the joiner of the same lines gives."""

import json
import uuid

import pytest

from streamrec.clock import SystemClock
from streamrec.join.settings import JoinSettings
from streamrec.join.worker.settings import JoinWorkerSettings
from streamrec.join.worker.worker import JoinPlan, JoinWorker
from streamrec.transport.kafka import open_admin, open_consumer, open_producer, parse_url

pytestmark = pytest.mark.integration


def events(n):
    for i in range(n):
        time = 1_700_000_000_000 + 10 * i
        features = {"g": [f"g{i % 3}", f"g{i % 5}"], "x": i % 7}
        yield (
            f"i{i}",
            {
                "type": "impression",
                "id": f"i{i}",
                "time": time,
                "user": f"u{i % 17}",
                "item": f"m{i % 29}",
                "features": features,
            },
        )
        if i % 4 == 0:
            yield f"i{i}", {"type": "click", "id": f"c{i}", "time": time + 3, "impression": f"i{i}"}
        if i % 40 == 0:
            yield (
                f"r{i}",
                {
                    "type": "rating",
                    "id": f"r{i}",
                    "time": time,
                    "user": "u",
                    "item": "m",
                    "rating": 5,
                    "features": {},
                },
            )
        if i % 60 == 0:
            yield f"m{i}", {"type": "item", "id": f"m{i}", "time": time, "features": {"new": True}}


def filled(kafka, n_partitions, n_events):
    name = f"t{uuid.uuid4().hex}"
    admin = open_admin(f"kafka://{kafka}")
    admin.ensure_topic(name, n_partitions)
    admin.close()
    producer = open_producer(f"kafka://{kafka}")
    for key, event in events(n_events):
        producer.send(name, json.dumps(event, separators=(",", ":")).encode(), key.encode())
    producer.flush(30)
    producer.close()
    return name


def contents(kafka, topic):
    """Values by partition."""
    consumer = open_consumer(f"kafka://{kafka}")
    partitions = consumer.partitions([topic])
    ends = consumer.ends(partitions)
    consumer.assign(consumer.begins(partitions))
    found = {partition.number: [] for partition in partitions}
    while any(consumer.position(partition) < end for partition, end in ends.items()):
        for record in consumer.records(0.2, 5000):
            found[record.partition.number].append(json.loads(record.value))
    consumer.close()
    return found


def plan(kafka, source, until_end=True, window_ms=2000):
    return JoinPlan(
        source=parse_url(f"kafka://{kafka}/{source}"),
        target=parse_url(f"kafka://{kafka}/{source}.examples"),
        rejects=f"{source}.rejects",
        group=f"g-{source}",
        until_end=until_end,
        join=JoinSettings(window_ms=window_ms),
        settings=JoinWorkerSettings(),
    )


@pytest.mark.parametrize("n_partitions", [1, 3])
def test_every_impression_becomes_an_example_once(kafka, n_partitions):
    source = filled(kafka, n_partitions, 3000)
    joined = JoinWorker(plan(kafka, source), SystemClock()).run()
    written = contents(kafka, f"{source}.examples")
    rows = [row for part in written.values() for row in part]
    labels = {row["id"]: row["label"] for row in rows if row["type"] == "example"}
    assert labels == {f"i{i}": int(i % 4 == 0) for i in range(3000)}
    assert len(rows) == 3000 + 75 + 50
    assert joined.examples == 3075
    again = JoinWorker(plan(kafka, source), SystemClock()).run()
    assert again.examples == 0
    assert contents(kafka, f"{source}.examples") == written
