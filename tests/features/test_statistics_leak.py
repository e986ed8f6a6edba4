"""Statistics must not tell the label where clicks are learned at once and the rest of a list at its close."""

import math

import numpy as np
from feature_oracle import Row, columns

from streamrec.events.block import Examples
from streamrec.events.feedback import CORRECTION, EARLY
from streamrec.events.model import Impression
from streamrec.features.extract import Extractor
from streamrec.features.infer import infer_spec

_WINDOW_MS, _SHOWN, _LISTS = 600_000, 8, 1500


def delayed_noise() -> Examples:
    """Lists of items with one click each, on a random one: nothing can be known. In the order of joining."""
    rng = np.random.default_rng(3)
    arrivals: list[tuple[int, Row]] = []
    for i in range(_LISTS):
        time_ms, user, clicked = 10**12 + 20_000 * i, f"u{rng.integers(300)}", rng.integers(_SHOWN)
        for k, item in enumerate(rng.choice(200, _SHOWN, replace=False)):
            row = Row({}, user, f"i{item}", time_ms, float(k == clicked))
            arrivals.append((time_ms + (1000 if row.label else _WINDOW_MS), row))
    arrivals.sort(key=lambda pair: pair[0])
    return columns([row for _, row in arrivals], [])


def gain(examples: Examples) -> float:
    """How much of the labels' entropy online logistic regression on the statistics alone explains."""
    impressions = [Impression(id="i", time=1, user="u", item="i", features={})]
    dense = Extractor(infer_spec(impressions, "rich", _WINDOW_MS)).extract(examples, []).dense.astype(float)
    w, squares, loss, p0 = np.zeros(7), np.ones(7), 0.0, 1 / _SHOWN
    for features, label in zip(dense, examples.labels, strict=True):
        x = np.append(features, 1.0)
        p = min(max(1 / (1 + math.exp(-float(w @ x) - math.log(p0 / (1 - p0)))), 1e-6), 1 - 1e-6)
        loss -= math.log(p if label else 1 - p)
        squares += ((p - label) * x) ** 2
        w -= 0.2 * (p - label) * x / np.sqrt(squares)
    entropy = -p0 * math.log(p0) - (1 - p0) * math.log(1 - p0)
    return 1 - loss / len(examples) / entropy


def test_noise_stays_noise() -> None:
    examples = delayed_noise()
    honest = gain(examples)
    assert honest < 0.02
    # the planted fault: every example has the time at which it is learned, so it sees the live rows
    leaking = gain(Examples(np.arange(len(examples)) * _WINDOW_MS, *examples[1:]))
    assert leaking > 0.1


def early_noise() -> tuple[Examples, np.ndarray]:
    """The same lists, each impression at once as a negative and the clicked one again; the final labels."""
    rng = np.random.default_rng(3)
    arrivals: list[tuple[int, Row, float]] = []
    for i in range(_LISTS):
        time_ms, user, clicked = 10**12 + 20_000 * i, f"u{rng.integers(300)}", rng.integers(_SHOWN)
        for k, item in enumerate(rng.choice(200, _SHOWN, replace=False)):
            row = Row({}, user, f"i{item}", time_ms, 0.0, role=EARLY)
            arrivals.append((time_ms, row, float(k == clicked)))
            if k == clicked:
                corrected = row._replace(label=1.0, role=CORRECTION)
                arrivals.append((time_ms + int(rng.integers(_WINDOW_MS)), corrected, 1.0))
    arrivals.sort(key=lambda arrival: arrival[0])
    return columns([row for _, row, _ in arrivals], []), np.array([label for *_, label in arrivals])


def counts_of_pairs(lag_ms: int) -> tuple[np.ndarray, np.ndarray]:
    """Of every clicked impression: how often its user and its item were counted, as EARLY and as CORRECTION saw."""
    examples, _ = early_noise()
    impressions = [Impression(id="i", time=1, user="u", item="i", features={})]
    dense = Extractor(infer_spec(impressions, "rich", lag_ms)).extract(examples, []).dense
    keys = list(zip(examples.time_ms.tolist(), examples.user.tolist(), examples.item.tolist(), strict=True))
    early = {key: i for i, key in enumerate(keys) if examples.role[i] == EARLY}
    pairs = [(early[key], i) for i, key in enumerate(keys) if examples.role[i] == CORRECTION]
    counts = [2, 5]  # rates are relative to the base rate, which goes on
    return dense[[first for first, _ in pairs]][:, counts], dense[[again for _, again in pairs]][:, counts]


def test_a_correction_sees_what_its_early_negative_saw() -> None:
    """Else a shift between the two would tell the label; it must not be seen in them what became of others."""
    first, again = counts_of_pairs(_WINDOW_MS)
    assert len(first) == _LISTS
    np.testing.assert_array_equal(first, again)
    assert first.any()
    live = counts_of_pairs(1)  # the planted fault
    assert (live[0] != live[1]).mean() > 0.2


def test_every_outcome_counts_once() -> None:
    examples, labels = early_noise()
    impressions = [Impression(id="i", time=1, user="u", item="i", features={})]
    extractor = Extractor(infer_spec(impressions, "rich", _WINDOW_MS))
    extractor.extract(examples, [])
    rows = np.concatenate([rows for _, rows in extractor.tables["statistics"].pieces()])
    shown, clicked = rows[:, 2:4].sum(), rows[:, 4:6].sum()
    assert (shown, clicked) == (2 * _LISTS * _SHOWN, 2 * _LISTS)  # by user and by item
    assert labels[examples.role == EARLY].sum() == _LISTS
