"""The mixture against its equations in float64, its bound on the loss, and what it is judged by."""

import math

import numpy as np
import pytest

from streamrec.events.feedback import CORRECTION, EARLY, FINAL
from streamrec.models.feedback import AS_IT_IS, FeedbackSettings, observed, served
from streamrec.models.mixture import learn_mixture, mix, mixture_bytes, new_mixture, set_mixture

F = np.float32
PLAIN = FeedbackSettings(policy="plain").parameters()
LEAST = 2.0**-24


def loss(p, y):
    p = np.clip(np.asarray(p, np.float64), LEAST, 1 - LEAST)
    return -y * np.log(p) - (1 - y) * np.log(1 - p)


def learned(predictions, labels, *, weights=None, roles=None, judged=None, options=(False, PLAIN, 1e-5)):
    n = len(labels)
    mixture, mixed = new_mixture(len(predictions)), np.empty(n, F)
    weights = np.ones(n, F) if weights is None else np.asarray(weights, F)
    roles = np.zeros(n, np.uint8) if roles is None else roles
    judged = predictions if judged is None else judged
    learn_mixture(mixture, predictions, judged, (roles, np.asarray(labels, F), weights), options, mixed)
    return mixture, mixed


class Equations:
    """The module's docstring, with vectors and matrices."""

    def __init__(self, k, linear, back):
        self.k, self.linear, self.back = k, linear, back
        self.w, self.alpha, self.A = np.full(k + 1, 1 / (k + 1)), np.full(k, 1 / k), 10.0 * np.eye(k)
        self.total = self.squares = self.n = 0.0

    def step(self, served_by_parts, y, weight):
        m = np.asarray(served_by_parts, np.float64)
        if not self.linear:
            m = np.clip(m, LEAST, 1 - LEAST)
        x = m if self.linear else np.log(m / (1 - m))
        z = self.alpha @ x
        stack = z if self.linear else np.clip(1 / (1 + np.exp(-z)), LEAST, 1 - LEAST)
        experts = np.append(m, stack)
        mixed = self.w @ experts
        if weight == 0:
            return mixed
        self.total, self.n = self.total + weight, self.n + 1
        weight = min(weight * self.n / self.total, 10.0)
        if self.linear:
            self.squares += weight * (y - mixed) ** 2
            exponent = weight * (y - experts) ** 2 / (18 * self.squares / self.n)
        else:
            exponent = weight * loss(experts, y)
        w = self.w * np.exp(-exponent)
        self.w = (1 - self.back) * w / w.sum() + self.back / (self.k + 1)
        self.A += weight * (1.0 if self.linear else stack * (1 - stack)) * np.outer(x, x)
        self.alpha = self.alpha - np.linalg.solve(self.A, x) * weight * (stack - y)
        return mixed


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("back", [1e-5, 0.02])
def test_it_is_its_equations(k, linear, back):
    rng = np.random.default_rng(k)
    n = 400
    labels = rng.normal(3, 1, n) if linear else (rng.random(n) < 0.4).astype(float)
    scores = rng.normal(3, 1, (k, n)) if linear else rng.random((k, n)) ** 2
    scores[0, :3] = [3.0, 2.0, 1.0] if linear else [0.0, 1.0, 0.5]  # float32 has both ends
    weights = rng.choice([0.0, 0.3, 1.0, 1.0, 40.0], n)
    oracle = Equations(k, linear, back)
    expected = [oracle.step(F(scores[:, i]), float(F(labels[i])), float(F(weights[i]))) for i in range(n)]
    options = (linear, AS_IT_IS if linear else PLAIN, back)
    mixture, mixed = learned(scores.astype(F), labels, weights=weights, options=options)
    np.testing.assert_allclose(mixed, expected, rtol=1e-6)
    np.testing.assert_allclose(mixture.shares, oracle.w, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(mixture.stack, oracle.alpha, rtol=1e-6, atol=1e-9)


def experts(rng, n, skill):
    """Predictions of parts that see more or less of the truth, and labels."""
    truth = rng.normal(-1, 1.5, n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-truth))).astype(F)
    logits = [truth + rng.normal(0, 1 / s, n) for s in skill]
    return (1 / (1 + np.exp(-np.array(logits)))).astype(F), labels


@pytest.mark.parametrize("skill", [(5.0, 0.2, 0.2), (0.3, 2.0), (1.0,), (0.2, 0.2, 0.2, 9.0)])
def test_its_loss_is_that_of_the_best_part_and_a_logarithm_at_most(skill):
    predictions, labels = experts(np.random.default_rng(1), 5000, skill)
    _, mixed = learned(predictions, labels)
    best = min(loss(p, labels).sum() for p in predictions)
    given_back = 5000 * 1e-5 * 2
    assert loss(mixed, labels).sum() <= best + math.log(len(skill) + 1) + given_back


def test_whatever_the_labels_are():
    """Also of one that always says the opposite of what came."""
    predictions = np.array([[0.9, 0.1] * 500, [0.5] * 1000], F)
    for labels in (np.array([0, 1] * 500, F), np.array([1, 0] * 500, F), np.zeros(1000, F)):
        _, mixed = learned(predictions, labels)
        best = min(loss(p, labels).sum() for p in predictions)
        assert loss(mixed, labels).sum() <= best + math.log(3) + 0.03


def test_two_halves_of_the_truth_are_better_together():
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 1.5, (2, 6000))
    labels = (rng.random(6000) < 1 / (1 + np.exp(-a - b))).astype(F)
    predictions = (1 / (1 + np.exp(-np.array([a, b])))).astype(F)
    mixture, mixed = learned(predictions, labels)
    assert loss(mixed, labels).mean() < 0.9 * min(loss(p, labels).mean() for p in predictions)
    np.testing.assert_allclose(mixture.stack, [1, 1], atol=0.15)
    assert mixture.shares[-1] > 0.99


def test_a_part_that_becomes_better_is_believed_soon():
    rng = np.random.default_rng(3)
    good, labels = experts(rng, 8000, (5.0, 0.1))
    good[:, 4000:] = good[::-1, 4000:]
    _, mixed = learned(good, labels)
    late = slice(4200, None)
    assert loss(mixed[late], labels[late]).mean() < 1.03 * loss(good[1, late], labels[late]).mean()


def test_ratings_are_never_much_worse_than_the_best_part():
    rng = np.random.default_rng(4)
    truth = rng.normal(3.5, 0.7, 20_000)
    labels = (truth + rng.normal(0, 0.8, truth.size)).astype(F)
    predictions = np.stack([truth + rng.normal(0, s, truth.size) for s in (0.1, 1.0, 2.0)]).astype(F)
    _, mixed = learned(predictions, labels, options=(True, AS_IT_IS, 1e-5))
    errors = ((predictions - labels) ** 2).mean(axis=1)
    assert ((mixed - labels) ** 2).mean() < 1.005 * errors.min()


@pytest.mark.parametrize("policy", ["plain", "fn_weighted", "fn_calibrated"])
@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_what_is_served_leads_back_to_what_was_learned(policy, rate):
    feedback = FeedbackSettings(policy=policy, negative_rate=rate).parameters()
    for p in (1e-6, 0.01, 0.2, 0.45):
        assert observed(served(p, feedback), feedback) == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize("policy", ["plain", "fn_weighted", "fn_calibrated"])
def test_parts_that_serve_the_truth_of_early_negatives_win(policy):
    """Impressions clicked with probability p come as negatives, and again as positives where clicked."""
    rng = np.random.default_rng(5)
    p = rng.choice([0.05, 0.4], 20_000)
    says = p / (1 + p) if policy == "plain" else p  # the share of clicks in that stream, or the truth
    clicked = rng.random(p.size) < p
    order = np.argsort(np.concatenate([np.arange(p.size), np.flatnonzero(clicked) + 50.5]))
    says = np.concatenate([says, says[clicked]])[order]
    roles = np.array([EARLY] * p.size + [CORRECTION] * clicked.sum(), np.uint8)[order]
    labels = (roles == CORRECTION).astype(F)
    logits = np.log(says / (1 - says))
    parts = 1 / (1 + np.exp(-np.stack([logits, logits + 0.3, logits - 0.3])))
    options = (False, FeedbackSettings(policy=policy).parameters(), 1e-5)
    mixture, _ = learned(parts.astype(F), labels, roles=roles, options=options)
    assert mixture.shares[0] + mixture.shares[-1] > 0.98
    np.testing.assert_allclose(mixture.stack.sum(), 1.0, atol=0.05)


def test_a_correction_is_judged_by_what_was_judged_and_answered_by_what_is_predicted():
    predictions, labels = experts(np.random.default_rng(6), 300, (2.0, 0.5))
    roles = np.where(labels > 0, CORRECTION, EARLY).astype(np.uint8)
    lower = np.where(labels > 0, predictions / 3, predictions).astype(F)
    now, answered = learned(lower, labels, roles=roles, judged=predictions)
    then, unlowered = learned(predictions, labels, roles=roles)
    np.testing.assert_array_equal(now.shares, then.shares)
    np.testing.assert_array_equal(now.stack, then.stack)
    assert (answered[labels > 0] < unlowered[labels > 0]).all()


def test_the_bound_is_how_far_the_mixtures_logit_moves_with_its_parts():
    predictions, labels = experts(np.random.default_rng(7), 500, (2.0, 1.0, 0.5))
    mixture, _ = learned(predictions, labels, options=(False, PLAIN, 0.01))
    out, moved = np.empty((2, 500), F), np.empty((2, 500), F)
    bounds = np.full((3, 500), 0.01, F)
    options = (False, PLAIN, 0.01)
    mix(mixture, predictions, bounds, options, out)
    assert (mixture.stack > 0).all()  # so that all push the same way
    logits = np.log(predictions / (1 - predictions.astype(np.float64))) + 0.01
    mix(mixture, (1 / (1 + np.exp(-logits))).astype(F), bounds, options, moved)
    change = np.log(moved[0] / (1 - moved[0])) - np.log(out[0] / (1 - out[0]))
    np.testing.assert_allclose(change, out[1], rtol=0.02)


def test_its_state_comes_back_to_the_last_bit():
    predictions, labels = experts(np.random.default_rng(8), 200, (2.0, 1.0))
    mixture, _ = learned(predictions, labels)
    again = new_mixture(2)
    set_mixture(again, mixture_bytes(mixture))
    for a, b in zip(mixture, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_final_examples_of_weight_0_change_nothing():
    predictions, labels = experts(np.random.default_rng(9), 50, (2.0, 1.0))
    mixture, _ = learned(predictions, labels, weights=np.zeros(50), roles=np.full(50, FINAL, np.uint8))
    for a, b in zip(mixture, new_mixture(2), strict=True):
        np.testing.assert_array_equal(a, b)
