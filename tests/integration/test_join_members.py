"""Join workers that come, go, are killed, sleep: what they write is what one undisturbed joiner would."""

import random
import sys
from itertools import islice
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "join"))
from join_topics import SESSION_S, Topics, Worker, events, expected

from streamrec.join.worker.state import state_topic
from streamrec.testing.redis_server import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow]

WAIT_S = 60
#: The five seconds that are promised, and some for a machine that does other things too.
IN_TIME_S = 8


@pytest.fixture(scope="session")
def _compiled(_kafka_of_the_session):
    """Compiled code is there before anything is waited for."""
    if _kafka_of_the_session is not None:
        topics = Topics(_kafka_of_the_session, names=["a", "b"])
        topics.send(events(500))
        topics.join()


@pytest.fixture
def workers(tmp_path, _compiled):
    started = []

    def start(topics, *options, client=None, **settings):
        started.append(Worker(topics, tmp_path, "examples", *options, client=client, **settings))
        return started[-1]

    yield start
    for worker in started:
        worker.close()


class Growth:
    """Waits until more transactions are done than when it was looked at last."""

    def __init__(self, topics):
        self.topics, self.size = topics, 0

    def wait(self, *alive):
        assert wait_until(self._has_grown, WAIT_S), "\n".join(worker.log() for worker in alive)

    def _has_grown(self):
        before, self.size = self.size, max(self.size, self.topics.size(state_topic(self.topics.target())))
        return self.size > before


def check(topics, workers):
    """Join what is left; compare everything."""
    workers(topics, "--until-end").end()
    examples, letters = expected(topics)
    assert {n: len(lines) for n, lines in topics.examples().items()} == {
        n: len(lines) for n, lines in examples.items()
    }
    assert topics.examples() == examples
    assert topics.letters() == letters


def test_killed_ten_times(kafka, workers):
    """Two workers share three partitions; one after another is killed while it works."""
    topics, rng, n_kills = Topics(kafka, 3), random.Random(3), 10
    pairs = events(100_000)
    growth = Growth(topics)
    running = [workers(topics), workers(topics)]
    for _ in range(n_kills):
        topics.send(islice(pairs, 100_000 // n_kills))
        growth.wait(*running)
        running.pop(rng.randrange(2)).kill()
        running.append(workers(topics))
    topics.send(pairs)
    for worker in running:
        worker.kill()
    check(topics, workers)


@pytest.mark.parametrize("client", ["librdkafka", "python"])
def test_workers_join_and_leave(kafka, workers, client):
    topics, pairs = Topics(kafka, 3), events(30_000)
    growth = Growth(topics)
    first = workers(topics, client=client, report_s=0.2)

    def go_on(*alive):
        topics.send(islice(pairs, 4_000))
        growth.wait(*alive)

    go_on(first)
    second = workers(topics, client=client, report_s=0.2)
    assert wait_until(second.has_partitions, WAIT_S), second.log()
    go_on(first, second)
    third = workers(topics, client=client, report_s=0.2)
    assert wait_until(third.has_partitions, WAIT_S), third.log()
    go_on(first, second, third)
    assert second.stop() < IN_TIME_S
    go_on(first, third)
    first.kill()
    go_on(third)
    assert third.stop() < IN_TIME_S
    topics.send(pairs)
    check(topics, workers)


def test_a_worker_that_slept_is_refused_and_goes_on(kafka, workers):
    topics, pairs = Topics(kafka, 3), events(30_000)
    growth = Growth(topics)
    sleeper = workers(topics, report_s=0.2)
    topics.send(islice(pairs, 8_000))
    growth.wait(sleeper)
    sleeper.sleep()  # most likely in the middle of transactions
    other = workers(topics, report_s=0.2)
    assert wait_until(lambda: "partitions 0,1,2;" in other.log(), WAIT_S), other.log()
    topics.send(islice(pairs, 8_000))
    growth.wait(other)
    sleeper.wake()
    topics.send(islice(pairs, 8_000))
    shared = ("partitions 0;", "partitions 2;", "partitions 0,1;", "partitions 1,2;")
    assert wait_until(lambda: any(text in other.log()[-300:] for text in shared), WAIT_S), other.log()
    topics.send(pairs)
    growth.wait(sleeper, other)
    assert sleeper.stop() < IN_TIME_S
    assert other.stop() < IN_TIME_S
    check(topics, workers)


def test_the_broker_is_killed(kafka_broker, workers):
    topics, pairs = Topics(kafka_broker.bootstrap, 3), events(30_000)
    growth = Growth(topics)
    worker = workers(topics)
    for _ in range(3):
        topics.send(islice(pairs, 8_000))
        growth.wait(worker)
        kafka_broker.kill()
        kafka_broker.start()
    topics.send(pairs)
    growth.wait(worker)
    assert worker.stop() < IN_TIME_S
    check(topics, workers)


@pytest.mark.parametrize("client", ["librdkafka", "python"])
def test_sigterm_ends_it_in_time_without_brokers(kafka_broker, workers, client):
    topics = Topics(kafka_broker.bootstrap, 3)
    topics.send(events(5_000))
    worker = workers(topics, client=client)
    Growth(topics).wait(worker)
    kafka_broker.kill()
    assert wait_until(lambda: "has not answered" in worker.log(), WAIT_S), worker.log()
    assert worker.stop() < IN_TIME_S
    kafka_broker.start()
    check(topics, workers)


def test_one_topic_is_silent(kafka, workers):
    """Impressions go on without clicks for a while; killed in between, the order that was taken is kept."""
    from test_join_order import joined_as_recorded  # beside join_topics

    topics = Topics(kafka, 2, names=["impressions", "clicks"])
    pairs = list(events(9_000))
    clicks = [i for i, (_, line) in enumerate(pairs) if b'"type":"click"' in line]
    growth = Growth(topics)
    sent = [0, 0]

    def send(impressions_to, clicks_to):
        wanted = set(clicks)
        for topic, stop in enumerate((impressions_to, clicks_to)):
            begin, sent[topic] = sent[topic], stop
            topics.send((p for i, p in enumerate(pairs[begin:stop], begin) if (i in wanted) == topic), topic)

    send(2000, 2000)
    worker = workers(topics, partition_wait_s=0.2)
    growth.wait(worker)
    for at in (4000, 6000):
        send(at, at - 1500)  # clicks fall behind
        growth.wait(worker)
        worker.kill()
        worker = workers(topics, partition_wait_s=0.2)
        growth.wait(worker)
        send(at, at)
        growth.wait(worker)
    worker.kill()
    send(len(pairs), len(pairs))
    workers(topics, "--until-end").end()
    examples, n_turns = joined_as_recorded(topics)
    assert topics.examples() == examples
    assert n_turns > 2 * 2 + 2  # more than those that begin the two orders
    assert SESSION_S < 2
