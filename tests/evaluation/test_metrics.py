"""Progressive metrics against NumPy in float64 and against brute force."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.errors import StoreMismatch
from streamrec.evaluation.blocks import Outcomes
from streamrec.evaluation.metrics import ProgressiveMetrics
from streamrec.evaluation.scores import area_under_curve, entropy


def simulated(mean: float, spread: float, slope: float, n: int = 20_000, seed: int = 1):
    """Predictions of logits N(mean, spread²); labels of logits `slope` times as far from the mean."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(mean, spread, n)
    y = rng.random(n) < 1 / (1 + np.exp(-(mean + slope * (logit - mean))))
    w = rng.choice([0.5, 1.0, 3.0], n)
    return (1 / (1 + np.exp(-logit))).astype(np.float32), y.astype(np.float32), w.astype(np.float32)


def exact_auc(p, y, w) -> float:
    """Every positive against every negative."""
    s, wp, wn = p.astype(np.float64), (w * y).astype(np.float64), (w * (1 - y)).astype(np.float64)
    above = np.sign(s[:, None] - s[None, :]) / 2 + 0.5
    return float(wp @ above @ wn / (wp.sum() * wn.sum()))


def measured(p, y, w, counts=None, **kwargs) -> ProgressiveMetrics:
    metrics = ProgressiveMetrics(**kwargs)
    metrics.update(p, y, w, counts)
    return metrics


@pytest.mark.parametrize(
    "case", [(-3, 1, 1), (0, 2, 0.4), (-4, 0.3, 1), (-2, 0.05, 20), (-3, 0.01, 100), (2, 0.02, -50)]
)
def test_metrics_equal_numpy(case):
    p, y, w = simulated(*case, n=4000)
    result = measured(p, y, w).result()
    q, y64, w64 = p.astype(np.float64), y.astype(np.float64), w.astype(np.float64)
    loss = np.average(-y64 * np.log(q) - (1 - y64) * np.log1p(-q), weights=w64)
    rate = np.average(y64, weights=w64)
    assert result["log_loss"] == pytest.approx(loss, rel=1e-12)
    assert result["base_rate"] == pytest.approx(rate, rel=1e-12)
    assert result["ne"] == pytest.approx(
        loss / -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)), rel=1e-12
    )
    assert result["calibration"] == pytest.approx(np.average(q, weights=w64) / rate, rel=1e-12)
    assert result["rmse"] == pytest.approx(np.sqrt(np.average((q - y64) ** 2, weights=w64)), rel=1e-12)
    assert result["auc"] == pytest.approx(exact_auc(p, y, w), abs=1e-4)


def test_metrics_equal_those_of_river():
    from river import metrics as peer

    p, y, w = simulated(-2, 1, 1, n=3000)
    log_loss = peer.LogLoss()
    for probability, label, weight in zip(p.tolist(), y.tolist(), w.tolist(), strict=True):
        log_loss.update(bool(label), probability, w=weight)
    assert measured(p, y, w).result()["log_loss"] == pytest.approx(log_loss.get(), rel=1e-9)


def test_hand_worked_numbers():
    p, y, w = (np.array(x, np.float32) for x in ([0.5, 0.5, 0.25, 0.75], [1, 0, 0, 1], [1, 1, 1, 1]))
    result = measured(p, y, w).result()
    assert result["log_loss"] == pytest.approx((2 * math.log(2) + 2 * math.log(4 / 3)) / 4)
    assert result["auc"] == (1 + 1 + 1 + 0.5) / 4  # of the four pairs, one is a tie
    assert result["calibration"] == result["ne"] / result["log_loss"] * math.log(2) == 1
    assert result["rmse"] == pytest.approx(math.sqrt((2 * 0.25 + 2 * 0.0625) / 4))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 400), st.sampled_from(["click", "rating"]))
def test_batches_and_storage_change_no_bit(seed, n, task):
    rng = np.random.default_rng(seed)
    p, y, w = simulated(-1, 1, 1, n=n, seed=seed)
    whole = measured(p, y, w, task=task, window=7)
    at, parts = 0, ProgressiveMetrics(task=task, window=7)
    while at < n:
        end = at + int(rng.integers(1, 50))
        parts = ProgressiveMetrics.from_bytes(parts.to_bytes())
        parts.update(p[at:end], y[at:end], w[at:end])
        at = end
    assert parts.to_bytes() == whole.to_bytes()
    assert parts.result() == whole.result()
    assert parts.recent() == whole.recent()


def shown_then_clicked(p, y, w, delay: int) -> Outcomes:
    """Every example as a negative at once, and a click `delay` examples later as what makes up for it."""
    rows = [(i, (p[i], 0.0, w[i], 1.0)) for i in range(len(p))]
    for i in np.flatnonzero(y):
        rows += [(i + delay, (p[i], 0.0, -w[i], 0.0)), (i + delay, (p[i], y[i], w[i], 0.0))]
    ordered = [row for _, row in sorted(rows, key=lambda pair: pair[0])]
    return Outcomes(*np.array(ordered, np.float32).T)


@pytest.mark.parametrize(("spread", "delay"), [(0.001, 1), (1, 300), (5, 5000)])
def test_once_clicks_have_come_all_is_as_if_labels_had_been_known(spread, delay):
    """The histogram too, whose bins are merged at other moments."""
    p, y, w = simulated(-2, spread, 1)
    w /= np.float32(0.3)  # no weight is exact
    early, late = measured(*shown_then_clicked(p, y, w, delay)), measured(p, y, w)
    assert early.n == late.n == len(p)
    assert early.result() == pytest.approx(late.result(), rel=1e-11)
    ones = np.ones_like(w)  # of these counts are whole
    assert (
        measured(*shown_then_clicked(p, y, ones, delay)).result()["auc"]
        == measured(p, y, ones).result()["auc"]
    )
    assert len(early.to_bytes()) < 60_000


def test_bins_that_are_emptied_and_filled_again_count_once():
    """1,500 bins are used: too few to merge any, however often each was."""
    p = (1 / (1 + np.exp(1 - (np.arange(1500) + 0.5) / 16_384))).astype(np.float32)
    ones = np.ones_like(p)
    early, late = measured(*shown_then_clicked(p, ones, ones, 1)), measured(p, ones, ones)
    assert len(early.to_bytes()) == len(late.to_bytes()) > 1500 * 20


@pytest.mark.parametrize("delay", [50, 5000])
def test_recent_rates_are_right_however_late_clicks_are(delay):
    """An outcome's age is counted in examples that came later."""
    p, y, w = simulated(-1, 1, 1, n=60_000)
    outcomes = Outcomes(*(x[:70_000] for x in shown_then_clicked(p, y, w, delay)))
    recent, numbers = measured(*outcomes, window=1000).recent(), np.cumsum(outcomes.counts, dtype=float)
    decayed = outcomes.weights * np.exp((numbers - numbers[-1]) / 1000)
    assert recent["base_rate"] == pytest.approx((decayed @ outcomes.labels) / decayed.sum(), rel=1e-9)
    assert recent["base_rate"] == pytest.approx(np.average(y, weights=w), rel=0.15)
    assert recent["calibration"] == pytest.approx(1, rel=0.15)
    assert recent["auc"] == pytest.approx(measured(p, y, w).result()["auc"], abs=0.05)


def test_clicks_that_come_alone_leave_metrics_what_they_can_be():
    """Nothing is shown any more, and clicks of what was go on: more than there are recent examples."""
    p, y, w = simulated(0, 1, 1, n=5000)
    metrics = measured(*shown_then_clicked(p, y, w, delay=10_000), window=100)
    assert metrics.result()["base_rate"] == pytest.approx(np.average(y, weights=w))
    recent = metrics.recent()
    assert recent["auc"] is None or 0 <= recent["auc"] <= 1
    assert all(value is None or math.isfinite(value) for value in recent.values())


def test_state_stays_small_and_exact_when_bins_merge():
    metrics, kept = ProgressiveMetrics(), []
    for mean, spread in [(-3, 0.01), (-3, 1), (0, 5)]:
        part = simulated(mean, spread, 1)
        metrics.update(*part)
        kept.append(part)
    p, y, w = (np.concatenate(column)[::20] for column in zip(*kept, strict=True))
    assert len(metrics.to_bytes()) < 60_000
    assert measured(p, y, w).result()["auc"] == pytest.approx(exact_auc(p, y, w), abs=1e-4)
    p, y, w = (np.concatenate(column) for column in zip(*kept, strict=True))
    assert metrics.result()["auc"] == measured(p, y, w).result()["auc"]


def test_probabilities_of_0_and_1_are_clipped():
    p, y, w = (np.array(x, np.float32) for x in ([0, 1, 1, 0], [0, 1, 0, 1], [1, 1, 1, 1]))
    metrics = measured(p, y, w)
    assert metrics.result()["log_loss"] == pytest.approx(12 * math.log(2), rel=1e-6)
    assert metrics.result()["auc"] == 0.5


@pytest.mark.parametrize(("labels", "undefined"), [([], 6), ([0.0], 3), ([1.0], 2)])
def test_what_is_not_defined_is_none(labels, undefined):
    y = np.array(labels, np.float32)
    result = measured(np.full_like(y, 0.25), y, np.ones_like(y)).result()
    assert sum(value is None for value in result.values()) == undefined
    assert result["ne"] is None
    assert result["auc"] is None
    assert all(value is None or math.isfinite(value) for value in result.values())


def test_what_is_no_number_is_counted_and_left_out():
    p, y, w = simulated(-1, 1, 1, n=100)
    bad = [np.append(x, v).astype(np.float32) for x, v in ((p, [np.nan, 0.5]), (y, [1, np.inf]), (w, [1, 1]))]
    assert measured(*bad).n_bad == 2
    assert measured(*bad).n == 100
    assert measured(*bad).result() == measured(p, y, w).result()


def test_recent_metrics_follow_the_last_examples():
    rng = np.random.default_rng(3)
    ages = np.arange(60_000)[::-1]
    p, y, w = simulated(-2, 1, 1, n=60_000)
    p[:30_000] = rng.permutation(p[:30_000])  # useless at first
    metrics = measured(p, y, w, window=500)
    decayed = w * np.exp(-ages / 500)
    loss = np.average(-y * np.log(p) - (1 - y) * np.log1p(-p), weights=decayed)
    assert metrics.recent()["log_loss"] == pytest.approx(loss, rel=1e-5)
    last = slice(-8000, None)
    assert metrics.recent()["auc"] == pytest.approx(exact_auc(p[last], y[last], decayed[last]), abs=1e-3)
    assert metrics.recent()["ne"] < 0.97 < metrics.result()["ne"]


def test_the_rating_task_has_errors_only():
    p, y, w = (np.array(x, np.float32) for x in ([3, 4, 5], [4, 4, 2], [1, 1, 2]))
    result = measured(p, y, w, task="rating").result()
    assert result["rmse"] == pytest.approx(math.sqrt((1 + 0 + 18) / 4))
    assert result["calibration"] == pytest.approx(17 / 12)
    assert [name for name, value in result.items() if value is None] == ["log_loss", "ne", "auc"]


@pytest.mark.parametrize("data", [b"", b"SRM1", b"nonsense" * 50, ProgressiveMetrics().to_bytes() + b"1"])
def test_other_bytes_are_refused(data):
    with pytest.raises(StoreMismatch, match="stored metrics cannot be read"):
        ProgressiveMetrics.from_bytes(data)


def test_planted_faults_are_caught():
    p, y, w = simulated(-2, 1, 1, n=2000)
    bins = np.zeros((40, 2))
    for s, label, weight in zip(p, y, w, strict=True):
        bins[int(s * 39), int(label)] += weight
    assert abs(area_under_curve(bins[:, 1], bins[:, 0]) - exact_auc(p, y, w)) > 1e-4  # too few bins
    below = np.cumsum(bins[:, 0])  # ties count in full
    assert abs(bins[:, 1] @ below / bins.sum(0).prod() - exact_auc(p, y, w)) > 1e-3
    assert entropy(0.3) == pytest.approx(entropy(0.7), rel=1e-15) == pytest.approx(0.6108643020548935)
    assert entropy(0.0) == entropy(1.0) == 0
