"""What `record` writes replays to what was learned: also where partitions came late, and records are no lines."""

import json
import threading
import uuid

import pytest
from topics import events, examples, run, send

from streamrec.clock import SystemClock
from streamrec.join.settings import JoinSettings
from streamrec.learner.settings import LearnerSettings
from streamrec.learner.start import Plan, start
from streamrec.models.settings import ModelSettings
from streamrec.store.registry import open_store
from streamrec.testing.redis_server import wait_until
from streamrec.transport import open_source

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

IMPATIENT = """
[model]
kind = "ftrl"
[join]
window_ms = 2000
late_ms = 1000
[learner]
commit_interval_s = 0.03
partition_wait_s = 0.02
"""


def late(records, seed=0):
    """Partition by key's number; partition 2 comes in bursts, long after the others: turns will be taken."""
    early, held = [], []
    for key, line in records:
        partition = int("".join(filter(str.isdigit, key)) or 0) % 3
        (held if partition == 2 else early).append((key, line, partition))
    yield early[:1400]  # features are inferred from their impressions
    step = max(1, len(early) // 6)
    for at in range(1400, len(early), step):
        yield early[at : at + step]
        if (at - 1400) // step % 2:
            n = len(held) // 3 + 1
            yield held[:n]
            held = held[n:]
    yield held


def learned_live(url, store_url, name, batches):
    """Learn while the batches come, each once the one before is learned; then the rest as `--until-end` does."""
    plan = Plan(
        name=name,
        model=ModelSettings(kind="ftrl"),
        join=JoinSettings(window_ms=2000, late_ms=1000),
        learner=LearnerSettings(commit_interval_s=0.03, partition_wait_s=0.02),
    )
    store = open_store(store_url)
    n, first = 0, next(batches)
    n += len(send(url, first))
    source = open_source(url, live=True)
    started = start(plan, source, store, SystemClock())
    learner = started.learner
    thread = threading.Thread(target=learner.run)
    thread.start()
    try:
        for batch in batches:
            assert wait_until(lambda n=n: learner.report().events == n, 60)
            n += len(send(url, batch))
        assert wait_until(lambda: learner.report().events == n, 60)
    finally:
        learner.stop(60)
        thread.join()
        turns = started.parts.order.turns(source.stream)
        started.parts.close()
        source.close()
        store.close()
    return n, turns


@pytest.mark.parametrize("kind", [events, examples])
def test_a_live_learner_whose_partitions_came_late_is_replayed(topic, store_of, settings, tmp_path, kind):
    url, _ = topic(3)
    _, store_url, _, name = store_of
    config = settings(IMPATIENT)
    n, turns = learned_live(url, store_url, name, late(kind(4000)))
    assert sum(not turn.waited_for for turn in turns) > 1, "no partition was late: this test shows nothing"
    learned = run("learn", url, *store_of, *config, "--rejects", "none", "--until-end", "--json")
    assert learned["events"] == n
    file = tmp_path / "recorded.jsonl.gz"
    told = run("record", url, *store_of, "-o", file, "--json")
    assert told["records"] == n
    assert run("replay", file, *config, "--json") == learned
    # in time's own order it would be another stream
    run("record", url, "-o", tmp_path / "other.jsonl", "--partition-wait", 60, "--json")
    assert (
        run("replay", tmp_path / "other.jsonl", *config, "--json")["state_sha256"] != learned["state_sha256"]
    )


def test_turns_of_the_records_that_features_were_inferred_from_outlive_a_first_commit(
    topic, store_of, settings, tmp_path
):
    """It comes before anything is learned, so that dead letters have a mark; then the learner is gone."""
    batches = late(events(4000))
    url, _ = topic(3, next(batches))
    plan = Plan(
        name=store_of[-1],
        model=ModelSettings(kind="ftrl"),
        join=JoinSettings(window_ms=2000, late_ms=1000),
        learner=LearnerSettings(partition_wait_s=0.02),
        rejects=f"{url}.rejects",
    )
    store, source = open_store(store_of[1]), open_source(url, live=True)
    started = start(plan, source, store, SystemClock())
    assert started.learner.run(limit=0).stored.seq == 2
    assert [turn.waited_for for turn in started.parts.order.turns(source.stream)][:4] == [
        True,
        True,
        True,
        False,
    ]
    started.parts.close()
    source.close()
    store.close()
    for batch in batches:
        send(url, batch)
    learned = run("learn", url, *store_of, *settings(), "--until-end", "--json")
    run("record", url, *store_of, "-o", tmp_path / "recorded.jsonl", "--json")
    assert run("replay", tmp_path / "recorded.jsonl", *settings(), "--json") == learned


def test_records_that_are_no_lines_are_refused_again(topic, store_of, settings, tmp_path):
    valid = next(line for _, line in examples(1))
    odd = [
        ("null", None),
        ("empty", b""),
        ("newlines", b"{\n\n"),
        ("within", valid.replace(",", ",\n").replace("e0", "e0.1").encode()),
        ("long", b"x" * 1_000_000 + b"\n" * 20_000),
        ("nul", b"\0\r\n"),
        ("bom", b"\xef\xbb\xbf" + valid.replace("e0", "e0.2").encode()),
    ]
    url, _ = topic(1, [*examples(1200), *odd, *examples(100, 1200)])
    learned = run("learn", url, *store_of, *settings(), "--until-end", "--json")
    run("record", url, "-o", tmp_path / "recorded.jsonl.zst", "--json")
    assert run("replay", tmp_path / "recorded.jsonl.zst", *settings(), "--json") == learned
    run("record", url, *store_of, "-o", tmp_path / "learned.jsonl.zst", "--json")
    assert (tmp_path / "learned.jsonl.zst").read_bytes() == (tmp_path / "recorded.jsonl.zst").read_bytes()


def test_a_record_that_is_too_long_is_too_long_again():
    from streamrec.events.decoder import BlockDecoder
    from streamrec.join.decode import decode_chunk
    from streamrec.learner.recording import _lines
    from streamrec.transport.base import Chunk, Damage

    valid = json.dumps(
        {"type": "rating", "id": "a", "time": 1, "user": "u", "item": "i", "rating": 1, "features": {}}
    )
    raw = valid.encode().ljust(1000)  # what was cut off are blanks: what is left would be valid
    chunk = Chunk("p", 0, valid.encode() + b"\n", (Damage("too long", "p", 1, raw),), 2)
    first, second = _lines(decode_chunk(chunk, BlockDecoder()), 1000)
    assert first == valid.encode() + b"\n"
    assert len(second) == 1002


def test_a_model_that_learned_something_else_is_one_clear_line(topic, store_of, settings):
    url, _ = topic(1, examples(1100))
    other, _ = topic(1, examples(10))
    assert "no model" in run("record", url, *store_of, "-o", "/dev/null", code=1)
    run("learn", url, *store_of, *settings(), "--until-end", "--json")
    assert "has not learned" in run("record", other, *store_of, "-o", "/dev/null", code=1)
    assert "recorded already" in run("record", __file__, "-o", "/dev/null", code=2)
    assert "--json needs -o" in run("record", url, "--json", code=2)


def test_nothing_is_left_of_a_recording_that_failed(kafka, tmp_path):
    missing = f"kafka://{kafka}/{uuid.uuid4().hex}"
    run("record", missing, "-o", tmp_path / "r.jsonl", code=1)
    assert list(tmp_path.iterdir()) == []
