"""What a join worker tells of itself: metrics, the line of log, the share of clicks that are found."""

import json
import logging
import urllib.request
from collections import Counter

import numpy as np
import pytest
from join_topics import Topics, events
from prometheus_client.parser import text_string_to_metric_families

from streamrec.clock import SystemClock
from streamrec.join.joiner import Joiner
from streamrec.join.tally import REFUSALS
from streamrec.join.worker.counts import Counts, kind_of, label_counts
from streamrec.join.worker.meters import Meters
from streamrec.join.worker.progress import Reporter, joined
from streamrec.join.worker.worker import JoinWorker
from streamrec.metrics import exported


class Clock(SystemClock):
    """Stands still unless it is moved."""

    s = 0.0

    def monotonic_s(self):
        return self.s


def test_every_reason_of_the_joiner_has_a_name():
    kinds = {kind_of(Joiner()._reason(code)) for code in range(1, len(REFUSALS) + 1)}
    assert len(kinds) == len(REFUSALS)
    assert "no_event" not in kinds
    assert kind_of("time: expected a number, got a string: x") == "no_event"


def test_labels_are_counted_by_their_value():
    found = label_counts(np.array([0, 1, 1, 0.5, 4], np.float32))
    assert found == {("examples", "0"): 1, ("examples", "1"): 2, ("examples", "other"): 2}
    assert label_counts(np.zeros(0, np.float32)) == {}


def test_coverage_is_that_of_the_last_minute(caplog):
    caplog.set_level(logging.INFO, "streamrec")
    clock, counts = Clock(), Counts()
    reporter = Reporter(clock, 5.0)
    assert reporter.click_coverage is None

    def report(**new):
        counts.add(
            Counter({("clicks", "found"): new.get("found", 0), ("rejected", "late_click"): new["late"]}), 0.1
        )
        clock.s += 5
        assert reporter.is_due()
        so_far = counts.so_far()
        reporter.report(joined(so_far, {}), so_far)
        assert not reporter.is_due()

    report(found=90, late=10)
    assert reporter.click_coverage == pytest.approx(0.9)
    for _ in range(60):
        report(found=0, late=10)
    assert reporter.click_coverage < 0.01
    assert "clicks found 90.0%" in caplog.text
    assert "partitions none" in caplog.text


@pytest.mark.integration
def test_metrics_agree_with_what_is_written(kafka):
    topics, meters = Topics(kafka, 2), Meters(SystemClock())
    topics.send(events(2000))
    done = JoinWorker(topics.plan(), SystemClock(), meters).run()
    with exported(meters.registry, "127.0.0.1", 0) as url, urllib.request.urlopen(url) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    found = {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}

    def value(name, *labels):
        return found.get((f"streamrec_join_{name}", *labels), 0)

    lines = [json.loads(line) for of in topics.examples().values() for line in of]
    labels = Counter(line["label"] for line in lines if line["type"] == "example")
    n_ratings = sum(line["type"] == "rating" for line in lines)
    assert value("examples_total", "0") + value("examples_total", "1") == sum(labels.values()) + n_ratings
    assert value("examples_total", "1") >= labels[1]
    kinds = Counter(kind_of(reason) for _, _, reason in topics.letters())
    assert {kind: value("rejected_total", kind) for kind in kinds} == kinds
    assert value("clicks_total", "late") == kinds["late_click"]
    assert value("clicks_total", "lone") == kinds["lone_click"]
    n_found = value("clicks_total", "found")
    assert n_found > 300
    missed = kinds["late_click"] + kinds["lone_click"]
    assert value("click_coverage") == pytest.approx(n_found / (n_found + missed), abs=0.05)
    assert value("events_total") == done.events
    assert value("transactions_total") == value("transaction_seconds_count") == done.transactions
    assert value("waiting") == 0
    assert value("partitions") == 2
    for number in range(2):
        assert value("lag_records", f"{topics.sources[0]}:{number}") == 0
        assert value("watermark_lag_seconds", str(number)) > 1e6  # of 2023
