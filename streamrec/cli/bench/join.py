"""The join worker, beside a bare loop of the same client that reads every record and produces one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from streamrec.cli.bench.client import using
from streamrec.cli.bench.figure import Figure

__all__ = ["figures"]

_N_IMPRESSIONS = 250_000
_CLICKED = 5  # one of so many impressions
_N_FEATURES, _DISTINCT = 20, 50_000
_SOURCE = "bench"
#: Library → least share of its bare loop's speed.
_GOALS = {"python": 0.5, "librdkafka": 0.5}
#: Each figure is the best of so many runs.
_RUNS = 2
_ACK_S = 60.0


def figures() -> list[Figure]:
    """Events/s with both libraries, one partition, on a broker of its own; one example an impression."""
    from streamrec.services.kafka import KafkaCluster

    with TemporaryDirectory(prefix="streamrec-bench-") as folder:
        cluster = KafkaCluster(Path(folder, "kafka"))
        cluster.start()
        try:
            n = _fill(cluster.bootstrap)
            return [figure for library in _GOALS for figure in _of(library, cluster.bootstrap, n)]
        finally:
            cluster.stop()


def _of(library: str, bootstrap: str, n: int) -> list[Figure]:
    bare: Callable[[str, str, int], float] = _bare_python if library == "python" else _bare_librdkafka
    targets = [f"bare.{library}.{run}" for run in range(_RUNS)]
    with using(library):
        for target in targets:
            _make_topic(bootstrap, target)
        beside = max(bare(bootstrap, target, n) for target in targets)
        ours = [_join(bootstrap, f"joined.{library}.{run}") for run in range(_RUNS)]
    seconds = min(seconds for seconds, _ in ours)
    transactions = max(count for _, count in ours)
    goal = (_GOALS[library], None)
    return [
        Figure(f"join with {library}", n / seconds, "events/s", beside, "bare read-then-produce loop", goal),
        Figure(f"join with {library}, transactions", transactions / seconds, "1/s"),
    ]


def _events() -> Iterator[bytes]:
    time_ms = 1_700_000_000_000
    for i in range(_N_IMPRESSIONS):
        features = ",".join(f'"f{j}":"v{(i * 7919 + j * 104729) % _DISTINCT}"' for j in range(_N_FEATURES))
        yield (
            f'{{"type":"impression","id":"i{i}","time":{time_ms + i},"user":"u{i % 9973}",'
            f'"item":"m{i % 997}","features":{{{features}}}}}'
        ).encode()
        if i % _CLICKED == 0 and i >= _CLICKED:
            of = i - _CLICKED
            yield f'{{"type":"click","id":"c{i}","time":{time_ms + i},"impression":"i{of}"}}'.encode()


def _fill(bootstrap: str) -> int:
    """How many events there are in the source."""
    from streamrec.transport.kafka import open_producer

    _make_topic(bootstrap, _SOURCE)
    producer, n = open_producer(f"kafka://{bootstrap}"), 0
    for n, line in enumerate(_events(), 1):  # noqa: B007
        producer.send(_SOURCE, line, partition=0)
    producer.flush(_ACK_S)
    producer.close()
    return n


def _make_topic(bootstrap: str, name: str) -> None:
    from streamrec.transport.kafka import open_admin

    admin = open_admin(f"kafka://{bootstrap}")
    admin.ensure_topic(name, 1)
    admin.close()


def _bare_python(bootstrap: str, target: str, n: int) -> float:
    """Records/s of kafka-python by itself: each record read is written, idempotent and acknowledged."""
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", max_poll_records=5000)
    consumer.assign([TopicPartition(_SOURCE, 0)])
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=5, batch_size=256 << 10
    )
    producer.send(target, b"first", partition=0).get(_ACK_S)
    done, began = 0, perf_counter()
    while done < n:
        for records in consumer.poll(timeout_ms=1000).values():
            for record in records:
                producer.send(target, record.value, partition=0)
            done += len(records)
    producer.flush(_ACK_S)
    rate = done / (perf_counter() - began)
    producer.close()
    consumer.close()
    return rate


def _bare_librdkafka(bootstrap: str, target: str, n: int) -> float:
    """Records/s of librdkafka's client by itself: each record read is written, as above."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench", "enable.auto.commit": False})
    consumer.assign([TopicPartition(_SOURCE, 0, OFFSET_BEGINNING)])
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    producer.produce(target, b"first", partition=0)
    producer.flush(_ACK_S)
    done, began = 0, perf_counter()
    while done < n:
        messages = consumer.consume(5000, timeout=1.0)
        for message in messages:
            producer.produce(target, message.value(), partition=0)
        producer.poll(0)
        done += len(messages)
    producer.flush(_ACK_S)
    rate = done / (perf_counter() - began)
    consumer.close()
    return rate


def _join(bootstrap: str, target: str) -> tuple[float, int]:
    """Seconds from the first look for records to the end of the last transaction, and how many there were."""
    from streamrec.clock import SystemClock
    from streamrec.join.settings import JoinSettings
    from streamrec.join.worker.progress import Joined
    from streamrec.join.worker.settings import JoinWorkerSettings
    from streamrec.join.worker.worker import JoinPlan, JoinWorker
    from streamrec.transport.kafka import parse_url

    plan = JoinPlan(
        source=parse_url(f"kafka://{bootstrap}/{_SOURCE}"),
        target=parse_url(f"kafka://{bootstrap}/{target}"),
        rejects=f"{target}.rejects",
        group=f"join-{target}",
        until_end=True,
        join=JoinSettings(feedback="wait", late_ms=0, window_ms=10_000),
        settings=JoinWorkerSettings(),
    )
    worker, looks = JoinWorker(plan, SystemClock()), list[float]()

    def watch(now: Joined) -> None:
        if now.partitions:
            looks[1:] = [perf_counter()]  # the first and the last

    joined = worker.run(watch)
    if joined.examples != _N_IMPRESSIONS:
        raise RuntimeError(f"expected {_N_IMPRESSIONS} examples, got {joined.examples}")
    return looks[-1] - looks[0], joined.transactions
