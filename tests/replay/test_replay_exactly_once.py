"""`streamrec replay` as a process of its own: killed at random, resumed, against an undisturbed run, to the
last bit.
"""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
from replay_streams import mixed_lines, write_stream

from streamrec.store.keys import Keys
from streamrec.testing.redis_server import wait_until

N = 60_000
QUICK = "[learner]\ncommit_interval_s = 0.02\n"


def command(stream, *options):
    return [sys.executable, "-m", "streamrec", "replay", str(stream), "--json", *map(str, options)]


def replay(stream, *options, code=0):
    done = subprocess.run(command(stream, *options), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    if code:
        return done.stderr
    result = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    result.pop("examples_per_s")
    return result


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay")
    write_stream(folder / "events.jsonl", N)
    (folder / "quick.toml").write_text(QUICK)
    return folder


@pytest.fixture(scope="module")
def undisturbed(place):
    result = replay(
        place / "events.jsonl",
        "--rejects",
        place / "rejects.jsonl",
        "--predictions",
        place / "predictions.jsonl",
    )
    assert result["rejected"] > 500
    assert result["examples"] > N / 2
    return result


def test_the_same_stream_gives_the_same_hash_in_other_processes_stores_and_from_gzip(place, undisturbed):
    (place / "zipped").mkdir(exist_ok=True)
    with gzip.open(place / "zipped" / "events.jsonl.gz", "wb") as file:
        file.write((place / "events.jsonl").read_bytes())
    assert replay(place / "events.jsonl") == undisturbed
    assert replay(place / "zipped" / "events.jsonl.gz", "--store", "embedded") == undisturbed


def test_a_changed_label_changes_the_hash(place, undisturbed, tmp_path):
    lines = mixed_lines(N)
    at = next(i for i, line in enumerate(lines) if '"label": 0' in line)
    lines[at] = lines[at].replace('"label": 0', '"label": 1')
    (tmp_path / "events.jsonl").write_text("\n".join(lines))
    assert replay(tmp_path / "events.jsonl")["state_sha256"] != undisturbed["state_sha256"]


@pytest.mark.integration
@pytest.mark.slow
def test_kill_9_at_random_points_and_resume_ends_as_if_nothing_had_happened(
    place, undisturbed, tmp_path, redis_server
):
    rng, kills = random.Random(11), 0
    options = ["--store", redis_server.url, "--name", "killed", "--config", place / "quick.toml"]
    outputs = ["--rejects", tmp_path / "r.jsonl", "--predictions", tmp_path / "p.jsonl"]
    for limit in [*sorted(rng.sample(range(1, N), 8)), None]:
        part = ["--limit", limit] if limit else []
        process = subprocess.Popen(
            command(place / "events.jsonl", *options, *outputs, *part), stdout=subprocess.DEVNULL
        )
        seen = seq_of(redis_server)
        wait_until(
            lambda seen=seen, process=process: seq_of(redis_server) > seen or process.poll() is not None, 30
        )
        time.sleep(rng.random() * 0.1)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 3
    assert replay(place / "events.jsonl", *options, *outputs) == undisturbed
    assert (tmp_path / "r.jsonl").read_bytes() == (place / "rejects.jsonl").read_bytes()
    assert (tmp_path / "p.jsonl").read_bytes() == (place / "predictions.jsonl").read_bytes()


def seq_of(server):
    from streamrec.store.registry import open_store

    store = open_store(server.url)
    try:
        return store.head("killed").seq
    finally:
        store.close()


@pytest.mark.integration
@pytest.mark.slow
def test_redis_killed_and_started_again_in_the_middle(place, undisturbed, redis_server):
    options = ["--store", redis_server.url, "--name", "killed", "--config", place / "quick.toml"]
    process = subprocess.Popen(
        command(place / "events.jsonl", *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert wait_until(lambda: seq_of(redis_server) > 0 or process.poll() is not None, 60)
    redis_server.kill()
    time.sleep(0.5)
    redis_server.start()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    result = json.loads(out)
    result.pop("examples_per_s")
    assert result == undisturbed


@pytest.mark.integration
@pytest.mark.slow
def test_masters_of_a_cluster_are_killed_and_replaced_in_the_middle(place, undisturbed, redis_cluster):
    """That of the model's head, then another; neither the learner nor anybody else is told."""
    name = f"killed {time.monotonic_ns()}"
    options = ["--store", redis_cluster.url, "--name", name, "--config", place / "quick.toml"]
    process = subprocess.Popen(
        command(place / "events.jsonl", *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    keys = Keys(name)
    seen = lambda: int(redis_cluster.owner(keys.head).call("HGET", keys.head, "seq") or 0)  # noqa: E731
    head = redis_cluster.owner(keys.head)
    other = next(g for g in range(256) if redis_cluster.owner(keys.fence(g)) is not head)
    for key in (keys.head, keys.fence(other)):
        before = seen()
        assert wait_until(lambda before=before: seen() > before or process.poll() is not None, 60)
        redis_cluster.fail_over(key)
        redis_cluster.heal()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    result = json.loads(out)
    result.pop("examples_per_s")
    assert result == undisturbed


@pytest.mark.integration
def test_a_full_redis_pauses_learning_which_goes_on_when_there_is_room(place, undisturbed, redis_server):
    options = ["--store", redis_server.url, "--name", "full", "--config", place / "quick.toml"]
    client = redis_server.client()
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 150_000)
    process = subprocess.Popen(
        command(place / "events.jsonl", *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(process.stderr))
    reader.start()
    assert wait_until(lambda: any("learning is paused" in line for line in lines), 60), lines
    assert process.poll() is None
    client.config_set("maxmemory", 0)
    out = process.stdout.read()
    process.wait(60)
    reader.join()
    process.stdout.close()
    process.stderr.close()
    client.close()
    assert any("memory" in line and "paused" in line for line in lines)
    assert any("learning goes on" in line for line in lines)
    result = json.loads(out)
    result.pop("examples_per_s")
    assert result == undisturbed


def test_sigterm_commits_and_a_later_run_goes_on(place, undisturbed, tmp_path):
    options = ["--store", f"embedded:{tmp_path}/store", "--config", place / "quick.toml"]
    process = subprocess.Popen(command(place / "events.jsonl", *options), stdout=subprocess.PIPE, text=True)
    time.sleep(1.5)
    process.terminate()
    process.communicate(timeout=30)
    assert replay(place / "events.jsonl", *options) == undisturbed
    assert replay(place / "events.jsonl", *options) == undisturbed  # nothing more to learn


def test_limit_then_the_rest_is_the_whole(place, undisturbed, tmp_path):
    options = ["--store", f"embedded:{tmp_path}/store"]
    assert replay(place / "events.jsonl", *options, "--limit", 12_345)["events"] == 12_345
    assert replay(place / "events.jsonl", *options) == undisturbed
    assert replay(place / "events.jsonl", *options, "--fresh", "--limit", 0)["examples"] == 0
