"""Exactly once: learners killed at random moments, zombies, a broker and a Redis that go away while it learns."""

import json
import random
import signal
import time
import uuid
from functools import partial

import pytest
from topics import SETTINGS, Learning, events, letters_in, make_topic, run, send

from streamrec.store.registry import open_store
from streamrec.testing.redis_server import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

#: Events are sent in the order of time, so a turn at the end of what was sent changes nothing.
LIVE = SETTINGS.replace("wait_s = 60.0", "wait_s = 5.0") + "log_interval_s = 0.2\npatience_s = 200\n"
N = 40_000


def seq_of(store_url, name):
    store = open_store(store_url)
    try:
        return store.head(name).seq
    finally:
        store.close()


def has_committed_or_ended(learning, store_url, name, before):
    return learning.process.poll() is not None or seq_of(store_url, name) > before


def undisturbed(url, redis_url, config):
    """(result, letters) of a run that nothing happens to."""
    name = f"undisturbed{uuid.uuid4().hex[:8]}"
    result = run("learn", url, "--store", redis_url, "--name", name, *config, "--until-end", "--json")
    return result, letters_of(url, name)


def letters_of(url, name):
    """Of one writer, each as (partition, offset, reason); none may be there twice."""
    found = [
        (value["partition"], value["offset"], value["reason"])
        for _, value, headers in letters_in(url)
        if headers["streamrec-model"] == name.encode()
    ]
    assert len(set(found)) == len(found), "a letter is there twice"
    return sorted(found)


def test_kill_9_at_random_moments_ends_as_if_nothing_had_happened(topic, redis_url, settings):
    url, lines = topic(3, events(N))
    config, name, rng, kills = settings(LIVE), f"killed{uuid.uuid4().hex[:8]}", random.Random(5), 0
    options = (url, "--store", redis_url, "--name", name, *config)
    while kills < 6:
        before = seq_of(redis_url, name)
        with Learning(*options, "--until-end") as learning:
            if kills % 2:  # in the middle, else before anything is committed
                wait_until(partial(has_committed_or_ended, learning, redis_url, name, before), 60)
            else:
                learning.says("model")
            time.sleep(rng.random() * 0.15)
            if learning.process.poll() is not None:
                break
            learning.send_signal(signal.SIGKILL)
            kills += 1
    assert kills >= 2
    result = run("learn", *options[:1], *options[1:], "--until-end", "--json")
    expected, letters = undisturbed(url, redis_url, config)
    assert result == expected
    assert result["events"] == len(lines)
    assert len(letters) == result["rejected"]
    assert letters_of(url, name) == letters


def test_a_zombie_is_refused_and_writes_no_letter_twice(topic, redis_url, settings):
    url, first = topic(2, events(2000))
    config, name = settings(LIVE), f"zombie{uuid.uuid4().hex[:8]}"
    options = (url, "--store", redis_url, "--name", name, *config)
    with Learning(*options) as zombie:
        assert zombie.says("lag 0, recent NE")
        zombie.send_signal(signal.SIGSTOP)
        second = send(url, events(1000, 2000))
        result = run("learn", *options, "--until-end", "--json")
        zombie.send_signal(signal.SIGCONT)
        code, _ = zombie.end()
    assert code == 1
    assert any(line.startswith("streamrec: ") and "newer" in line for line in zombie.log), zombie.log[-3:]
    assert result["events"] == len(first) + len(second)
    expected, letters = undisturbed(url, redis_url, config)
    assert result == expected
    assert letters_of(url, name) == letters


def live_through(trouble, url, store_url, config, restarted):
    """Learn live, with trouble in the middle; events sent before, during and after are all learned once.

    Returns the dead letters.
    """
    name = f"live{uuid.uuid4().hex[:8]}"
    n = len(send(url, events(1500)))
    with Learning(url, "--store", store_url, "--name", name, *config) as learning:
        assert learning.says("lag 0, recent NE")
        trouble(learning)
        n += len(send(url, events(700, 1500)))
        restarted(learning)
        n += len(send(url, events(700, 2200)))
        assert wait_until(lambda: n_events(store_url, name) == n, 90), learning.log[-20:]
        code, out = learning.stop()
        assert (code, json.loads(out)["events"]) == (0, n)
    model = ("--store", store_url, "--name", name)
    result = run("learn", url, *model, *config, "--until-end", "--json")
    # brokers that come back may give one partition long before the other: the order is the one that was taken
    recorded, rejects = config[1].with_name("recorded.jsonl"), config[1].with_name("rejects.jsonl")
    run("record", url, *model, "-o", recorded, "--json")
    assert run("replay", recorded, *config, "--rejects", rejects, "--json") == result
    letters = letters_of(url, name)
    assert len(letters) == result["rejected"]
    of_replay = [json.loads(line) for line in rejects.read_text().splitlines()]
    of_topic = [value for _, value, headers in letters_in(url) if headers["streamrec-model"] == name.encode()]
    assert sorted(map(told_of, of_topic)) == sorted(map(told_of, of_replay))
    return letters


def told_of(letter):
    """What a dead letter says, but for the place in its stream."""
    return letter["reason"], letter.get("raw", letter.get("raw_base64"))


def n_events(store_url, name):
    """Of the last commit."""
    store = open_store(store_url)
    try:
        return json.loads(store.load(name).blobs["progress"])["events"]
    finally:
        store.close()


def test_redis_is_killed_and_comes_back_while_learning_live(topic, redis_server, settings):
    url, _ = topic(2)

    def kill(learning):
        redis_server.kill()

    def start(learning):
        assert learning.says("learning is paused"), learning.log
        redis_server.start()
        assert learning.says("learning goes on")

    config = settings(LIVE)
    letters = live_through(kill, url, redis_server.url, config, start)
    assert letters == undisturbed(url, redis_server.url, config)[1]


def test_the_broker_is_killed_and_comes_back_while_learning_live(kafka_broker, redis_url, settings):
    url = f"kafka://{kafka_broker.bootstrap}/events"
    make_topic(url, 2)

    def kill_and_start(learning):
        kafka_broker.kill()
        assert learning.says("reading goes on by itself")
        kafka_broker.start()

    live_through(kill_and_start, url, redis_url, settings(LIVE), lambda learning: None)
