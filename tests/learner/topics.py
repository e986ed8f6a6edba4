"""Topics filled with events of every kind, and learners as processes of their own."""

import json
import os
import signal
import subprocess
import sys
import threading

from streamrec.testing.redis_server import wait_until
from streamrec.transport.kafka import open_admin, open_consumer, open_producer, parse_url

BEGIN_MS = 1_700_000_000_000
#: Settings under which the order of partitions does not depend on timing, and commits come often.
SETTINGS = """
[model]
kind = "ftrl"
[join]
window_ms = 2000
late_ms = 1000
[learner]
commit_interval_s = 0.03
partition_wait_s = 60.0
"""


def events(n, first=0):
    """Impressions, clicks, double clicks and records that cannot be used: (key, line), in the order of time."""
    for i in range(first, first + n):
        time = BEGIN_MS + 10 * i
        features = {"g": [f"g{i % 3}", f"g{i % 5}"], "x": i % 7}
        impression = {
            "type": "impression",
            "id": f"i{i}",
            "time": time,
            "user": f"u{i % 17}",
            "item": f"m{i % 29}",
        }
        yield f"i{i}", json.dumps(impression | {"features": features})
        for j in range((i % 4 == 0) + (i % 60 == 0)):
            click = {"type": "click", "id": f"c{i}.{j}", "time": time + 3 + j, "impression": f"i{i}"}
            yield f"i{i}", json.dumps(click)
        if i % 50 == 0:
            yield f"bad{i}", "{nonsense"


def examples(n, first=0):
    """Labelled examples and now and then a record that cannot be used: (key, line), in the order of time."""
    for i in range(first, first + n):
        example = {"type": "example", "id": f"e{i}", "time": BEGIN_MS + 10 * i, "label": int(i % 3 == 0)}
        yield f"e{i}", json.dumps(example | {"features": {"g": f"g{i % 3}", "x": i % 7}})
        if i % 50 == 0:
            yield f"bad{i}", "{nonsense"


def send(url, records):
    """(key, value) or (key, value, partition), acknowledged; returns the values."""
    place, values = parse_url(url), []
    producer = open_producer(place)
    for key, value, *partition in records:
        data = value.encode() if isinstance(value, str) else value
        producer.send(place.one_topic(), data, key and key.encode(), *partition)
        values.append(value)
    producer.flush(60)
    producer.close()
    return values


def make_topic(url, n_partitions):
    admin = open_admin(url)
    admin.ensure_topic(parse_url(url).one_topic(), n_partitions)
    admin.close()


def delete_topics(url, *names):
    admin = open_admin(url)
    for name in names:
        admin.delete_topic(name)
    admin.close()


def letters_in(url):
    """Of the topic that belongs to a source: (key, value as JSON, headers), in order."""
    place = parse_url(f"{url}.rejects")
    consumer = open_consumer(place)
    try:
        partitions = consumer.partitions(place.topics)
        ends = consumer.ends(partitions)
        consumer.assign(dict.fromkeys(partitions, 0))
        found = []
        while any(consumer.position(p) < end for p, end in ends.items()):
            for record in consumer.records(0.5, 1000):
                found.append((record.key.decode(), json.loads(record.value), dict(record.headers)))
        return found
    finally:
        consumer.close()


def command(*arguments):
    return [sys.executable, "-m", "streamrec", *map(str, arguments)]


def run(*arguments, code=0):
    """What a command that ends by itself prints as JSON (without its speed), or its errors."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == code, done.stderr
    if code:
        return done.stderr
    assert done.stdout.count("\n") == 1, done.stdout
    result = json.loads(done.stdout)
    result.pop("examples_per_s", None)
    return result


class Learning:
    """`streamrec learn` as a process, or the worker of the same; its log is read as it comes."""

    def __init__(self, *arguments, worker=False, **environ):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "workers.learn"] if worker else command("learn", *arguments, "--json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environ,
        )
        self.log = []
        self._reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.end()

    def says(self, text, timeout_s=90):
        """Whether a line of its log has the text in time."""
        return wait_until(lambda: any(text in line for line in list(self.log)), timeout_s)

    def send_signal(self, number):
        os.kill(self.process.pid, number)

    def stop(self, number=signal.SIGTERM):
        """(exit code, what it printed) after a signal."""
        self.send_signal(number)
        return self.end()

    def end(self):
        if self.process.stdout.closed:
            return self.process.returncode, ""
        out = self.process.stdout.read()
        code = self.process.wait(90)
        self._reader.join(10)
        self.process.stdout.close()
        self.process.stderr.close()
        return code, out
