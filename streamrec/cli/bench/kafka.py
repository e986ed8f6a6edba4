"""From a Kafka topic to weights committed in Redis, beside a bare loop of the same client that only reads."""

from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from streamrec.cli.bench.client import using
from streamrec.cli.bench.figure import Figure
from streamrec.cli.bench.stream import streams

__all__ = ["figures"]

_N_EVENTS = 300_000
_TOPIC = "bench"
#: Each figure is the best of so many runs.
_RUNS = 3
#: Library → least share of its bare loop's speed.
_GOALS = {"python": 0.7, "librdkafka": 0.4}


def figures() -> list[Figure]:
    """Examples/s with both libraries, one partition, on a broker and a Redis of their own."""
    from streamrec.services.kafka import KafkaCluster

    with TemporaryDirectory(prefix="streamrec-bench-") as folder, streams(_N_EVENTS) as made:
        cluster = KafkaCluster(Path(folder, "kafka"))
        cluster.start()
        try:
            _fill(cluster.bootstrap, made.jsonl)
            figures = [figure for library in _GOALS for figure in _of(library, cluster.bootstrap)]
        finally:
            cluster.stop()
    bare = {figure.name: figure.beside for figure in figures}
    ratio = Figure(
        "kafka, learned with librdkafka",
        figures[-1].value,
        "examples/s",
        bare["kafka, learned with python"],
        "bare kafka-python loop",
        (3.0, None),
    )
    return [*figures, ratio]


def _of(library: str, bootstrap: str) -> list[Figure]:
    with using(library):
        bare = max(_read_rate(library, bootstrap) for _ in range(_RUNS))
        ours = max(_learn_rate(bootstrap) for _ in range(_RUNS))
    goal = (_GOALS[library], None)
    return [Figure(f"kafka, learned with {library}", ours, "examples/s", bare, "bare read loop", goal)]


def _fill(bootstrap: str, path: Path) -> None:
    """Every line of the file as a record of one partition."""
    from streamrec.transport.kafka import open_admin, open_producer

    admin = open_admin(f"kafka://{bootstrap}")
    admin.ensure_topic(_TOPIC, 1)
    admin.close()
    producer = open_producer(f"kafka://{bootstrap}")
    with path.open("rb") as file:
        for line in file:
            producer.send(_TOPIC, line.rstrip(), partition=0)
    producer.flush(60)
    producer.close()


def _read_rate(library: str, bootstrap: str) -> float:
    """Records/s of the library by itself, as its documentation shows it."""
    return (_read_python if library == "python" else _read_librdkafka)(bootstrap)


def _read_python(bootstrap: str) -> float:
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", max_poll_records=5000)
    consumer.assign([TopicPartition(_TOPIC, 0)])
    n, began = 0, perf_counter()
    while n < _N_EVENTS:
        for records in consumer.poll(timeout_ms=1000).values():
            n += len(records)
    rate = n / (perf_counter() - began)
    consumer.close()
    return rate


def _read_librdkafka(bootstrap: str) -> float:
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench", "enable.auto.commit": False})
    consumer.assign([TopicPartition(_TOPIC, 0, OFFSET_BEGINNING)])
    n, began = 0, perf_counter()
    while n < _N_EVENTS:
        n += len(consumer.consume(5000, timeout=1.0))
    rate = n / (perf_counter() - began)
    consumer.close()
    return rate


def _learn_rate(bootstrap: str) -> float:
    """Examples/s of the learner with an embedded Redis, from the first poll to the last commit stored."""
    from streamrec.clock import SystemClock
    from streamrec.learner.start import Plan, start
    from streamrec.models.settings import ModelSettings
    from streamrec.store.registry import open_store
    from streamrec.transport.registry import open_source

    plan = Plan(name="bench", fresh=True, model=ModelSettings(kind="ftrl"))
    store = open_store("embedded")
    try:
        source = open_source(f"kafka://{bootstrap}/{_TOPIC}")
        began = perf_counter()
        started = start(plan, source, store, SystemClock())
        report = started.learner.run()
        rate = report.examples / (perf_counter() - began)
        started.parts.close()
        source.close()
    finally:
        store.close()
    return rate
