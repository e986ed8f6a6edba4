"""Several topics: joined in an order that depends on who was late, and that the state's topic has."""

import json
import time

import numpy as np
import pytest
from join_topics import WINDOW_MS, Topics, events

from streamrec.clock import SystemClock
from streamrec.events.block import ITEM
from streamrec.events.decoder import BlockDecoder
from streamrec.join.joiner import Joiner
from streamrec.join.lines import carrying_lines, example_lines
from streamrec.join.merge import Recorded, merged
from streamrec.join.select import sliced
from streamrec.join.settings import JoinSettings
from streamrec.join.worker import turns as pages_module
from streamrec.join.worker.feed import Feed
from streamrec.join.worker.state import state_topic
from streamrec.join.worker.turns import page_from_json
from streamrec.join.worker.worker import JoinWorker
from streamrec.transport.kafka import Partition
from streamrec.transport.kafka.lines import make_run


def recorded_turns(topics, number):
    """All turns that were ever stored of one partition, and how many events it has joined."""
    records, pages = [value for _, value in topics.lines(state_topic(topics.target()))[number]], {}
    for record in (json.loads(value) for value in records if value):
        page = page_from_json(record.get("page", record))
        pages[page.number] = page
        n_events = record["checkpoint"]["until"] if "checkpoint" in record else 0
    return [turn for number in sorted(pages) for turn in pages[number].turns], n_events


def joined_as_recorded(topics, settings=None):
    """Examples by partition, joined at once in the recorded order, and how many turns there were."""
    sources = {topic: topics.lines(topic) for topic in topics.sources}
    examples, n_turns = {}, 0
    for number in range(topics.n_partitions):
        turns, n_events = recorded_turns(topics, number)
        n_turns += len(turns)
        partitions = sorted(Partition(topic, number) for topic in topics.sources)
        ends = {p: (sources[p.topic][number] or [(-1, b"")])[-1][0] + 1 for p in partitions}
        feed = Feed(partitions, dict.fromkeys(partitions, 0), ends)
        for p in partitions:
            if records := sources[p.topic][number]:
                offsets, values = zip(*records, strict=True)
                feed.put(make_run(p, offsets[0], offsets[-1], offsets, values))
            feed.see(p, ends[p], ends[p])
        joiner, out = Joiner(settings or JoinSettings(window_ms=WINDOW_MS)), []
        order = Recorded(turns=turns, until=n_events)
        for decoded in merged(feed, BlockDecoder(), SystemClock(), 0.0, order):
            if decoded is None:
                continue
            block, begin = carrying_lines(decoded.block, decoded.data), 0
            for item in [*np.flatnonzero(block.type == ITEM).tolist(), len(block)]:
                stop = min(item + 1, len(block))
                part = decoded.places.sliced(begin, stop)
                out += example_lines(joiner.push(sliced(block, begin, stop), decoded.data, part).examples)
                out += [decoded.line(item)] if item < len(block) else []
                begin = stop
        examples[number] = out + example_lines(joiner.finish().examples)
    return examples, n_turns


@pytest.mark.integration
def test_two_topics_are_joined_as_one_stream(kafka):
    """Everything is there: the order is that of event time, no turn is taken but those at the beginning."""
    topics, pairs = Topics(kafka, 2, names=["impressions", "clicks"]), list(events(3000))
    topics.send((p for p in pairs if b'"type":"click"' not in p[1]), 0)
    topics.send((p for p in pairs if b'"type":"click"' in p[1]), 1)
    topics.join()
    examples, n_turns = joined_as_recorded(topics)
    assert topics.examples() == examples
    assert n_turns == 4
    labels = [json.loads(line).get("label") for of in examples.values() for line in of]
    assert labels.count(1) > 400


def stop_when_idle(worker):
    """Run until nothing has come for much longer than a topic is waited for, also on a busy machine."""
    idle_since_s = None

    def watch(now):
        nonlocal idle_since_s
        if not now.partitions or len(now.lag) < 2 or sum(now.lag.values()):
            idle_since_s = None
        elif idle_since_s is None:
            idle_since_s = time.monotonic()
        elif time.monotonic() > idle_since_s + 0.4:
            worker.stop()

    worker.run(watch)


@pytest.mark.integration
def test_turns_fill_pages_and_stopped_workers_go_on(kafka, monkeypatch):
    """Topics take turns in being silent; every stop rebuilds from another place."""
    monkeypatch.setattr(pages_module, "_PAGE_TURNS", 4)
    topics, pairs = Topics(kafka, 1, names=["impressions", "clicks"]), list(events(2000))
    settings = JoinSettings(window_ms=WINDOW_MS, memory_events=200)
    plan = topics.plan(until_end=False, join=settings, partition_wait_s=0.01)
    for begin in range(0, len(pairs), 400):
        part = pairs[begin : begin + 400]
        for topic in (begin // 400 % 2, 1 - begin // 400 % 2):
            topics.send((p for p in part if (b'"type":"click"' in p[1]) == topic), topic)
            stop_when_idle(JoinWorker(plan, SystemClock()))
    topics.join(join=settings)
    turns, _ = recorded_turns(topics, 0)
    assert len(turns) > 8  # three pages
    examples, _ = joined_as_recorded(topics, settings)
    assert topics.examples() == examples
