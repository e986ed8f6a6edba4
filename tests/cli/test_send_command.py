"""`streamrec send` into a real broker, as a person types it."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections import defaultdict
from itertools import islice

import pytest

from streamrec.events.codec import decode_line
from streamrec.events.key import key_of
from streamrec.testing.redis_server import wait_until
from streamrec.transport.kafka import open_admin, open_consumer

pytestmark = pytest.mark.integration

RUN = "import sys; from streamrec.cli.main import main; sys.argv[0] = 'streamrec'; main()"
#: Each library that is installed, by its name in STREAMREC_KAFKA_CLIENT.
CLIENTS = {"python": "kafka", "librdkafka": "confluent_kafka"}


def start(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", RUN, "send", *map(str, arguments)],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments, **environment):
    with start(*arguments, **environment) as process:
        out, err = process.communicate(timeout=200)
    return process.returncode, out, err


def events(n):
    """Impressions, clicks, ratings, items and examples, lines that are no events and blank ones."""
    for i in range(n):
        shown = {
            "type": "impression",
            "id": f"i{i}",
            "time": i,
            "user": f"u{i % 7}",
            "item": "m",
            "features": {},
        }
        yield json.dumps(shown, separators=(",", ":"))
        if i % 2:
            yield json.dumps({"type": "click", "id": f"c{i}", "time": i + 1, "impression": f"i{i}"})
        if i % 5 == 0:
            yield json.dumps({**shown, "type": "rating", "id": f"r{i}", "rating": 3})
        if i % 11 == 0:
            yield json.dumps({"type": "item", "id": f"m{i % 3}", "time": i, "features": {"i": i}})
            yield json.dumps({"type": "example", "id": f"e{i % 40}", "time": i, "label": 1})
        if i % 50 == 0:
            yield f'{{"type":"clik","n":{i}}}'
            yield " "


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """(path, its records): 20,000 of them."""
    lines = [*islice(events(20_000), 20_000)]
    path = tmp_path_factory.mktemp("send") / "events.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path), [line.encode() for line in lines if line.strip()]


def by_key(lines):
    """The lines of every key in order; those without a key in any."""
    found = defaultdict(list)
    for line in lines:
        event = decode_line(line)
        found[key_of(event) if hasattr(event, "id") else None].append(line)
    found[None].sort()
    return found


def topic_holds(url, lines):
    """Whether a topic has exactly these lines, and those of every key in order in one partition."""
    consumer = open_consumer(url)
    parts = consumer.partitions([url.rpartition("/")[2]])
    consumer.assign(dict.fromkeys(parts, 0))
    records = []
    wait_until(lambda: records.extend(consumer.records(0.2, 5000)) or len(records) >= len(lines), 30)
    records += consumer.records(0.5, 5000)
    consumer.close()
    places, found = defaultdict(set), defaultdict(list)
    for record in sorted(records, key=lambda each: (each.partition, each.offset)):
        places[record.key].add(record.partition)
        found[record.key].append(record.value)
    found[None].sort()
    assert all(len(each) == 1 for key, each in places.items() if key is not None)
    assert len(records) == len(lines)
    assert found == by_key(lines)
    return True


@pytest.fixture
def target(kafka):
    """The URL of a topic of the test's own, not made yet."""
    url = f"kafka://{kafka}/send{uuid.uuid4().hex[:8]}"
    yield url
    admin = open_admin(url)
    admin.delete_topic(url.rpartition("/")[2])
    admin.close()


def test_every_line_arrives_once_and_in_the_order_of_its_key(target, stream):
    path, lines = stream
    code, out, err = run(path, target, "--partitions", 3, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told.pop("seconds") > 0
    assert told.pop("records_per_s") > 0
    assert told == {
        "topic": target.rpartition("/")[2],
        "partitions": 3,
        "records": len(lines),
        "bytes": sum(map(len, lines)),
        "acknowledged": len(lines),
        "left_out": 0,
        "interrupted": False,
    }
    assert topic_holds(target, lines)


def test_a_topic_that_is_not_there_or_another(target, stream):
    path, _ = stream
    code, out, err = run(path, target)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "there is no topic" in err
    assert "--partitions N" in err
    assert run(path, target, "--partitions", 2, "--limit", 0)[0] == 0
    code, _, err = run(path, target, "--partitions", 3)
    assert (code, "the topic has 2 partition(s), --partitions asks for 3" in err) == (2, True)
    assert topic_holds(target, [])


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 1)])
def test_stopped_and_gone_on_with(target, stream, number, code):
    path, lines = stream
    process = start(path, target, "--partitions", 2, "--rate", 4000, "--limit", 15_000, "--json")
    consumer = open_consumer(target)
    assert wait_until(lambda: arrived(consumer, target), 60)
    consumer.close()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    told = json.loads(out)
    n = told["acknowledged"]
    assert (process.returncode, told["interrupted"], told["records"]) == (code, True, n)
    assert 0 < n < 15_000
    assert err == (
        f"streamrec: stopped: {n:,} of {n:,} records sent are acknowledged; go on with --skip {n}\n"
    )
    rest = run(path, target, "--skip", n, "--json")
    assert json.loads(rest[1])["acknowledged"] == len(lines) - n
    assert topic_holds(target, lines)


def arrived(consumer, url):
    """Whether a topic has anything."""
    try:
        return any(consumer.ends(consumer.partitions([url.rpartition("/")[2]])).values())
    except Exception:
        return False


@pytest.mark.slow
def test_a_broker_that_is_away_is_one_clear_line(stream):
    code, out, err = run(stream[0], "kafka://127.0.0.1:1/t", "--json")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "kafka://127.0.0.1:1/t does not answer" in err


@pytest.mark.slow
@pytest.mark.parametrize("client", CLIENTS)
def test_a_broker_killed_in_the_middle_loses_and_doubles_nothing(kafka_broker, stream, client):
    pytest.importorskip(CLIENTS[client])
    path, lines = stream
    url = f"{kafka_broker.url}/t"
    process = start(path, url, "--partitions", 3, "--rate", 5000, "--json", STREAMREC_KAFKA_CLIENT=client)
    consumer = open_consumer(url)
    assert wait_until(lambda: arrived(consumer, url), 60)
    consumer.close()
    kafka_broker.kill()
    assert process.poll() is None
    kafka_broker.start()
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["acknowledged"] == len(lines)
    assert topic_holds(url, lines)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["events.jsonl", "somewhere"], "expected kafka://host:port/topic"),
        (["nowhere.jsonl", "kafka://127.0.0.1:1/t"], "nowhere.jsonl: no such file"),
        (["-", "kafka://127.0.0.1:1"], "no topic"),
        (["-", "kafka://127.0.0.1:1/t", "--rate", "0"], "--rate"),
        (["-", "kafka://127.0.0.1:1/t", "--partitions", "0"], "--partitions"),
    ],
)
def test_wrong_use(arguments, said):
    code, out, err = run(*arguments)
    assert (code in (1, 2), out, err.count("\n")) == (True, "", 1)
    assert said in err
