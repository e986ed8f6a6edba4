"""What a learner tells of itself: the line of log, the metrics, and waiting at the start."""

import json
import logging
import urllib.error
import urllib.request

import numba
import pytest

from streamrec.errors import StoreUnavailable, UsageError
from streamrec.learner.exporter import LearnerCollector
from streamrec.learner.report import Report
from streamrec.learner.status import status_line, telling_status
from streamrec.metrics import exported
from streamrec.patience import patiently
from streamrec.store.base import Head
from streamrec.testing.redis_server import wait_until

NOW_MS = 1_700_000_010_000


class Clock:
    def __init__(self):
        self.s = 100.0

    def now_ms(self):
        return NOW_MS

    def monotonic_s(self):
        return self.s

    def sleep(self, seconds):
        self.s += seconds


def report(**changes):
    known = Report(
        events=1_200,
        examples=1_000,
        rejected=20,
        share=None,
        examples_per_s=50.0,
        seq=8,
        stored=Head(7, 2, NOW_MS - 2500),
        waiting=180,
        watermark_ms=NOW_MS - 4000,
        lag={"t:0": 3, "t:1": 4},
        metrics={"log_loss": 0.5, "ne": 0.9, "recent": {"log_loss": 0.4, "ne": 0.8, "auc": None}},
    )
    return known._replace(**changes)


def test_the_line_of_log_says_it_all():
    assert status_line(report(), 12_345.6, NOW_MS) == (
        "1,000 examples, 12,346/s, lag 7, recent NE 0.8000, commit 7 of 2.5 s ago, 20 dead letters, 180 waiting"
    )


def test_the_line_of_log_before_anything_is_known():
    empty = report(examples=0, stored=Head(0, 0, 0), metrics={}, lag={}, waiting=0, rejected=0)
    assert status_line(empty, 0.0, NOW_MS) == (
        "0 examples, 0/s, lag 0, commit none yet, 0 dead letters, 0 waiting"
    )


def test_a_rating_model_tells_its_error():
    rated = report(metrics={"rmse": 1.5, "recent": {"log_loss": None, "ne": None, "rmse": 1.25}})
    assert "recent RMSE 1.2500" in status_line(rated, 0.0, NOW_MS)


def test_lines_come_also_when_nothing_changes(caplog):
    caplog.set_level(logging.INFO, "streamrec")
    with telling_status(report, 0.001, Clock()):
        assert wait_until(lambda: len(caplog.messages) > 2)
    with telling_status(report, 0, Clock()):
        n = len(caplog.messages)
    assert len(caplog.messages) == n


def test_a_first_run_says_that_it_compiles(caplog):
    caplog.set_level(logging.INFO, "streamrec")
    with telling_status(report, 0.001, Clock()):
        assert numba.njit(lambda x: x + 1)(1) == 2
        assert wait_until(lambda: not caplog.messages[-1].endswith("an installation does once"))
    assert any("; compiling for this machine" in message for message in caplog.messages)


def scrape(collector):
    return {
        (
            sample.name,
            *(value for name, value in sorted(sample.labels.items()) if name != "model"),
        ): sample.value
        for metric in collector.collect()
        for sample in metric.samples
    }


def test_metrics_are_read_when_they_are_asked_for():
    clock = Clock()
    collector = LearnerCollector("m", clock)
    assert scrape(collector) == {("streamrec_learning",): 0, ("streamrec_cut_off",): 0}
    collector.watch(report)
    assert scrape(collector) == {
        ("streamrec_learning",): 1,
        ("streamrec_cut_off",): 0,
        ("streamrec_events_total",): 1_200,
        ("streamrec_examples_total",): 1_000,
        ("streamrec_rejected_total",): 20,
        ("streamrec_commits_total",): 7,
        ("streamrec_commit_age_seconds",): 2.5,
        ("streamrec_waiting_impressions",): 180,
        ("streamrec_examples_per_second",): 50,
        ("streamrec_event_time_seconds",): (NOW_MS - 4000) / 1000,
        ("streamrec_event_time_lag_seconds",): 4,
        ("streamrec_lag_records", "t:0"): 3,
        ("streamrec_lag_records", "t:1"): 4,
        ("streamrec_normalized_entropy", "whole"): 0.9,
        ("streamrec_normalized_entropy", "recent"): 0.8,
        ("streamrec_log_loss", "whole"): 0.5,
        ("streamrec_log_loss", "recent"): 0.4,
    }
    clock.s += 10
    collector.watch(lambda: report(examples=1_500))
    assert scrape(collector)["streamrec_examples_per_second",] == 50


def test_metrics_are_served_until_the_end_and_a_taken_port_is_told():
    collector = LearnerCollector("m", Clock())
    collector.watch(report)
    with exported(collector, "127.0.0.1", 0) as url:
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        assert 'streamrec_lag_records{model="m",partition="t:1"} 4.0' in text
        assert "process_resident_memory_bytes" in text
        port = int(url.split(":")[2].split("/")[0])
        with (
            pytest.raises(UsageError, match=f"--metrics-port {port}: cannot listen"),
            exported(collector, "127.0.0.1", port),
        ):
            pass


def asked(url):
    """Status and body of an answer."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal)


def test_readiness_is_asked_beside_the_metrics():
    collector = LearnerCollector("m", Clock())
    reports = [report(), report(trouble="commit 8 waits: redis://r does not answer")]
    with exported(collector, "127.0.0.1", 0, collector.unready) as metrics:
        url = metrics.removesuffix("/metrics")

        def unready():
            status, told = asked(f"{url}/readyz")
            assert status == told["status"] == 503
            return told["detail"]

        assert asked(f"{url}/healthz") == (200, {"status": "ok"})
        assert unready().startswith("starting: ")
        collector.watch(lambda: reports[0])
        assert asked(f"{url}/readyz") == (200, {"status": "ok"})
        collector.watch(lambda: reports[1])
        assert unready() == reports[1].trouble
        collector.cut_off = "learning is stopped: the prediction is nan"
        assert unready() == collector.cut_off
        assert asked(f"{url}/healthz")[0] == 200
        with urllib.request.urlopen(metrics, timeout=10) as answer:
            assert b"streamrec_cut_off" in answer.read()


def test_who_is_never_ready_or_not_has_no_readiness():
    with (
        exported(LearnerCollector("m", Clock()), "127.0.0.1", 0) as metrics,
        pytest.raises(urllib.error.HTTPError, match="404") as refusal,
    ):
        urllib.request.urlopen(metrics.replace("metrics", "readyz"), timeout=10)
    refusal.value.close()


def test_a_server_that_is_away_is_waited_for_and_told_of_now_and_then(caplog):
    clock, answers = Clock(), [StoreUnavailable("x does not answer")] * 25

    def attempt():
        if answers:
            raise answers.pop()
        return "there"

    assert patiently(attempt, 300, clock) == "there"
    assert caplog.messages == ["waiting: x does not answer"] * 3
    answers = [StoreUnavailable("x does not answer")] * 25
    with pytest.raises(StoreUnavailable, match="gave up after 10 s"):
        patiently(attempt, 10, clock)
