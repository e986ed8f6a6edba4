"""Sending a stream into a sink in memory: what is sent, how fast, what is acknowledged when it ends early."""

import json
import threading
import time

import pytest

from streamrec.cli.send import loop as module
from streamrec.cli.send.loop import Batch, Plan, Sender, batches
from streamrec.errors import BrokerUnavailable, Unacknowledged
from streamrec.events.key import LineKeys
from streamrec.testing.redis_server import wait_until
from streamrec.transport import open_source

BAD = b"{nonsense"


def click(i):
    return json.dumps({"type": "click", "id": f"c{i}", "time": i, "impression": f"i{i % 3}"}).encode()


class MemorySink:
    def __init__(self):
        self.largest_bytes = 1000
        self.sent = []
        self.n_flushed = 0
        self.fault = None
        self.times = []

    def write(self, lines, keys):
        self.sent += zip(keys, lines, strict=True)
        self.times += [time.monotonic()] * len(lines)

    def flush(self, timeout_s):
        if (fault := self.fault) is not None:
            time.sleep(0.001)
            raise fault
        self.n_flushed = len(self.sent)

    def close(self): ...


@pytest.fixture
def sink():
    return MemorySink()


@pytest.fixture
def stream(tmp_path):
    """Ten clicks, of which the line after the fifth is no event, among blank lines."""
    lines = [click(i) for i in range(10)]
    lines[5:5] = [b"", BAD, b" \t"]
    (tmp_path / "s.jsonl").write_bytes(b"\n".join(lines))
    return str(tmp_path / "s.jsonl")


def send(stream, sink, plan=Plan(), **limits):  # noqa: B008
    told = []
    sender = Sender(sink, plan, told.append, lambda *_: None)
    source = open_source(stream, **limits)
    try:
        sender.run(batches(source))
    finally:
        source.close()
    return sender, told


EVERYTHING = [(f"i{i % 3}".encode(), click(i)) for i in range(10)]
EVERYTHING[5:5] = [(None, BAD)]


@pytest.mark.parametrize("chunk_bytes", [1, 1 << 20])
def test_every_line_is_sent_as_it_is_with_its_key(stream, sink, chunk_bytes):
    sender, told = send(stream, sink, chunk_bytes=chunk_bytes)
    assert sink.sent == EVERYTHING
    assert (sender.records, sender.acknowledged, sender.left_out, told) == (11, 11, 0, [])
    assert sender.bytes == sum(len(line) for _, line in EVERYTHING)


@pytest.mark.parametrize("n_lines", [1, 2, 3, 20])
@pytest.mark.parametrize("skip", [0, 1, 6, 11, 20])
@pytest.mark.parametrize("limit", [None, 0, 1, 4, 99])
def test_skip_and_limit(sink, n_lines, skip, limit):
    """However many lines come at a time."""
    lines, keys = [line for _, line in EVERYTHING], LineKeys()
    stream = [
        Batch(keys.split(b"\n".join(lines[at : at + n_lines])), [], None)
        for at in range(0, len(lines), n_lines)
    ]
    sender = Sender(sink, Plan(skip, limit), print, lambda *_: None)
    sender.run(iter([None, *stream]))
    expected = EVERYTHING[skip:][:limit]
    assert sink.sent == expected
    assert sender.acknowledged == len(expected)


def test_what_no_record_can_hold_is_told_and_counted(tmp_path, sink):
    lines = [click(0), b'"' + b"x" * 1500 + b'"', click(1), b"y" * 5000, click(2)]
    (tmp_path / "s").write_bytes(b"\n".join(lines))
    sender, told = send(str(tmp_path / "s"), sink, Plan(skip=1), max_line_bytes=2000)
    assert [line for _, line in sink.sent] == [click(1), click(2)]
    assert (sender.records, sender.left_out) == (2, 2)
    assert any("1,502 bytes with its key: a record has at most 1,000: not sent" in line for line in told)
    assert any("line of 5,000 bytes is longer than 2,000: not sent" in line for line in told)


def test_the_key_counts_too(tmp_path, sink):
    lines = [
        json.dumps({"type": "click", "id": "c", "time": 1, "impression": "i" * n}).encode()
        for n in (400, 600)
    ]
    (tmp_path / "s").write_bytes(b"\n".join(lines))
    sender, _ = send(str(tmp_path / "s"), sink)
    assert ([len(key) for key, _ in sink.sent], sender.left_out) == ([400], 1)


def test_a_rate_is_never_exceeded(stream, sink):
    sender, _ = send(stream, sink, Plan(rate=100))
    assert sink.sent == EVERYTHING
    begun_s = sender._begun_s
    assert all(i / 100 <= at_s - begun_s + 1e-6 for i, at_s in enumerate(sink.times))


def test_a_stall_is_not_made_up_for_by_a_burst(tmp_path, sink, monkeypatch):
    """Beyond one second's worth (here: nothing, by a clock of the test's own)."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "_CHECK_S", 0.0)
    sender = Sender(sink, Plan(rate=10), print, lambda *_: None)
    monkeypatch.setattr(sender._stopping, "wait", lambda wait_s: now.__setitem__(0, now[0] + wait_s + 0.001))
    (tmp_path / "s").write_bytes(b"\n".join(click(i) for i in range(20)))
    flush = sink.flush

    def stall(timeout_s):
        if len(sink.sent) == 5 and now[0] < 100:
            now[0] += 100
        flush(timeout_s)

    sink.flush = stall
    source = open_source(str(tmp_path / "s"))
    sender.run(batches(source))
    source.close()
    gaps = [b - a for a, b in zip(sink.times, sink.times[1:], strict=False)]
    assert len(gaps) == 19
    assert sum(gap > 50 for gap in gaps) == 1
    assert sum(gap < 0.099 for gap in gaps) <= 1


def test_stopping_waits_for_what_was_sent_only(stream, sink):
    sender = Sender(sink, Plan(rate=20), print, lambda *_: None)
    source = open_source(stream)
    thread = threading.Thread(target=sender.run, args=(batches(source),))
    thread.start()
    assert wait_until(lambda: len(sink.sent) >= 2)
    sender.stop()
    thread.join(10)
    assert sender.stopped
    assert sink.sent == EVERYTHING[: len(sink.sent)]
    assert 2 <= sender.records == sender.acknowledged == sink.n_flushed < 11
    source.close()


def test_an_error_tells_how_many_are_certain(stream, sink, monkeypatch):
    monkeypatch.setattr(module, "_CHECK_S", 0.0)
    monkeypatch.setattr(module, "_SLICE", 2)
    sender = Sender(sink, Plan(), print, lambda *_: watched.append(sink.n_flushed))
    watched = []

    def write(lines, keys):
        if len(sink.sent) == 6:
            sink.fault = BrokerUnavailable("away for too long")
        MemorySink.write(sink, lines, keys)

    sink.write = write
    source = open_source(stream)
    with pytest.raises(BrokerUnavailable, match="away for too long"):
        sender.run(batches(source))
    source.close()
    assert (sender.records, sender.acknowledged) == (8, 6)
    assert watched == [2, 4, 6]


def test_a_broker_that_restarts_is_waited_for(stream, sink):
    sink.fault = Unacknowledged("not yet")
    sender = Sender(sink, Plan(), print, lambda *_: None)
    source = open_source(stream)
    thread = threading.Thread(target=sender.run, args=(batches(source),))
    thread.start()
    assert wait_until(lambda: sender.records == 11)
    assert (sender.acknowledged, thread.is_alive()) == (0, True)
    sink.fault = None
    thread.join(10)
    assert sender.acknowledged == 11
    source.close()


def test_a_broker_that_is_away_is_not_waited_for_when_told_to_stop(stream, sink, monkeypatch):
    monkeypatch.setattr(module, "_STOP_S", 0.05)
    sink.fault = Unacknowledged("not yet")
    sender = Sender(sink, Plan(), print, lambda *_: None)
    source = open_source(stream)
    threading.Timer(0.1, sender.stop).start()
    with pytest.raises(Unacknowledged, match="no answer about 11 records for"):
        sender.run(batches(source))
    source.close()
    assert (sender.records, sender.acknowledged) == (11, 0)
