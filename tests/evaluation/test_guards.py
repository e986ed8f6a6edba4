"""Drift alarms and the cut-off: found where planted, silent where nothing changes, the same however cut."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.errors import StoreMismatch
from streamrec.evaluation.blocks import COUNT, LABEL, LOSS, PREDICTION, WEIGHT, Blocks, Outcomes
from streamrec.evaluation.drift import Series
from streamrec.evaluation.guard_settings import GuardSettings
from streamrec.evaluation.guards import Alarm, Guards, Measured

N = 40_000
#: Of planted faults: behind it everything is different.
AT = 25_123


def stream(seed: int, n: int = N) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions that are right, their labels and weights."""
    rng = np.random.default_rng(seed)
    p = (1 / (1 + np.exp(2 - 1.5 * rng.standard_normal(n)))).astype(np.float32)
    return p, (rng.random(n) < p).astype(np.float32), np.ones(n, np.float32)


def counted(columns) -> Outcomes:
    return Outcomes(*columns, np.ones(len(columns[0]), np.float32))


def seen(guards: Guards, columns, slots: np.ndarray | None = None, step: int = 5000) -> list[Alarm]:
    found: list[Alarm] = []
    for start in range(0, len(columns[0]), step):
        part = counted(tuple(column[start : start + step] for column in columns))
        slices = None if slots is None else (np.arange(len(part[0])), slots[start : start + step])
        found += guards.update(Measured(part, slices, lambda number: f"v{number}"))
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("block", [500, 1000])
def test_nothing_is_said_of_a_stream_that_stays_as_it_is(seed: int, block: int) -> None:
    guards = Guards(GuardSettings(block=block))
    assert seen(guards, stream(seed)) == []
    assert guards.trouble == ""


def faults(name: str, seed: int):
    p, y, w = stream(seed)
    lost = np.random.default_rng(99).random(N) < 0.4
    later = np.arange(N) >= AT
    y[later] = {"labels are lost": y * ~lost, "labels are flipped": 1 - y}[name][later]
    return p, y, w


@pytest.mark.parametrize(
    ("name", "of", "stops"),
    [
        ("labels are lost", "calibration", ""),
        ("labels are flipped", "calibration", "normalised entropy"),
    ],
)
def test_a_fault_is_found_soon(name: str, of: str, stops: str) -> None:
    guards = Guards(GuardSettings())
    found = seen(guards, faults(name, 1))
    first = next(alarm for alarm in found if alarm.of == of)
    assert AT < first.example <= AT + 13_000
    assert abs(first.after) > abs(first.before) + 0.03
    assert guards.counts[f"{of}.whole"] >= 1
    assert (stops in guards.trouble) if stops else guards.trouble == ""
    assert json.loads(json.dumps(guards.result()))["drift"]["last"][0]["example"] == found[0].example


def test_loss_that_rises_is_told_and_loss_that_falls_is_not() -> None:
    series = Series()
    rng = np.random.default_rng(0)
    changes = [series.add(x) for x in np.append(rng.normal(0.5, 0.01, 60), rng.normal(0.45, 0.01, 20))]
    (fell,) = [change for change in changes if change]
    assert fell.after < 0.46 < 0.49 < fell.before
    p, y, w = stream(2)
    p[:AT] = 0.2  # learned nothing until then
    assert [alarm for alarm in seen(Guards(GuardSettings()), (p, y, w)) if alarm.of == "loss"] == []


def test_a_slice_is_watched_by_itself() -> None:
    p, y, w = stream(3)
    slots = np.random.default_rng(4).integers(2, 12, N)
    bad = (slots == 5) & (np.arange(N) >= AT)
    y[bad] = 0
    found = seen(Guards(GuardSettings(block=100)), (p, y, w), slots)
    assert {alarm.slice for alarm in found if alarm.of == "calibration" and alarm.slice} == {"v5"}
    assert seen(Guards(GuardSettings(block=200, drift=False)), (p, y, w), slots) == []


def test_many_slices_are_not_all_watched() -> None:
    guards = Guards(GuardSettings(block=10))
    seen(guards, stream(5), np.arange(N) % 1000)
    assert len(guards._series) == 33


def broken(kind: str):
    p, y, w = stream(6)
    later = np.arange(N) >= AT
    if kind == "nan":
        p[AT] = np.nan
    elif kind == "loss":
        p[later] = np.random.default_rng(7).permutation(p[later])
    elif kind == "no clicks":
        y[later] = 0
    return p, y, w


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("nan", f"the prediction for example {AT + 1:,} is nan"),
        ("loss", r"normalised entropy of the last 10,000 examples is 1\..*, \d\.\d\d times the 0\.7"),
        (
            "no clicks",
            r"after example \d\d,000: (normalised entropy|predicted clicks / clicks) of the last 10,000",
        ),
    ],
)
def test_a_cliff_stops_learning_and_is_told(kind: str, reason: str) -> None:
    guards = Guards(GuardSettings())
    seen(guards, broken(kind))
    assert re.search(reason, guards.trouble), guards.trouble
    off = Guards(GuardSettings(cut_off=False))
    seen(off, broken(kind))
    assert bool(off.trouble) == (kind == "nan")


def test_ratings_have_a_cliff_of_their_own() -> None:
    rng = np.random.default_rng(8)
    y = rng.integers(1, 6, N).astype(np.float32)
    p = (y + rng.normal(0, 0.5, N)).astype(np.float32)
    p[AT:] += 1
    guards = Guards(GuardSettings(), is_click=False)
    seen(guards, (p, y, np.ones(N, np.float32)))
    assert "RMSE of the last 10,000" in guards.trouble
    for bad, told in [(np.inf, ""), (np.nan, "the prediction for example 6 is nan")]:
        p[5] = bad
        guards = Guards(GuardSettings(), is_click=False)
        guards.update(Measured(counted((p[:10], y[:10], np.ones(10, np.float32))), None, str))
        assert guards.trouble == told


def test_a_block_is_the_sums_of_its_examples() -> None:
    p, y, w = stream(9, 95)
    w[:] = np.arange(95)
    p[3] = np.nan
    whose, full = Blocks(10).update(np.arange(95), np.zeros(95, np.int64), counted((p, y, w)))
    assert whose.tolist() == [[0, 10 + 10 * k] for k in range(9)]
    part = np.delete(np.arange(11), 3)
    loss = -(y * np.log(p.astype(float)) + (1 - y) * np.log1p(-p.astype(float)))
    expected = {COUNT: 10, WEIGHT: w[part].sum(), LABEL: (w * y)[part].sum()}
    expected |= {PREDICTION: (w * p.astype(float))[part].sum(), LOSS: (w * loss)[part].sum()}
    for place, value in expected.items():
        assert full[0, place] == pytest.approx(value, rel=1e-9)


def changing(seed: int, n: int = 3000):
    """Slice 2 changes early, everything after more blocks than a series keeps."""
    p, y, w = stream(seed, n)
    slots = np.random.default_rng(seed).integers(2, 5, n)
    early = (slots == 2) & (np.arange(n) >= 900)
    y[early] = 1 - y[early]
    y[2600:] = 1 - y[2600:]
    return (p, y, w), slots


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=12), st.integers(0, 3))
def test_neither_batches_nor_a_restart_change_anything(cuts: list[int], seed: int) -> None:
    columns, slots = changing(seed)
    whole = Guards(GuardSettings(block=10, delta=1e-9))
    expected = seen(whole, columns, slots)
    guards, found = Guards(whole.settings), []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 3000], strict=True):
        found += seen(guards, tuple(column[start:end] for column in columns), slots[start:end])
        resumed = Guards(whole.settings)
        resumed.restore(guards.to_bytes())
        resumed.trouble = guards.trouble
        guards = resumed
    assert found == expected
    assert guards.to_bytes() == whole.to_bytes()
    assert guards.trouble == whole.trouble


def test_alarms_come_in_the_order_of_the_stream() -> None:
    columns, slots = changing(0)
    found = seen(Guards(GuardSettings(block=10)), columns, slots)
    assert [alarm.example for alarm in found] == sorted(alarm.example for alarm in found)
    assert {alarm.slice for alarm in found} > {None, "v2"}
    assert seen(Guards(GuardSettings(block=10)), columns, slots, step=7) == found


def test_river_s_public_class_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(0, 1, 400) + np.repeat([0, 3, 0, 5], 100)
    ours, theirs = Series(), Series()
    from river.drift import ADWIN

    found = [ours.add(value) for value in values]
    made = {"clock": 1, "min_window_length": 5, "grace_period": 16}
    monkeypatch.setattr("streamrec.evaluation.drift._adwin", lambda delta: ADWIN(delta, **made))
    assert [theirs.add(value) for value in values] == found
    assert sum(change is not None for change in found) >= 3


def test_what_cannot_be_read_is_told() -> None:
    for data in (b"", b"SRG1\xff\0\0\0", b"SRS1\2\0\0\0{}"):
        with pytest.raises(StoreMismatch, match="stored guards cannot be read"):
            Guards(GuardSettings()).restore(data)


def test_blocks_of_another_size_begin_anew() -> None:
    guards, other = Guards(GuardSettings(block=100)), Guards(GuardSettings(block=50))
    seen(guards, faults("labels are lost", 1))
    other.restore(guards.to_bytes())
    assert other.counts == guards.counts
    assert seen(other, stream(3, 2000)) == []
