"""`streamrec learn` as a process: live, until the end, observed, and stopped whatever is away."""

import json
import re
import signal
import urllib.error
import urllib.request

import kafka as kafka_python
import pytest
from topics import BEGIN_MS, SETTINGS, Learning, events, examples, letters_in, run, send

from streamrec.testing.redis_server import wait_until
from streamrec.transport.kafka import parse_url

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

QUICK = SETTINGS.replace("wait_s = 60.0", "wait_s = 0.1") + "log_interval_s = 0.2\npatience_s = 200\n"


def test_until_the_end_of_one_partition_is_a_replay_of_the_file(topic, store_of, settings, tmp_path):
    url, lines = topic(1, events(3000))
    (tmp_path / "events.jsonl").write_text("".join(f"{line}\n" for line in lines))
    replayed = run("replay", tmp_path / "events.jsonl", *settings(), "--json")
    learned = run("learn", url, *store_of, *settings(), "--until-end", "--json")
    assert list(learned) == list(replayed)
    assert learned == replayed
    assert len(letters_in(url)) == learned["rejected"] > 0
    assert (
        run("learn", url, *store_of, *settings(), "--until-end", "--json") == learned
    )  # nothing more to learn


def test_a_file_is_learned_like_replay(store_of, settings, tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_text("".join(f"{line}\n" for _, line in events(2000)))
    options = [file, *settings(), "--rejects", tmp_path / "rejects.jsonl", "--json"]
    learned = run("learn", *options, *store_of)
    (tmp_path / "rejects.jsonl").unlink()
    assert run("replay", *options) == learned


@pytest.mark.parametrize("client", ["librdkafka", "python"])
def test_live_until_sigterm_and_lag_tools_see_how_far(topic, store_of, settings, client):
    pytest.importorskip({"python": "kafka", "librdkafka": "confluent_kafka"}[client])
    url, first = topic(2, examples(1500))
    with Learning(url, *store_of, *settings(QUICK), STREAMREC_KAFKA_CLIENT=client) as learning:
        assert learning.says("lag 0, recent NE")
        second = send(url, examples(500, 1500))
        n = len(first) + len(second)
        assert learning.says("2,000 examples")
        code, out = learning.stop()
    told = json.loads(out)
    assert (code, told["stopped"], told["events"], told["examples"]) == (0, True, n, 2000)
    assert not any("Traceback" in line for line in learning.log)
    ends = committed = None

    def group_is_at_the_end():
        nonlocal ends, committed
        place = parse_url(url)
        consumer = kafka_python.KafkaConsumer(
            bootstrap_servers=place.servers, group_id=f"streamrec-{store_of[-1]}"
        )
        partitions = [kafka_python.TopicPartition(place.one_topic(), i) for i in range(2)]
        committed = {p: consumer.committed(p) for p in partitions}
        ends = consumer.end_offsets(partitions)
        consumer.close()
        return committed == ends

    assert wait_until(group_is_at_the_end, 30), (committed, ends)
    learned = run("learn", url, *store_of, *settings(), "--until-end", "--json")
    assert (learned["events"], learned["examples"]) == (n, 2000)


def test_the_state_is_told_to_prometheus_and_in_the_log(topic, store_of, settings):
    url, lines = topic(2, events(3000))
    with Learning(url, *store_of, *settings(QUICK), "--metrics-port", 0) as learning:
        assert learning.says("metrics: ")
        address = next(line for line in learning.log if "metrics: " in line).split("metrics: ")[1].strip()
        assert learning.says("lag 0, recent NE"), learning.log

        def scraped():
            with urllib.request.urlopen(address, timeout=10) as answer:
                return dict(re.findall(r"^(streamrec_\w+\{[^}]*\}) (\S+)$", answer.read().decode(), re.M))

        model = f'model="{store_of[-1]}"'
        events_metric = f"streamrec_events_total{{{model}}}"
        assert wait_until(lambda: float(scraped().get(events_metric, 0)) == len(lines), 60)
        found = {name: float(value) for name, value in scraped().items()}
        topic_name = parse_url(url).one_topic()
        assert found[f"streamrec_rejected_total{{{model}}}"] == len(letters_in(url))
        assert found[f"streamrec_commits_total{{{model}}}"] >= 1
        assert 0 <= found[f"streamrec_commit_age_seconds{{{model}}}"] < 200
        assert found[f"streamrec_event_time_seconds{{{model}}}"] >= BEGIN_MS / 1000 + 29.99
        assert found[f"streamrec_event_time_lag_seconds{{{model}}}"] > 0
        assert found[f"streamrec_waiting_impressions{{{model}}}"] > 0
        for partition in range(2):
            assert found[f'streamrec_lag_records{{{model},partition="{topic_name}:{partition}"}}'] == 0
        for name in ("normalized_entropy", "log_loss", "auc", "calibration"):
            for over in ("whole", "recent"):
                assert f'streamrec_{name}{{{model},over="{over}"}}' in found
        assert f"streamrec_examples_per_second{{{model}}}" in found
        taken = Learning(url, *store_of, "--metrics-port", address.split(":")[2].split("/")[0])
        assert taken.end()[0] == 2
        assert taken.says("cannot listen")
        assert learning.stop(signal.SIGINT)[0] == 0


def test_the_worker_is_configured_by_its_environment(topic, store_of, settings):
    url, _ = topic(2, examples(1500))
    environ = {
        "STREAMREC_SOURCE": url,
        "STREAMREC_STORE": store_of[1],
        "STREAMREC_NAME": store_of[3],
        "STREAMREC_CONFIG": str(settings(QUICK)[1]),
        "STREAMREC_METRICS_HOST": "127.0.0.1",
        "STREAMREC_METRICS_PORT": "0",
    }
    with Learning(worker=True, **environ) as learning:
        assert learning.says("1,500 examples")
        assert learning.stop() == (0, "")
    assert len(letters_in(url)) == 30
    assert run("learn", url, *store_of, *settings(), "--until-end", "--json")["examples"] == 1500
    with Learning(worker=True) as unset:
        assert unset.end()[0] == 2
        assert unset.says("STREAMREC_SOURCE is not set")


def test_waiting_for_the_first_records_is_told_and_ends_on_a_signal(topic, store_of):
    url, _ = topic(2, examples(10))
    with Learning(url, *store_of) as learning:
        assert learning.says("waiting for 1000 examples to infer features from, 10 so far")
        assert learning.says("[features]")
        assert learning.stop() == (0, "")
    assert not any("Traceback" in line for line in learning.log)
    assert any("stopped before learning began" in line for line in learning.log)


def test_a_store_that_is_away_at_the_start_is_waited_for(topic, settings, redis_server):
    url, _ = topic(1, examples(1100))
    redis_server.kill()
    options = ("--store", redis_server.url, *settings(QUICK), "--metrics-port", 0)
    with Learning(url, *options) as learning:
        assert learning.says("waiting: ")
        assert unready(learning).startswith("starting: ")
        assert redis_server.url.split("/")[2] in unready(learning)
        redis_server.start()
        assert learning.says("lag 0, recent NE")
        assert wait_until(lambda: unready(learning) == "", 30)
        redis_server.kill()
        send(url, examples(300, 1100))
        assert wait_until(lambda: "waits: " in unready(learning), 60)


def unready(learning) -> str:
    """What /readyz says; empty: ready."""
    address = next(line for line in learning.log if "metrics: " in line).split("metrics: ")[1].strip()
    try:
        with urllib.request.urlopen(address.replace("/metrics", "/readyz"), timeout=10) as answer:
            told = json.load(answer)
    except urllib.error.HTTPError as refusal:
        with refusal:
            told = json.load(refusal)
    assert told["status"] in ("ok", 503)
    return told.get("detail", "")


@pytest.mark.slow
def test_sigterm_while_redis_is_away_leaves_what_is_not_stored(topic, settings, redis_server):
    url, first = topic(1, examples(1100))
    options = ("--store", redis_server.url, *settings(QUICK))
    with Learning(url, *options) as learning:
        assert learning.says("commit 2 of") or learning.says("commit 1 of")
        redis_server.kill()
        second = send(url, examples(300, 1100))
        assert learning.says("learning is paused")
        assert learning.stop()[0] == 0
        assert learning.says("is learned again by the next run")
    redis_server.start()
    learned = run("learn", url, *options, "--until-end", "--json")
    assert learned["events"] == len(first) + len(second)


@pytest.mark.slow
def test_sigterm_while_the_broker_is_away(kafka_broker, settings, redis_url):
    url = f"kafka://{kafka_broker.bootstrap}/away"
    from topics import make_topic

    make_topic(url, 2)
    lines = send(url, examples(1500))
    names = ("--name", "broker-away", "--fresh", "--metrics-port", 0)
    options = ("--store", redis_url, *names, *settings(QUICK))
    with Learning(url, *options) as learning:
        assert learning.says("1,500 examples")
        assert unready(learning) == ""
        kafka_broker.kill()
        assert learning.says("reading goes on by itself")
        assert kafka_broker.bootstrap in unready(learning)
        code, out = learning.stop()
        assert (code, json.loads(out)["events"]) == (0, len(lines))


def test_what_was_asked_for_wrongly_is_one_clear_line(topic, store_of, settings):
    url, _ = topic(1)
    assert "Missing option '--store'" in run("learn", url, code=2)
    assert "dead letters go to" in run("learn", url, *store_of, *settings(), "--rejects", "ftp://x/y", code=2)
    assert "topic" in run("learn", url.rpartition("/")[0], *store_of, code=2)
    assert "no such file" in run("learn", "nowhere.jsonl", *store_of, code=1)
