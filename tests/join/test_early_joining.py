"""Impressions given before their label is known: early negatives, late clicks, sampling, arrivals."""

import numpy as np
import pytest
from join_oracle import Event, block_of, rows_of
from test_joiner import at, check_rebuilds, click, imp, joined

from streamrec.events.block import EXAMPLE, RATING
from streamrec.events.feedback import ARRIVAL, CONFIRMED, CORRECTION, EARLY, FINAL
from streamrec.join import Joiner, JoinSettings

#: Event time is known after 16 events.
FILLER = [Event(RATING, at(0), 1000 + i, line=b"rating") for i in range(16)]


def run(*events: Event, **choice) -> tuple[list[tuple[int, float, int]], list[str], Joiner]:
    """(impression, label, role) of what was given, without the filler."""
    offset = 0
    for e in (*FILLER, *events):
        e.offset, offset = offset, offset + len(e.line) + 1
    joiner = Joiner(JoinSettings(**{"late_ms": 0, **choice}))
    out = joined(joiner, [[*FILLER, *events]])
    given = [(row[1], row[4], row[6]) for row in out.given if row[1] < 1000]
    return given, [reason for reason, *_ in out.refused], joiner


def tick(minutes: float) -> Event:
    return Event(RATING, at(minutes), 2000 + round(minutes * 100), line=b"rating")


def test_an_impression_is_a_negative_at_once_until_its_click_corrects_it():
    given, refused, joiner = run(imp(1, 0), imp(2, 1), click(9, 2, 2), imp(3, 2.5), tick(11))
    assert given == [
        (1, 0.0, EARLY),
        (2, 0.0, EARLY),
        (2, 1.0, CORRECTION),
        (3, 0.0, EARLY),
        (1, 0.0, CONFIRMED),  # by event time
        (3, 0.0, CONFIRMED),  # by the end of the stream
    ]
    assert refused == []
    counts = joiner.counts
    assert (counts["negatives"], counts["corrections"], counts["confirmed"], counts["positives"]) == (
        3,
        1,
        2,
        0,
    )


def test_a_click_that_was_here_first_needs_no_correction():
    assert run(click(9, 1, 0), imp(1, 0))[0] == [(1, 1.0, FINAL)]


@pytest.mark.parametrize("feedback", ["wait", "early"])
def test_late_clicks_correct_until_the_end_of_the_longer_time(feedback):
    events = [imp(1, 0), imp(2, 0), tick(12), click(8, 1, 15), click(9, 2, 15.1)]
    given, refused, _ = run(*events, feedback=feedback, late_ms=300_000)
    assert given == [(1, 0.0, EARLY), (2, 0.0, EARLY), (1, 1.0, CORRECTION), (2, 0.0, CONFIRMED)]
    assert "click after the window: more than 900 s after its impression" in refused[0]


def test_waiting_gives_a_negative_when_the_window_is_over_and_not_before():
    given, _, joiner = run(imp(1, 0), click(8, 1, 9), imp(2, 0), feedback="wait", late_ms=300_000)
    assert given == [(1, 1.0, FINAL), (2, 0.0, FINAL)]  # at the stream's end nothing comes late
    assert joiner.counts["confirmed"] == 0


def test_an_impression_that_comes_after_its_window_still_waits_for_a_late_click():
    for feedback in ("wait", "early"):
        given, _, _ = run(
            tick(11), imp(1, 0), imp(2, -5), click(9, 1, 12), feedback=feedback, late_ms=300_000
        )
        assert given == [(1, 0.0, EARLY), (2, 0.0, FINAL), (1, 1.0, CORRECTION)]


def test_where_labels_are_numbers_joining_waits():
    events = [imp(1, 0), click(9, 1, 1, value=2.5), imp(2, 1)]
    assert run(*events, task="rating", feedback="early")[0] == [(1, 2.5, FINAL), (2, 0.0, FINAL)]


def test_events_beyond_memory_confirm_what_was_early():
    given, _, joiner = run(*(imp(i + 1, i / 1000) for i in range(100)), memory_events=10)
    assert given.index((1, 0.0, CONFIRMED)) < given.index((12, 0.0, EARLY))
    assert joiner.counts["closed_early"] == 90


def test_a_sample_of_the_negatives_stands_for_all():
    events = [imp(i + 1, i / 10_000) for i in range(4000)]
    events += [click(5000 + i, i + 1, 1) for i in range(0, 4000, 8)]
    kept = {}
    for feedback in ("wait", "early"):
        choice = JoinSettings(feedback=feedback, negative_rate=0.25, late_ms=0, memory_events=10**6)
        rows = joined(Joiner(choice), [FILLER + events]).given[16:]
        negatives = {row[1]: row[5] for row in rows if row[4] == 0.0 and row[6] in (FINAL, EARLY)}
        positives = [row[5] for row in rows if row[4] == 1.0]
        assert set(negatives.values()) == {4.0}
        assert positives == [1.0] * 500
        kept[feedback] = set(negatives)
    shown, unclicked = set(range(1, 4001)), set(range(1, 4001)) - set(range(1, 4001, 8))
    assert kept["wait"] == kept["early"] & unclicked  # the same ones, whatever becomes of them
    assert len(kept["early"]) == pytest.approx(0.25 * len(shown), rel=0.1)


def test_every_arrival_is_given_and_confirmed_where_its_negative_is_left_out():
    for feedback in ("wait", "early"):
        events = [imp(1, 0), imp(2, 0), click(9, 2, 1), tick(11)]
        given, _, _ = run(*events, feedback=feedback, negative_rate=1e-6, arrivals=True)
        last = CORRECTION if feedback == "early" else FINAL
        assert given == [(1, 0.0, ARRIVAL), (2, 0.0, ARRIVAL), (2, 1.0, last), (1, 0.0, CONFIRMED)]


def test_examples_keep_the_role_that_they_came_with_and_name_their_impression():
    events = [Event(EXAMPLE, at(0), 70 + role, role=role, value=role == CORRECTION) for role in range(5)]
    for role, e in enumerate(events):
        e.line, e.offset, e.impression = b"x", 2 * role, 7 if role >= CORRECTION else 0
    given = rows_of(Joiner().push(*block_of(events)).examples)
    assert [(row[1], row[6]) for row in given] == [(70, 0), (71, 1), (7, 2), (7, 3), (7, 4)]


@pytest.mark.parametrize("feedback", ["early", "wait"])
def test_a_rebuild_knows_what_decided_about_an_impression_that_waits_for_late_clicks(feedback):
    """Generations of 20 events: one with an impression and its click, one with it once more, one with a click.

    Event time is then windows past it all. Who has not seen the first generation takes the impression for new,
    and its second click for a late one that corrects it.
    """
    events = [Event(RATING, at(0) + 100 * max(0, i - 20), 100 + i) for i in range(60)]
    events[17], events[18], events[25] = imp(9, 0), click(1, 9, 0), imp(9, 0)
    events[43] = click(2, 9, 2000 / 60_000)
    for i, e in enumerate(events):
        e.line, e.offset = b"line", 5 * i
    choice = JoinSettings(memory_events=20, window_ms=300, late_ms=10_000, feedback=feedback)
    out = joined(Joiner(choice), [events])
    assert [row[4] for row in out.given if row[1] == 9][-1] == 1.0
    assert [reason.split(":")[0] for reason, *_ in out.refused] == ["duplicate id", "click after the window"]
    check_rebuilds([[e] for e in events], choice)


def test_weights_of_the_sample_multiply_those_of_the_events():
    e = imp(1, 0, weight=3.0)
    choice = JoinSettings(negative_rate=0.3, late_ms=0)
    keys = [k for k in range(1, 50) if _kept(k, choice)]
    e.key = keys[0]
    (row,) = [row for row in joined(Joiner(choice), [[e]]).given if row[6] == EARLY]
    assert row[5] == np.float32(10.0)


def _kept(key: int, choice: JoinSettings) -> bool:
    e = imp(1, 0)
    e.key = key
    return len(joined(Joiner(choice), [[e]]).given) > 0
