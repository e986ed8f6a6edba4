"""The loss of retrieval: TFRS's golden numbers, finite differences, and what each option leaves out."""

import numpy as np
import pytest

from streamrec.layers.sampled_softmax import Softmax, sampled_softmax

#: REFERENCE 2: q = [[1, 2, 3], [2, 3, 4]], c = [[1, 1, 1], [1, 1, 0]].
SCORES = np.array([[6.0, 3.0], [9.0, 5.0]])
OWN = np.array([0, 1])
LOG_Q = np.log([0.9, 0.1])


@pytest.mark.parametrize(
    ("expected", "softmax", "options"),
    [
        (4.066737, Softmax(), {}),
        (1.2394562, Softmax(), {"weights": np.array([0.7, 0.3])}),
        (2.3283415, Softmax(temperature=2.0), {}),
        (2.325601, Softmax(), {"log_q": LOG_Q}),
        (1.7007216, Softmax(temperature=2.0), {"log_q": LOG_Q}),
        (0.0, Softmax(), {"ids": np.array([7, 7], np.uint64)}),
    ],
)
def test_golden_numbers_of_tfrs(expected, softmax, options):
    loss, _ = sampled_softmax(SCORES, OWN, softmax, **options)
    assert loss == pytest.approx(expected, abs=1e-6)


def made(seed=3, b=5, n=9):
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 5, n).astype(np.uint64)
    options = {"log_q": np.log(rng.uniform(0.01, 1, n)), "ids": ids, "weights": rng.uniform(0.2, 2, b)}
    return rng.normal(0, 2, (b, n)), rng.integers(0, n, b), options


@pytest.mark.parametrize("hardest", [0, 1, 3, 99])
def test_slopes_are_those_of_finite_differences(hardest):
    scores, own, options = made()
    softmax = Softmax(0.7, hardest)
    _, slopes = sampled_softmax(scores, own, softmax, **options)
    for place in np.ndindex(scores.shape):
        step = np.zeros_like(scores)
        step[place] = 1e-6
        above, below = (sampled_softmax(scores + s, own, softmax, **options)[0] for s in (step, -step))
        assert slopes[place] == pytest.approx((above - below) / 2e-6, abs=1e-6)


def test_other_columns_of_an_examples_own_item_do_not_count():
    scores, own, options = made()
    _, slopes = sampled_softmax(scores, own, **options)
    ids = options["ids"]
    for b, j in np.ndindex(scores.shape):
        assert (slopes[b, j] == 0) == (j != own[b] and ids[j] == ids[own[b]])


def test_only_the_hardest_negatives_count():
    scores, own = np.array([[0.0, 3.0, 1.0, 2.0]]), np.array([0])
    _, slopes = sampled_softmax(scores, own, Softmax(hardest=2))
    assert (slopes[0] != 0).tolist() == [True, True, False, True]


def test_the_correction_stops_where_that_of_tfrs_does():
    least, less = (sampled_softmax(SCORES, OWN, log_q=np.array([0.0, q]))[0] for q in (np.log(1e-6), -100.0))
    assert least == less


def test_great_scores_stay_finite():
    loss, slopes = sampled_softmax(np.array([[1e4, -1e4], [-1e4, 1e4]]), np.array([1, 1]))
    assert loss == pytest.approx(2e4)
    assert slopes.tolist() == [[1.0, -1.0], [0.0, 0.0]]
