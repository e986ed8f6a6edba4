"""Two models compared: the interval is as wide as it should be, and only what can be compared is."""

import numpy as np
import pytest

from streamrec.errors import UsageError
from streamrec.evaluation.arms import compare
from streamrec.evaluation.blocks import COUNT, LABEL, LOSS, WEIGHT, WIDTH, Blocks, Outcomes
from streamrec.evaluation.guard_settings import GuardSettings
from streamrec.evaluation.guards import Guards, Measured
from streamrec.evaluation.history import History


def history(losses: np.ndarray, size: int = 100) -> History:
    made = History(size)
    for loss in losses:
        block = np.zeros(WIDTH)
        block[[COUNT, WEIGHT, LABEL, LOSS]] = size, 2 * size, size / 4, loss
        made.add(block)
    return made


def at_once(losses: np.ndarray) -> History:
    blocks = np.zeros((len(losses), WIDTH))
    blocks[:, [COUNT, WEIGHT, LABEL]] = 100, 200, 25
    blocks[:, LOSS] = losses
    return History(100, 0, blocks)


@pytest.mark.parametrize("lasts", [1, 5, 10])
def test_the_interval_has_the_truth_as_often_as_it_says(lasts: int) -> None:
    rng = np.random.default_rng(lasts)
    inside, better = [], []
    for _ in range(500):
        hard = rng.normal(100, 20, 200)  # what both find hard does not count
        lasting = np.convolve(rng.normal(0, 1, 199 + lasts), np.ones(lasts) / lasts, "valid")
        found = compare(at_once(hard + 0.4 + lasting), at_once(hard))
        inside.append(found.low < 0.4 / 200 < found.high)
        better.append(found.b_is_better)
    assert 0.92 <= np.mean(inside) <= 0.98  # two standard deviations; .6 if blocks counted as independent
    assert np.mean(better) > 0.95


def test_how_sure_it_is_comes_true() -> None:
    """Of cases in which either may be better and b is called better with probability p, b is in p of them."""
    rng = np.random.default_rng(0)
    said, is_better = [], []
    for _ in range(1000):
        truth = rng.normal(0, 0.4)
        differences = truth + np.convolve(rng.normal(0, 1, 204), np.ones(5) / 5, "valid")
        said.append(compare(at_once(100 + differences), at_once(np.full(200, 100.0))).b_is_better)
        is_better.append(truth > 0)
    said_, is_better_ = np.array(said), np.array(is_better)
    for low, high in ((0.6, 0.9), (0.9, 0.99)):
        chosen = (said_ > low) & (said_ < high)
        assert chosen.sum() > 30
        assert np.mean(is_better_[chosen]) == pytest.approx(np.mean(said_[chosen]), abs=0.11)


def test_numbers_worked_by_hand() -> None:
    a, b = history(np.arange(12.0)), history(np.zeros(12))
    found = compare(a, b, skip=150)
    assert (found.examples, found.from_example) == (1000, 201)
    assert found.loss_a == pytest.approx(np.arange(2, 12).sum() / 2000)
    assert found.loss_b == 0
    waves = [sum((k - 4.5) * np.cos(np.pi * j * (k + 0.5) / 10) for k in range(10)) for j in (1, 2, 3)]
    error = np.sqrt(10 / 3 * np.square(waves).sum() * 2 / 10) / 2000
    assert found.high - found.difference == pytest.approx(3.182446 * error)
    swapped = compare(b, a, skip=150)
    assert swapped.difference == -found.difference
    assert swapped.b_is_better == pytest.approx(1 - found.b_is_better)
    same = compare(a, a)
    assert (same.difference, same.low, same.b_is_better) == (0, 0, 0.5)


def test_a_long_stream_is_kept_in_few_blocks() -> None:
    losses = np.random.default_rng(1).random(1000)
    long, short = history(losses), history(losses[:300])
    assert len(long.blocks) < 256
    assert (long.size, short.size) == (400, 200)
    assert long.blocks[:, LOSS].sum() + long.rest[LOSS] == pytest.approx(losses.sum())
    found = compare(long, short)
    assert found.examples == 30_000
    assert found.difference == pytest.approx(0)


@pytest.mark.parametrize(
    ("other", "error"),
    [
        (history(np.ones(9)), "9 blocks of 100 examples were measured by both: expected 10"),
        (history(np.ones(20), 70), "not measured in the same blocks"),
        (History(100, 50), "not measured in the same blocks"),
    ],
)
def test_what_cannot_be_compared_is_told(other: History, error: str) -> None:
    with pytest.raises(UsageError, match=error):
        compare(history(np.ones(20)), other)


def test_other_examples_are_noticed() -> None:
    a, b = history(np.ones(20)), history(np.ones(20))
    b.blocks[15, LABEL] += 1
    with pytest.raises(UsageError, match="did not see the same examples"):
        compare(a, b)


def test_guards_keep_it_across_a_restart() -> None:
    rng = np.random.default_rng(2)
    p = rng.random(3000).astype(np.float32)
    columns = (
        p,
        (rng.random(3000) < p).astype(np.float32),
        np.ones(3000, np.float32),
        np.ones(3000, np.float32),
    )
    whole, cut = Guards(GuardSettings(block=10)), Guards(GuardSettings(block=10))
    whole.update(Measured(Outcomes(*columns), None, str))
    for start in range(0, 3000, 333):
        cut.update(Measured(Outcomes(*(c[start : start + 333] for c in columns)), None, str))
        again = Guards(GuardSettings(block=10))
        again.restore(cut.to_bytes())
        cut = again
    assert cut.to_bytes() == whole.to_bytes()
    assert whole.history.size == 20
    _, full = Blocks(20).update(np.arange(3000), np.zeros(3000, np.int64), columns)
    np.testing.assert_allclose(whole.history.blocks, full)
