"""Learning curves: where points lie, storage, and the drawings."""

import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.errors import StoreMismatch, UsageError
from streamrec.evaluation import Curves, ProgressiveMetrics, plot
from streamrec.evaluation.blocks import Outcomes
from streamrec.evaluation.curves import CURVES


def examples(n: int, seed: int = 0) -> Outcomes:
    """n outcomes, of which a tenth are the first of two that make up for an earlier negative."""
    rng = np.random.default_rng(seed)
    p, w, counts = rng.uniform(0.05, 0.95, n).astype(np.float32), np.ones(n), np.ones(n)
    y = (rng.random(n) < p).astype(np.float32)
    back = 1 + np.flatnonzero(rng.random(max(0, n - 2)) < 0.1)
    y[back], w[back], counts[back], counts[back + 1] = 0, -1, 0, 0
    return Outcomes(p, y, w.astype(np.float32), counts.astype(np.float32))


def followed(n: int, cuts: int = 0, task="click") -> Curves:
    curves, metrics, rng, at = Curves(), ProgressiveMetrics(task), np.random.default_rng(cuts), 0
    outcomes = examples(n)
    while at < n:
        end = at + int(rng.integers(1, 3000)) if cuts else n
        curves = Curves.from_bytes(curves.to_bytes()) if cuts else curves
        curves.update(metrics, Outcomes(*(column[at:end] for column in outcomes)))
        at = end
    return curves


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 60_000), st.integers(1, 2**32))
def test_points_do_not_depend_on_batches_or_storage(n, cuts):
    assert followed(n, cuts).to_bytes() == followed(n).to_bytes()


def test_points_are_bounded_and_evenly_spaced():
    for n in (30_000, 35_000, 140_000):
        curves, shown = followed(n), int(examples(n).counts.sum())
        at = curves.points()[:, 0]
        assert len(at) <= 255
        assert at.tolist() == list(range(curves.interval, shown + 1, curves.interval))
    assert len(curves.to_bytes()) < 15_000


def test_a_point_is_what_the_metrics_were_there():
    metrics, outcomes = ProgressiveMetrics(), examples(1000)
    end = 1 + int(np.flatnonzero(outcomes.counts)[299])
    metrics.update(*(x[:end] for x in outcomes))
    row = followed(1000).points()[2]
    assert row.tolist() == [300, *(metrics.recent()[name] for name in CURVES)]


def test_metrics_that_are_followed_are_the_same():
    curves, metrics, plain = Curves(), ProgressiveMetrics(), ProgressiveMetrics()
    curves.update(metrics, examples(12_345))
    plain.update(*examples(12_345))
    assert metrics.to_bytes() == plain.to_bytes()


def test_png(tmp_path):
    plot(followed(5000), tmp_path / "curves.png", title="a model")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("task", ["click", "rating"])
def test_html_asks_nothing_of_the_network(tmp_path, task):
    plot(followed(5000, task=task), tmp_path / "curves.HTML", title="a <model> & more")
    text = (tmp_path / "curves.HTML").read_text("utf-8")
    plot(followed(5000, task=task), tmp_path / "again.html", title="a <model> & more")
    assert (tmp_path / "again.html").read_text("utf-8") == text
    assert "<title>a &lt;model&gt; &amp; more</title>" in text
    assert "<svg" in text
    assert not re.findall(r"(?:src|href)=\"(?!#)", text)
    assert not re.findall(r"url\((?!#)|@import|<script|<link", text)


def test_wrong_use_is_one_clear_line(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"ends in \.png or \.html"):
        plot(followed(500), tmp_path / "curves.pdf")
    with pytest.raises(UsageError, match="at least 100 examples"):
        plot(followed(50), tmp_path / "curves.png")
    with pytest.raises(UsageError, match="cannot be written: there is no folder"):
        plot(followed(500), tmp_path / "missing" / "curves.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"pip install 'streamrec\[plot\]'"):
        plot(followed(500), tmp_path / "curves.png")


@pytest.mark.parametrize("data", [b"", b"SRC1", b"x" * 64, Curves().to_bytes() + b"1"])
def test_other_bytes_are_refused(data):
    with pytest.raises(StoreMismatch, match="stored curves cannot be read"):
        Curves.from_bytes(data)
