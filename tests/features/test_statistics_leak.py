"""Statistics must not tell the label where clicks are learned at once and the rest of a list at its close."""

import math

import numpy as np
from feature_oracle import Row, columns

from streamrec.events.block import Examples
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
