"""What a reader of the store sees: every weight that matters, and none that L1 zeroed or that expired."""

import json
import random
import zlib

import numpy as np
import pytest

from streamrec.clock import SystemClock
from streamrec.learner.settings import LearnerSettings
from streamrec.learner.start import Plan, start
from streamrec.models.settings import ModelSettings
from streamrec.store.registry import open_store
from streamrec.transport.registry import open_source

HOUR = 3_600_000


def write_stream(path, n, first=0):
    """Frequent and rare sites; every sixth hour another handful of them."""
    rng = random.Random(first)
    with path.open("w") as file:
        for i in range(first, first + n):
            site = (
                f"s{(i // 600) * 10 + rng.randrange(20)}"
                if rng.random() < 0.8
                else f"rare{rng.randrange(10**6)}"
            )
            event = {"type": "example", "id": f"e{i}", "time": 1_700_000_000_000 + i * HOUR // 100}
            event |= {
                "label": int(zlib.crc32(site.encode()) % 3 == 0 or rng.random() < 0.2),
                "features": {"site": site},
            }
            file.write(json.dumps(event) + "\n")
    return path


def learn(store, path, seq_before=0, **model):
    plan = Plan(
        name="served",
        model=ModelSettings(kind="ftrl", **model),
        learner=LearnerSettings(commit_interval_s=0.001),
    )
    source = open_source(str(path), chunk_bytes=20_000)
    started = start(plan, source, store, SystemClock())
    started.learner.run()
    pipeline = started.parts.pipeline
    started.parts.close()
    source.close()
    assert store.head("served").seq > seq_before + 3
    return pipeline


def served(store, shadow=False):
    rows = {}
    for table, changed in store.load("served", shadow=shadow).pieces:
        for identity in changed.deleted.tolist():
            rows.pop((table, identity), None)
        for identity, row, hidden in zip(
            changed.ids.tolist(), changed.rows.tolist(), changed.shadow.tolist(), strict=True
        ):
            rows[table, identity] = row
            if hidden and not shadow:
                del rows[table, identity]
    return rows


def content(pipeline, only_live):
    rows = {}
    for name, table in pipeline.tables.items():
        for ids, values in table.pieces():
            keep = ~pipeline.model.shadow(name, values) if only_live else np.ones(len(ids), np.bool_)
            for identity, row in zip(ids[keep].tolist(), values[keep].tolist(), strict=True):
                rows[name, identity] = row
    return rows


@pytest.mark.integration
@pytest.mark.parametrize("where", ["memory:served-copy", "redis"])
def test_zeroed_and_expired_rows_are_gone_from_the_served_copy(where, tmp_path, redis_url):
    store = open_store(redis_url if where == "redis" else where)
    try:
        store.acquire("served", fresh=True).close()
        model = {"ftrl": {"l1": 1.0}, "expire_after_s": 24 * 3600}
        pipeline = learn(store, write_stream(tmp_path / "day1.jsonl", 6_000), **model)
        assert served(store) == content(pipeline, only_live=True)
        assert served(store, shadow=True) == content(pipeline, only_live=False)
        day1, hidden = served(store), served(store, shadow=True).keys() - served(store).keys()
        assert len(day1) > 10
        assert len(hidden) > 100  # rare sites stay inside the L1 ball

        seq = store.head("served").seq
        pipeline = learn(store, write_stream(tmp_path / "day2.jsonl", 6_000, first=6_000), seq, **model)
        assert served(store) == content(pipeline, only_live=True)
        assert served(store, shadow=True) == content(pipeline, only_live=False)
        assert len(day1.keys() - served(store, shadow=True).keys()) > 10  # expired since
    finally:
        store.close()


@pytest.mark.integration
def test_the_older_of_two_learners_is_refused_in_one_clear_line(redis_server, tmp_path):
    import subprocess
    import sys
    import time

    lines = write_stream(tmp_path / "events.jsonl", 20_000).read_bytes().splitlines(keepends=True)
    config = tmp_path / "quick.toml"
    config.write_text("[learner]\ncommit_interval_s = 0.01\n")
    command = [
        sys.executable,
        "-m",
        "streamrec",
        "replay",
        "-",
        "--store",
        redis_server.url,
        "--config",
        str(config),
    ]
    store = open_store(redis_server.url)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as older:
        at, deadline = 0, time.monotonic() + 60
        while store.head("default").seq == 0 and time.monotonic() < deadline and at < 15_000:
            older.stdin.write(b"".join(lines[at : at + 500]))
            older.stdin.flush()
            at += 500
            time.sleep(0.1)
        before = store.head("default").seq
        assert before > 0
        newer = store.acquire("default")
        try:
            older.stdin.write(b"".join(lines[at:]))
            older.stdin.close()
        except BrokenPipeError:
            pass
        assert older.wait(60) == 1
        message = older.stderr.read().decode()
    assert "newer learner" in message
    assert "Traceback" not in message
    assert store.head("default").epoch == newer.epoch
    newer.close()
    store.close()
