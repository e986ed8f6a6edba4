"""Arms compared by clicks: the interval may be looked at any time, and who clicks much does not count as many."""

import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from streamrec.clock import SystemClock
from streamrec.errors import UsageError
from streamrec.evaluation import exposures
from streamrec.evaluation.exposures import Exposures
from streamrec.evaluation.online import Arm, arm_of, difference
from streamrec.events.decoder import BlockDecoder
from streamrec.join.decode import Decoded, decode_chunk
from streamrec.join.reader import read
from streamrec.transport.base import Chunk
from streamrec.transport.registry import open_source

MINUTE = 60_000


def looks(
    rng: np.random.Generator, lift: float, n_users: int = 800, n_looks: int = 25
) -> Iterable[tuple[Arm, Arm]]:
    """Two arms of users who come again and again, some of whom like everything, as they are at each look."""
    rates = rng.beta(1.5, 12, (2, n_users)) * np.array([[1.0], [1.0 + lift]])
    seen, clicked = np.zeros((2, n_users), np.int64), np.zeros((2, n_users), np.int64)
    for _ in range(n_looks):
        new = rng.poisson(1.0, (2, n_users))
        seen, clicked = seen + new, clicked + rng.binomial(new, rates)
        yield arm_of(seen[0], clicked[0]), arm_of(seen[1], clicked[1])


def test_looking_at_every_hour_is_wrong_no_more_often_than_it_says() -> None:
    rng, n = np.random.default_rng(0), 60
    wrong = wrong_at_a_fixed_horizon = 0
    for _ in range(n):
        arms = list(looks(rng, 0.0))
        found = [difference(a, b) for a, b in arms]
        errors = [1.96 * math.sqrt(a.variance + b.variance) for a, b in arms]
        wrong += any(each.decided for each in found)
        wrong_at_a_fixed_horizon += any(
            abs(each.difference) > error for each, error in zip(found, errors, strict=True)
        )
    assert wrong <= 3
    assert wrong_at_a_fixed_horizon > 9  # so looking does matter


def called(rng: np.random.Generator, n_others: int) -> tuple[bool, bool]:
    """Arms that differ in nothing from one: whether any is called at any look, with the correction and without.

    What is seen of a rate is a random walk over the time, here from a handful of users to a million times as many.
    """
    times = np.geomspace(1e3, 1e9, 50)  # 1 / variance
    steps = rng.normal(0, np.sqrt(np.diff(times, prepend=0)), (n_others + 1, len(times)))
    rates = 0.1 + np.cumsum(steps, axis=1) / times
    corrected = plain = False
    for at, time in enumerate(times):
        a, *others = (Arm(1000, 10_000, 1000, float(rate), 1 / time) for rate in rates[:, at])
        corrected |= any(difference(a, b, n_comparisons=n_others).decided for b in others)
        plain |= any(difference(a, b).decided for b in others)
    return corrected, plain


def test_of_many_arms_none_is_called_falsely_more_often_than_it_says() -> None:
    rng = np.random.default_rng(3)
    corrected, plain = np.mean([called(rng, 4) for _ in range(400)], axis=0)
    assert corrected <= 0.05
    assert plain > 0.07  # so many arms do matter


def test_a_difference_is_found_and_the_interval_has_it() -> None:
    rng = np.random.default_rng(1)
    decided = inside = 0
    for _ in range(20):
        *_, (a, b) = looks(rng, 0.5)
        found = difference(a, b)
        decided += found.decided and found.difference > 0
        inside += found.low < 0.5 * 1.5 / 13.5 < found.high
        assert found.lift == pytest.approx(found.difference / a.rate)
    assert decided >= 18
    assert inside >= 19


def test_how_sure_it_is_comes_true() -> None:
    """Where differences are as expected, b is better as often as is said, whenever one stops."""
    rng = np.random.default_rng(2)
    said, true = [], []
    for _ in range(4000):
        truth = rng.normal(0, 0.01)
        sd = 10 ** rng.uniform(-2.5, -1.5)
        a, b = Arm(1000, 10_000, 1000, 0.1, sd**2), Arm(1000, 10_000, 1000, 0.1 + rng.normal(truth, sd), 0.0)
        said.append(difference(a, b, 0.1).b_is_better)
        true.append(truth > 0)
    parts = np.digitize(said, [0.2, 0.4, 0.6, 0.8, 0.95])
    for part in range(6):
        chosen = parts == part
        assert np.mean(np.array(true)[chosen]) == pytest.approx(np.mean(np.array(said)[chosen]), abs=0.06)


def test_numbers_worked_by_hand() -> None:
    arm = arm_of(np.array([2, 4, 4]), np.array([1, 0, 4]))
    assert arm == Arm(3, 10, 5, 0.5, pytest.approx(1.5 * (0 + 4 + 4) / 100))
    a, b = Arm(500, 10_000, 1000, 0.10, 3e-6), Arm(500, 10_000, 1200, 0.12, 1e-6)
    found = difference(a, b, 0.1)
    s2, t2 = 4e-6, 0.011**2
    assert found.high - 0.02 == pytest.approx(
        math.sqrt(s2 * (s2 + t2) / t2 * math.log((s2 + t2) / (s2 * 0.0025)))
    )
    assert found.decided
    of_five = difference(a, b, 0.1, n_comparisons=4)
    assert of_five.high - 0.02 == pytest.approx(
        math.sqrt(s2 * (s2 + t2) / t2 * math.log((s2 + t2) / (s2 * 0.0125**2)))
    )
    assert of_five.b_is_better == found.b_is_better
    assert difference(b, a).b_is_better == pytest.approx(1 - found.b_is_better)


def test_too_little_is_told() -> None:
    enough = Arm(100, 1000, 20, 0.02, 1e-5)
    for few in (enough._replace(users=99), enough._replace(clicks=19)):
        with pytest.raises(UsageError, match="arm 'new': expected 100 users and 20 clicks at least, got"):
            difference(enough, few, names=("old", "new"))


def impression(n: int, user: str, arm: Any, time: int = 0) -> dict[str, Any]:
    shown = {
        "type": "impression",
        "id": f"i{n}",
        "time": time,
        "user": user,
        "item": "x",
        "features": {"arm": "f"},
    }
    return shown if arm is None else {**shown, "arm": arm}


def click(n: int, time: int) -> dict[str, Any]:
    return {"type": "click", "id": f"c{n}.{time}", "time": time, "impression": f"i{n}"}


def decoded(events: list[dict[str, Any]], decoder: BlockDecoder) -> Decoded:
    return decode_chunk(
        Chunk("p", 0, "".join(json.dumps(event) + "\n" for event in events).encode()), decoder
    )


EVENTS = [
    impression(0, "u0", "a"),
    impression(1, "u1", "a"),
    impression(1, "u1", "a"),  # sent twice
    impression(2, "u2", "b"),
    impression(3, "u3", "b"),
    impression(4, "u2", "b", 1),
    impression(5, "u4", None),  # its arm was not drawn; a feature of that name is none
    impression(6, "both", "a"),
    impression(7, "both", "b"),
    click(0, 5),
    click(0, 6),  # clicked once
    click(2, 10 * MINUTE),
    click(3, 10 * MINUTE + 1),  # too late
    click(4, 0),  # before it was shown
    click(5, 5),
    click(6, 5),
    click(99, 5),
]


def test_users_impressions_and_clicks_are_counted_once_by_arm() -> None:
    decoder, counted = BlockDecoder(), Exposures(10 * MINUTE)
    for part in (EVENTS[:5], EVENTS[5:]):
        counted.add([decoded(part, decoder), None])
    seen = counted.seen()
    assert {arm: its[:3] for arm, its in seen.arms.items()} == {"a": (2, 2, 1), "b": (2, 3, 1)}
    assert seen.mixed_users == 1
    later = Exposures(10 * MINUTE, since_ms=1).add([decoded(EVENTS, BlockDecoder())]).seen()
    assert later.arms == {}  # of one user alone nothing can be said


def test_clicks_find_impressions_of_a_bounded_past(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposures, "MEMORY", 10)
    shown = [impression(n, f"u{n}", "a") for n in range(40)]
    seen = (
        Exposures(MINUTE).add([decoded([*shown, *(click(n, 1) for n in range(40))], BlockDecoder())]).seen()
    )
    assert (seen.arms["a"].impressions, seen.arms["a"].clicks) == (40, 20)


def test_a_recorded_stream_is_read(tmp_path: Any) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in EVENTS))
    source = open_source(str(path))
    seen = Exposures(10 * MINUTE).add(read(source, BlockDecoder(), SystemClock(), 0.0)).seen()
    source.close()
    assert seen.arms["b"].clicks == 1
