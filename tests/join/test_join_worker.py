"""The join worker on a real broker: what it writes is what the joiner of the same lines gives."""

import json
import threading

import pytest
from join_topics import WINDOW_MS, Topics, events, expected
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from streamrec.clock import SystemClock
from streamrec.errors import SourceError, StoreMismatch, UsageError
from streamrec.join.settings import JoinSettings
from streamrec.join.worker.state import read_state, state_topic
from streamrec.join.worker.worker import JoinWorker
from streamrec.testing.redis_server import wait_until
from streamrec.transport.kafka import Partition, open_admin, open_consumer, parse_url

pytestmark = pytest.mark.integration

CLIENTS = {"python": "kafka", "librdkafka": "confluent_kafka"}


@pytest.fixture(params=sorted(CLIENTS))
def client(request, monkeypatch):
    """The library in use; `librdkafka` needs the extra `fast`."""
    pytest.importorskip(CLIENTS[request.param])
    monkeypatch.setenv("STREAMREC_KAFKA_CLIENT", request.param)


def test_every_partition_is_joined_as_its_lines_are(kafka, client):
    topics = Topics(kafka, 3)
    topics.send(events(3000))
    joined = topics.join()
    examples, letters = expected(topics)
    assert topics.examples() == examples
    assert topics.letters() == letters
    labels = [json.loads(line).get("label") for of in examples.values() for line in of]
    assert min(labels.count(0), labels.count(1), len(letters)) > 100
    n_items = sum(b'"type":"item"' in line for of in examples.values() for line in of)
    assert joined.examples == len(labels) - n_items
    assert joined.rejected == len(letters)
    assert joined.events + sum(r.startswith(("missing", "impression")) for _, _, r in letters) >= 3000
    assert joined.lag == {f"{topics.sources[0]}:{n}": 0 for n in range(3)}
    again = topics.join()
    assert (again.examples, again.rejected) == (0, 0)
    assert topics.examples() == examples


def test_stopping_and_going_on_leaves_no_trace(kafka, client):
    """Clean stops at any place, many of them within the window of what waits."""
    topics = Topics(kafka, 2)
    topics.send(events(4000, seed=1))
    settings = JoinSettings(window_ms=WINDOW_MS, memory_events=300)
    plan = topics.plan(until_end=False, join=settings, commit_interval_s=0.001)
    total, seen = topics.size(topics.sources[0]), 0
    for _ in range(50):
        worker, last = JoinWorker(plan, SystemClock()), {}

        def watch(now, worker=worker, last=last):
            last["events"] = now.events
            if now.events >= 500 or not sum(now.lag.values(), start=not now.lag):
                worker.stop()

        seen += worker.run(watch).events
        if seen >= total - 100:  # some are none
            break
    assert seen > total - 200
    topics.join(join=settings)
    examples, letters = expected(topics, settings)
    assert topics.examples() == examples
    assert topics.letters() == letters


def test_the_groups_offsets_follow(kafka):
    topics = Topics(kafka, 2)
    topics.send(events(500))
    topics.join()
    consumer = open_consumer(topics.url, group=topics.plan().group)
    partitions = consumer.partitions(topics.sources)
    committed = consumer.committed(partitions)
    assert {p: each.offset for p, each in committed.items()} == consumer.ends(partitions)
    consumer.close()


def test_an_empty_source(kafka, client):
    topics = Topics(kafka, 2)
    assert topics.join().examples == 0
    topics.send(
        [("k", b'{"type":"rating","id":"r","time":1,"user":"u","item":"m","rating":5,"features":{}}')]
    )
    assert topics.join().examples == 1
    assert sorted(map(len, topics.examples().values())) == [0, 1]


def test_records_that_are_no_lines(kafka, client):
    """Tombstones, blanks, records within newlines or longer than accepted: each a dead letter with its offset."""
    topics = Topics(kafka, 1)
    impression = (
        b'{"type":"impression","id":"%s","time":1700000000000,"user":"u","item":"m","features":{"t":"%s"}}'
    )
    huge = impression % (b"huge", b"x" * 900_000)
    values = [impression % (b"a", b""), None, b"", huge, b"\xff\xfe", b"[1]", impression % (b"b", b"")]
    topics.send((str(i), value) for i, value in enumerate(values))
    joined = topics.join()
    ids = [json.loads(line)["id"] for line in topics.examples()[0]]
    assert ids == [name + end for end in ("", "#confirmed") for name in ("a", "huge", "b")]
    assert [offset for _, offset, _ in topics.letters()] == [1, 2, 4, 5]
    assert joined.rejected == 4


def test_more_workers_than_partitions(kafka, client):
    """Those that have none end when the others have reached the end."""
    topics = Topics(kafka, 2)
    topics.send(events(2000))
    results = []
    threads = [threading.Thread(target=lambda: results.append(topics.join())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 4
    examples, letters = expected(topics)
    assert topics.examples() == examples
    assert topics.letters() == letters
    assert sum(each.rejected for each in results) == len(letters)


def test_topics_that_do_not_fit(kafka):
    topics = Topics(kafka, 2, names=["a", "b"])
    admin = open_admin(topics.url)
    try:
        admin.ensure_topic(topics.target("three"), 3)
        with pytest.raises(UsageError, match=r"three: expected 2 partitions, .* got 3"):
            topics.join("three")
        admin.ensure_topic(f"{topics.prefix}.c", 1)
        topics.sources[1] = f"{topics.prefix}.c"
        with pytest.raises(UsageError, match="must have equally many partitions, got"):
            topics.join()
        topics.sources = [topics.target("t.joins")]
        admin.ensure_topic(topics.sources[0], 2)
        with pytest.raises(UsageError, match="must be different"):
            topics.join("t")
        topics.sources = ["nothing.there"]
        with pytest.raises(SourceError, match=r"no topic nothing\.there"):
            topics.join()
        elsewhere = topics.plan()._replace(target=parse_url("kafka://other:1/examples"))
        with pytest.raises(UsageError, match="expected the cluster of"):
            JoinWorker(elsewhere, SystemClock())
    finally:
        admin.close()


def test_what_was_joined_otherwise(kafka):
    topics = Topics(kafka, 1, names=["a", "b"])
    topics.send(events(100))
    topics.join()
    with pytest.raises(StoreMismatch, match=r"join setting window_ms: .* was joined with 2000, got 1"):
        topics.join(join=JoinSettings(window_ms=1))
    topics.sources = topics.sources[:1]
    with pytest.raises(StoreMismatch, match=r"\.b:0 is not among the topics now"):
        topics.join()


def truncate(topics, partition, offset):
    """Delete what lies before the offset, as retention does."""
    admin = KafkaAdminClient(bootstrap_servers=topics.kafka)
    admin.delete_records({TopicPartition(*partition): offset})
    admin.close()


def test_what_a_rebuild_needs_was_deleted(kafka, client):
    topics = Topics(kafka, 1)
    topics.send(events(300))
    topics.join()
    truncate(topics, (topics.sources[0], 0), 200)
    with pytest.raises(SourceError, match=r"records from 0 on are needed, .* before 200 were deleted by"):
        topics.join()
    assert topics.join("anew").examples > 50  # begins where there is something


def test_going_on_without_what_was_deleted(kafka):
    """What waits is rebuilt where its records are there; the examples are those of an undisturbed join."""
    topics, pairs = Topics(kafka, 1), list(events(3000))
    join, n_sent = JoinSettings(window_ms=WINDOW_MS, late_ms=0), 0
    worker = JoinWorker(topics.plan(until_end=False, join=join, commit_interval_s=0.001), SystemClock())

    def watch(now):
        nonlocal n_sent
        if n_sent == 2000 and now.events > 1900:
            worker.stop()
        elif n_sent < 2000 and now.partitions and now.events >= 0.9 * n_sent:
            topics.send(pairs[n_sent : n_sent + 100])
            n_sent += 100

    worker.run(watch)
    truncate(topics, (topics.sources[0], 0), 1000)
    topics.send(pairs[2000:])
    with pytest.raises(SourceError, match="on_deleted"):
        topics.join(join=join)
    topics.join(join=join, on_deleted="forget")
    whole = Topics(kafka, 1)
    whole.send(pairs)
    whole.join(join=join)
    assert topics.examples() == whole.examples()


def test_partitions_that_are_added(kafka, client):
    topics = Topics(kafka, 1)
    topics.send(events(100))
    topics.join()
    admin = KafkaAdminClient(bootstrap_servers=topics.kafka)
    admin.create_partitions({topics.sources[0]: 2})
    admin.close()
    assert wait_until(lambda: topics.size(topics.sources[0]) and len(topics.lines(topics.sources[0])) == 2)
    with pytest.raises(UsageError, match=r"expected 2 partitions, as .* has, got 1"):
        topics.join()


def test_state_keeps_no_history(kafka):
    """One topic: what the next start needs is one record, however long the join ran."""
    topics = Topics(kafka, 1)
    topics.send(events(3000))
    topics.join(commit_interval_s=0.001, join=JoinSettings(window_ms=WINDOW_MS, memory_events=100))
    state = read_state(parse_url(topics.url), Partition(state_topic(topics.target()), 0))
    assert [page.number for page in state.pages] == [0]
    assert state.checkpoint["scalars"]["events"] > 2000
    assert state.position == {f"{topics.sources[0]}:0": topics.size(topics.sources[0])}
