"""Learning from real topics: the order of several partitions, resuming, and what a recording would give."""

import json
import uuid

import pytest

from streamrec.clock import SystemClock
from streamrec.join.settings import JoinSettings
from streamrec.learner.settings import LearnerSettings
from streamrec.learner.start import Plan, start
from streamrec.models.settings import ModelSettings
from streamrec.store.memory import MemoryStore
from streamrec.transport import open_source
from streamrec.transport.kafka import open_admin, open_producer

pytestmark = pytest.mark.integration

PLAN = Plan(
    model=ModelSettings(kind="ftrl"),
    join=JoinSettings(window_ms=2000),
    learner=LearnerSettings(commit_interval_s=0.05, partition_wait_s=60),
)


def events(n):
    """Impressions, clicks, ratings and records that cannot be used: (key, line), in the order of time."""
    for i in range(n):
        time = 1_700_000_000_000 + 10 * i
        impression = {
            "type": "impression",
            "id": f"i{i}",
            "time": time,
            "user": f"u{i % 17}",
            "item": f"m{i % 29}",
            "features": {"g": [f"g{i % 3}", f"g{i % 5}"], "x": i % 7},
        }
        yield f"i{i}", json.dumps(impression)
        if i % 4 == 0:
            yield (
                f"i{i}",
                json.dumps({"type": "click", "id": f"c{i}", "time": time + 3, "impression": f"i{i}"}),
            )
        if i % 50 == 0:
            yield f"bad{i}", "{nonsense"


@pytest.fixture
def topic(kafka):
    """Makes topics of so many partitions, filled; (URL, lines)."""
    admin, made = open_admin(f"kafka://{kafka}"), []

    def make(n_partitions, n_events=3000):
        name = f"t{uuid.uuid4().hex}"
        admin.ensure_topic(name, n_partitions)
        made.append(name)
        producer, lines = open_producer(f"kafka://{kafka}"), []
        for key, line in events(n_events):
            producer.send(name, line.encode(), key.encode())
            lines.append(line)
        producer.flush(30)
        producer.close()
        return f"kafka://{kafka}/{name}", lines

    yield make
    for name in made:
        admin.delete_topic(name)
    admin.close()


def learned(url, store, limit=None, plan=PLAN):
    source = open_source(url)
    started = start(plan, source, store, SystemClock())
    try:
        return started.result(started.learner.run(limit=limit))
    finally:
        started.parts.close()
        source.close()


def without_speed(result):
    return {name: value for name, value in result.items() if name != "examples_per_s"}


def test_one_partition_gives_what_a_replay_of_the_same_lines_gives(topic, tmp_path):
    url, lines = topic(1)
    file = tmp_path / "recorded.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines))
    assert without_speed(learned(url, MemoryStore(uuid.uuid4().hex))) == without_speed(
        learned(str(file), MemoryStore(uuid.uuid4().hex))
    )


def test_three_partitions_give_the_same_every_time_and_after_every_stop(topic):
    url, lines = topic(3)
    undisturbed, store = learned(url, MemoryStore(uuid.uuid4().hex)), MemoryStore(uuid.uuid4().hex)
    assert undisturbed["events"] == len(lines)
    assert without_speed(learned(url, MemoryStore(uuid.uuid4().hex))) == without_speed(undisturbed)
    for limit in (100, 101, 1500, 3333):
        assert learned(url, store, limit)["events"] == limit
    assert without_speed(learned(url, store)) == without_speed(undisturbed)
