"""Clicks that stop: nothing becomes a negative for want of a click stream, and joining goes on by itself."""

import json

import pytest
from join_oracle import Event, block_of

from streamrec.events.block import CLICK, IMPRESSION
from streamrec.events.feedback import CONFIRMED, CORRECTION, EARLY, FINAL
from streamrec.join import Joiner, JoinSettings

WINDOW_MS = 1000
STEP_MS = 10  # between two impressions; every fifth is clicked 20 ms later
SETTINGS = JoinSettings(window_ms=WINDOW_MS, late_ms=0, feedback="wait", breaker=10.0, breaker_ms=0)


def impression(i):
    return Event(IMPRESSION, i * STEP_MS, i + 1)


def click(i):
    return Event(CLICK, i * STEP_MS + 20, 10**6 + i, impression=i + 1)


def is_clicked(i):
    return i % 5 == 0


def stream(n, dead=range(0), delivered_at=None):
    """n impressions and their clicks; those of the impressions in `dead` come at `delivered_at`, or never."""
    events = []
    for i in range(n):
        events.append(impression(i))
        if i == delivered_at:
            events += [click(k) for k in dead if is_clicked(k)]
        if i >= 2 and is_clicked(i - 2) and i - 2 not in dead:
            events.append(click(i - 2))
    for at, event in enumerate(events):
        event.line, event.offset = b"line", 5 * at
    return events


def joined(joiner, events, size=7):
    """(impression, label, role) of what was given, impressions refused, whether it was silent at some time."""
    given, refused, silent = [], [], False
    for at in range(0, len(events), size):
        step = joiner.push(*block_of(events[at : at + size]))
        x = step.examples
        given += zip((x.key - 1).tolist(), x.labels.tolist(), x.role.tolist(), strict=True)
        refused += [letter for letter in step.refused if letter.reason.startswith("impression without")]
        silent = silent or joiner.silent
    return given, refused, silent


def labels(given):
    return {i: label for i, label, role in given if role != CONFIRMED}


def test_while_clicks_come_it_does_nothing():
    events = stream(3000)
    given, refused, silent = joined(Joiner(SETTINGS), events)
    off = joined(Joiner(SETTINGS.model_copy(update={"breaker": 0.0})), events)
    assert (given, refused, silent) == (*off[:2], False)


def test_clicks_that_come_late_in_their_order_label_as_if_they_had_not_stopped():
    dead = range(1000, 2000)
    events = stream(3000, dead, delivered_at=2000)
    joiner = Joiner(SETTINGS)
    given, refused, silent = joined(joiner, events)
    assert silent
    assert not joiner.silent
    assert refused == []
    assert labels(given) == {i: float(is_clicked(i)) for i in labels(given)}
    assert len(labels(given)) > 2800
    without, _, _ = joined(Joiner(SETTINGS.model_copy(update={"breaker": 0.0})), events)
    assert sum(labels(without)[i] != is_clicked(i) for i in dead) > 100  # what it is there for


def test_what_waited_while_clicks_were_lost_is_refused_and_never_a_negative():
    dead = range(1000, 2000)
    given, refused, silent = joined(Joiner(SETTINGS), stream(3000, dead))
    assert silent
    wrong = [i for i, label in labels(given).items() if label != is_clicked(i)]
    # before the silence was noticed, and within a window of the first click that came again
    assert all(i < 1060 or i > 1890 for i in wrong)
    assert len(wrong) < 45
    assert {letter.offset for letter in refused} <= {
        e.offset for e in stream(3000, dead) if e.type == IMPRESSION
    }
    assert len(refused) > 750
    assert len(refused) + len(labels(given)) > 2850


def test_a_moment_without_clicks_is_no_silence_however_many_were_to_be_expected():
    settings = SETTINGS.model_copy(update={"breaker_ms": 1000})  # of 10 clicks in 500 ms
    for end, silent in ((1090, False), (1130, True)):
        assert joined(Joiner(settings), stream(end, range(1000, end)))[2] == silent
        assert joined(Joiner(SETTINGS), stream(end, range(1000, end)))[2]


def test_memory_is_bounded_while_it_holds_back():
    settings = SETTINGS.model_copy(update={"memory_events": 300})
    joiner = Joiner(settings)
    events = stream(3000, range(1000, 3000))
    given, refused, _ = joined(joiner, events)
    assert joiner.silent
    assert joiner.waiting <= 301
    assert len(refused) > 1400
    assert all(label == is_clicked(i) or i < 1070 for i, label in labels(given).items())


def test_early_negatives_stop_too():
    settings = SETTINGS.model_copy(update={"feedback": "early"})
    given, _, silent = joined(Joiner(settings), stream(3000, range(1000, 2000), delivered_at=2000))
    assert silent
    early = [i for i, _, role in given if role == EARLY]
    assert not [i for i in early if 1100 < i < 1990]
    final = {i: label for i, label, role in given if role in (FINAL, CORRECTION)}
    assert all(final[i] == is_clicked(i) for i in range(1100, 2000))


@pytest.mark.parametrize("feedback", ["wait", "early"])
@pytest.mark.parametrize("delivered_at", [2000, None])
def test_a_crash_anywhere_changes_nothing(feedback, delivered_at):
    settings = SETTINGS.model_copy(update={"feedback": feedback, "memory_events": 500})
    events = stream(2600, range(1000, 2000), delivered_at)
    parts = [events[at : at + 100] for at in range(0, len(events), 100)]
    joiner, outputs, checkpoints = Joiner(settings), [], []
    for part in parts:
        outputs.append(joined(joiner, part)[:2])
        checkpoints.append(json.loads(json.dumps(joiner.checkpoint())))
    for crashed_after in range(0, len(parts) - 1, 3):
        checkpoint = checkpoints[crashed_after]
        again = Joiner(settings, checkpoint)
        done = sum(map(len, parts[: crashed_after + 1]))
        replayed = [e for e in events[:done] if e.offset >= checkpoint["position"].get("p", 0)]
        assert joined(again, replayed, 33)[:2] == ([], [])
        for part, output, after in zip(
            parts[crashed_after + 1 :],
            outputs[crashed_after + 1 :],
            checkpoints[crashed_after + 1 :],
            strict=True,
        ):
            assert joined(again, part)[:2] == output
            assert again.checkpoint() == after
