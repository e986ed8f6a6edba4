"""Learning from real topics: the order of several partitions, resuming, and what a recording would give."""

import uuid

import pytest
from topics import events

from streamrec.clock import SystemClock
from streamrec.join.settings import JoinSettings
from streamrec.learner.settings import LearnerSettings
from streamrec.learner.start import Plan, start
from streamrec.models.settings import ModelSettings
from streamrec.store.memory import MemoryStore
from streamrec.transport import open_source

pytestmark = pytest.mark.integration

PLAN = Plan(
    model=ModelSettings(kind="ftrl"),
    join=JoinSettings(window_ms=2000, late_ms=1000),
    learner=LearnerSettings(commit_interval_s=0.05, partition_wait_s=60),
)


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
    url, lines = topic(1, events(3000))
    file = tmp_path / "recorded.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines))
    assert without_speed(learned(url, MemoryStore(uuid.uuid4().hex))) == without_speed(
        learned(str(file), MemoryStore(uuid.uuid4().hex))
    )


def test_three_partitions_give_the_same_every_time_and_after_every_stop(topic):
    url, lines = topic(3, events(3000))
    undisturbed, store = learned(url, MemoryStore(uuid.uuid4().hex)), MemoryStore(uuid.uuid4().hex)
    assert undisturbed["events"] == len(lines)
    assert without_speed(learned(url, MemoryStore(uuid.uuid4().hex))) == without_speed(undisturbed)
    for limit in (1, 100, 101, 1500, 3333):
        assert learned(url, store, limit)["events"] == limit
    assert without_speed(learned(url, store)) == without_speed(undisturbed)
