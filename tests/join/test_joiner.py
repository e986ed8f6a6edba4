"""The joiner against its oracle, for every cut and after every crash."""

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from join_oracle import Event, Oracle, block_of, rows_of, stream

from streamrec.errors import SourceError, StoreMismatch
from streamrec.events.block import CLICK, EXAMPLE, IMPRESSION, ITEM, RATING
from streamrec.events.decoder import BlockDecoder
from streamrec.events.feedback import CONFIRMED
from streamrec.join import Joiner, JoinSettings
from streamrec.join.places import places_in
from streamrec.join.select import selected

CHOICES = st.builds(
    JoinSettings,
    task=st.sampled_from(["click", "rating"]),
    window_ms=st.sampled_from([0, 5, 100, 1000]),
    positive_rating=st.sampled_from([4.0, 1.0]),
    memory_events=st.sampled_from([1, 2, 3, 7, 20, 1000]),
    max_jump_ms=st.sampled_from([0, 50, 5000]),
    feedback=st.sampled_from(["wait", "early"]),
    late_ms=st.sampled_from([0, 0, 5, 300]),
    negative_rate=st.sampled_from([1.0, 1.0, 0.5, 0.01]),
    arrivals=st.booleans(),
)
STREAMS = st.builds(stream, st.integers(0, 2**32), st.integers(1, 120))


def oracle(choice: JoinSettings, *, items: bool) -> Oracle:
    its = choice.model_dump(exclude={"breaker", "breaker_ms"})  # these streams are too short for it
    return Oracle(**its, items=items)


def cut(events: list[Event], seed: int) -> list[list[Event]]:
    rng = np.random.default_rng(seed)
    size = rng.choice([1, 3, 30, 1000])
    parts, at = [], 0
    while at < len(events):
        end = at + int(rng.integers(1, size + 1))
        parts.append(events[at:end])
        at = end
    return parts


@dataclass
class Output:
    """What a joiner gave, as tuples."""

    given: list[tuple] = field(default_factory=list)
    refused: list[tuple] = field(default_factory=list)

    def add(self, joined) -> None:
        self.given += rows_of(joined.examples)
        self.refused += [refused[:4] for refused in joined.refused]


def joined(joiner: Joiner, parts: list[list[Event]], finish: bool = True) -> Output:
    out = Output()
    for part in parts:
        out.add(joiner.push(*block_of(part)))
    if finish:
        out.add(joiner.finish())
    return out


def test_lines_of_a_block_may_lie_anywhere_in_its_data():
    """As where several partitions are merged: a click's own line counts, not what lies around it."""
    clicks = [
        {"type": "click", "id": f"c{i}", "time": 100 - i, "impression": f"{'x' * (5000 if i == 1 else 1)}{i}"}
        for i in range(40)
    ]
    data = "".join(json.dumps(click) + "\n" for click in clicks).encode()
    block, _ = BlockDecoder().decode(data)
    order = np.argsort(block.time_ms)  # the last line first
    joiner = Joiner(JoinSettings(window_ms=5))
    refused = joiner.push(selected(block, order), data, places_in("p", order, 40)).refused
    refused += joiner.finish().refused
    assert sorted(r.raw for r in refused) == sorted(data.splitlines())


@settings(max_examples=150, deadline=None)
@given(STREAMS, CHOICES, st.integers(0, 2**32), st.booleans())
def test_joins_as_promised_however_the_stream_is_cut(events, choice, seed, items):
    expected = oracle(choice, items=items)
    for e in events:
        expected.push(e)
    expected.finish()
    joiner = Joiner(choice, items=items)
    out = joined(joiner, cut(events, seed))
    assert out.given == expected.given
    assert [r[2:4] for r in out.refused] == [r[1:] for r in expected.refused]
    assert all(word in r[0] for r, (word, _, _) in zip(out.refused, expected.refused, strict=True))
    counts = joiner.counts
    roles = [row[6] for row in out.given]
    learned = sum(counts[name] for name in ("positives", "negatives", "corrections", "passed"))
    own = [e for e in events if e.type == EXAMPLE]
    assert learned >= sum(role < CONFIRMED for role in roles) >= learned - len(own)
    assert counts["items"] == sum(e.type == ITEM for e in events)
    clicked = counts["positives"] + counts["corrections"]
    once = counts["positives"] + counts["negatives"] + counts["left_out"] + counts["passed"]
    assert once + counts["items"] + len(out.refused) + clicked == len(events)


def check_rebuilds(
    parts: list[list[Event]], choice: JoinSettings, finish_midway: bool = False, seed: int = 0
) -> None:
    """After a crash at every block boundary, a joiner from the checkpoint goes on as the first one did."""
    events = [e for part in parts for e in part]
    midway = len(parts) // 2 if finish_midway else -1
    items = bool(seed % 2)  # events of the catalogue, too
    undisturbed, outputs, checkpoints = Joiner(choice, items=items), [], []
    for i, part in enumerate(parts):
        outputs.append(joined(undisturbed, [part], finish=i == midway))
        checkpoints.append(json.loads(json.dumps(undisturbed.checkpoint())))
    outputs.append(joined(undisturbed, []))
    for i, checkpoint in enumerate(checkpoints):
        again = Joiner(choice, checkpoint, items=items)
        done = sum(len(part) for part in parts[: i + 1])
        replayed = [e for e in events[:done] if e.offset >= checkpoint["position"].get("p", 0)]
        silent = joined(again, cut(replayed, seed + i), finish=False)
        assert (silent.given, silent.refused) == ([], [])
        assert not again.rebuilding
        assert again.checkpoint() == checkpoint
        for j in range(i + 1, len(parts)):
            assert joined(again, [parts[j]], finish=j == midway) == outputs[j]
            assert again.checkpoint() == checkpoints[j]
        assert joined(again, []) == outputs[-1]


@settings(max_examples=60, deadline=None)
@given(STREAMS, CHOICES, st.integers(0, 2**32), st.booleans())
def test_rebuilds_its_state_after_a_crash_at_every_block_boundary(events, choice, seed, finish_midway):
    check_rebuilds(cut(events, seed), choice, finish_midway, seed)


def test_a_load_of_the_catalogue_closes_what_the_memory_no_longer_holds():
    """Items are no examples, but their number counts: what is open longer could not be rebuilt."""
    choice = JoinSettings(memory_events=4, window_ms=1000, feedback="wait")
    events = [Event(RATING, at(0), 100 + i) for i in range(17)]
    events += [Event(IMPRESSION, at(0), 1), *(Event(ITEM, at(0), 200 + i) for i in range(40))]
    for i, e in enumerate(events):
        e.line, e.offset = b"line", 5 * i
    joiner = Joiner(choice)
    joined(joiner, [[e] for e in events[:21]], finish=False)
    assert joiner.waiting == 1
    assert len(joined(joiner, [[events[21]]], finish=False).given) == 1
    assert joiner.waiting == 0
    check_rebuilds([[e] for e in events], choice)


@pytest.mark.parametrize("window_ms", [10, 1000])
def test_a_rebuild_knows_what_decided_about_the_other_half(window_ms):
    """Only who has seen the first click refuses the second, and lets the impression wait for the third.

    Generations of four events; the first 16 events make event time known. By time (10 ms) the second click
    could still be the other half of the impression that waits; by events (1000 ms) it is the last that could.
    """
    events = [Event(RATING, at(0) + (15 if i > 26 else 0), 100 + i) for i in range(33)]
    events[19] = Event(CLICK, at(0), 1, impression=9)
    events[23] = Event(CLICK, at(0), 2, impression=9)
    events[26] = Event(IMPRESSION, at(0) + 10, 9)
    events[29] = Event(CLICK, at(0) + 15, 3, impression=9)
    for i, e in enumerate(events):
        e.line, e.offset = b"line", 5 * i
    choice = JoinSettings(memory_events=4, window_ms=window_ms)
    assert (9, 1.0) in [(row[1], row[4]) for row in joined(Joiner(choice), [events]).given]
    check_rebuilds([[e] for e in events], choice)


@settings(max_examples=50, deadline=None)
@given(STREAMS, CHOICES, st.integers(0, 2**32))
def test_a_block_across_the_end_of_a_rebuild_gives_what_comes_after(events, choice, seed):
    half = len(events) // 2
    joiner = Joiner(choice)
    joined(joiner, cut(events[:half], seed), finish=False)
    checkpoint = joiner.checkpoint()
    again = Joiner(choice, checkpoint)
    rest = [e for e in events if e.offset >= checkpoint["position"].get("p", 0)]
    assert joined(again, [rest] if rest else []) == joined(joiner, cut(events[half:], seed))


def at(minutes: float) -> int:
    return 1_700_000_000_000 + round(minutes * 60_000)


def imp(key: int, minutes: float, **more) -> Event:
    return Event(IMPRESSION, at(minutes), key, line=b"impression %d" % key, **more)


def click(key: int, impression: int, minutes: float, **more) -> Event:
    return Event(CLICK, at(minutes), key, impression=impression, line=b"click %d" % key, **more)


def run(*events: Event, **choice) -> tuple[list[tuple[int, float]], list[str], Joiner]:
    offset = 0
    for e in events:
        e.offset, offset = offset, offset + len(e.line) + 1
    joiner = Joiner(JoinSettings(**{"feedback": "wait", "late_ms": 0, **choice}))
    out = joined(joiner, [list(events)])
    return [(row[1], row[4]) for row in out.given], [reason for reason, *_ in out.refused], joiner


def test_a_click_is_given_at_once_and_the_rest_at_the_end():
    given, refused, _ = run(imp(1, 0), imp(2, 1), click(9, 2, 2), imp(3, 2.5))
    assert given == [(2, 1.0), (1, 0.0), (3, 0.0)]
    assert refused == []


def test_impression_and_click_may_share_a_name():
    assert run(imp(7, 0), click(7, 7, 1))[0] == [(7, 1.0)]


def test_the_window_includes_its_end():
    assert run(imp(1, 0), click(2, 1, 10))[0] == [(1, 1.0)]
    given, refused, _ = run(imp(1, 0), click(2, 1, 10.0001))
    assert given == [(1, 0.0)]
    assert "click after the window: more than 600 s after its impression" in refused[0]


def test_a_closed_window_gives_negatives_by_time_then_arrival():
    filler = [Event(RATING, at(0), 100 + i, line=b"rating") for i in range(16)]  # event time becomes known
    late = Event(RATING, at(30), 99, line=b"rating")
    given, _, joiner = run(*filler, imp(3, 2), imp(1, 1), imp(2, 1), imp(4, 25), late)
    assert [row for row in given if row[0] < 90] == [(1, 0.0), (2, 0.0), (3, 0.0), (4, 0.0)]
    assert given.index((3, 0.0)) < given.index((99, 0.0)) < given.index((4, 0.0))
    assert joiner.counts["closed_early"] == 0


def test_every_refusal_has_its_reason():
    _, refused, joiner = run(
        imp(1, 0),
        imp(1, 0),
        click(2, 1, 1),
        click(3, 1, 1),
        click(2, 1, 1),
        click(4, 77, 1),
        Event(EXAMPLE, at(1), 5, value=2.0, line=b"example"),
    )
    assert [reason.split(":")[0] for reason in refused] == [
        "duplicate id",
        "second click for the same impression",
        "duplicate id",
        "label outside 0 to 1",
        "click without its impression",
    ]
    assert joiner.counts["duplicates"] == 2


def test_the_rating_task_takes_the_numbers():
    events = [Event(RATING, at(0), 1, value=3.5, line=b"r"), imp(2, 0), click(3, 2, 1, value=2.5), imp(4, 1)]
    assert run(*events, task="rating")[0] == [(1, 3.5), (2, 2.5), (4, 0.0)]
    assert run(*events, positive_rating=3.0)[0] == [(1, 1.0), (2, 1.0), (4, 0.0)]


def test_memory_is_bounded_by_events():
    events = [imp(i + 1, i / 1000) for i in range(1000)]
    given, _, joiner = run(*events, memory_events=10)
    assert given == [(i + 1, 0.0) for i in range(1000)]
    assert joiner.counts["closed_early"] == 990
    assert len(joiner._waiting.slots) < 10_000


def test_one_broken_clock_closes_no_window():
    wrong = Event(RATING, at(60 * 24 * 365 * 900), 98, line=b"rating")
    again = Event(RATING, wrong.time_ms, 99, line=b"rating")
    usual = [Event(RATING, at(i / 60), 100 + i, line=b"rating") for i in range(40)]
    given, refused, joiner = run(wrong, *usual[:20], imp(1, 0.5), again, click(2, 1, 2), *usual[20:])
    assert (1, 1.0) in given
    assert refused == []
    assert joiner.watermark_ms == at(2)


def test_a_confirmed_jump_moves_event_time():
    before = [Event(RATING, at(0), 100 + i, line=b"rating") for i in range(20)]
    after = [Event(RATING, at(60 * 24 * 30 + i), 200 + i, line=b"rating") for i in range(16)]
    given, _, joiner = run(*before, imp(1, 0), *after)
    assert joiner.watermark_ms == at(60 * 24 * 30)
    assert given[-2:] == [(1, 0.0), (215, 0.0)]


def test_blocks_without_joining_are_passed_on_uncopied():
    events = [Event(EXAMPLE, at(i), i + 1, value=1.0, line=b"x" * 9, offset=10 * i) for i in range(100)]
    block, data, offset = block_of(events)
    given, _ = Joiner().push(block, data, offset)
    assert given.entry_value is block.entry_value
    assert given.key is block.key


def test_ids_are_remembered_for_memory_events_and_then_forgotten():
    def ratings(keys):
        return [Event(RATING, at(0), k, line=b"r") for k in keys]

    assert len(run(*ratings([1, *range(100, 110), 1]), memory_events=11)[1]) == 1
    assert len(run(*ratings([1, *range(100, 140), 1]), memory_events=11)[1]) == 0


def test_a_checkpoint_names_an_early_generation_only_while_impressions_are_open():
    ratings = [Event(RATING, at(0), 100 + i, line=b"r", offset=2 * i) for i in range(1000)]
    joiner = Joiner(JoinSettings(memory_events=100))
    joined(joiner, [ratings], finish=False)
    assert joiner.checkpoint()["position"]["p"] == 2 * 800


def test_other_settings_are_refused():
    checkpoint = Joiner(JoinSettings(window_ms=5)).checkpoint()
    with pytest.raises(StoreMismatch, match="window_ms: the stored model has 5, got 6"):
        Joiner(JoinSettings(window_ms=6), checkpoint)


def test_a_stream_that_ends_before_the_checkpoint_is_reported():
    joiner = Joiner()
    joined(joiner, [[imp(1, 0)]], finish=False)
    with pytest.raises(SourceError, match="ends after 0 events, before the 1"):
        Joiner(checkpoint=joiner.checkpoint()).finish()
