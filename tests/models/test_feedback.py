"""Early and sampled negatives: weights against the papers in float64, and what a long stream tends to."""

import functools
import itertools
import math

import numpy as np
import pytest
from test_ftrl_model import batch_of, content, random_examples

from streamrec.events.feedback import CORRECTION, EARLY, FINAL
from streamrec.models.feedback import FeedbackSettings
from streamrec.models.ftrl import INTERCEPT, FTRLModel
from streamrec.models.settings import ModelSettings

POLICIES = ("plain", "fn_weighted", "fn_calibrated")
RATES = (1.0, 0.25)
F = np.float32


def with_roles(examples, roles):
    batch = batch_of(examples, len(examples[0][0]))
    batch.role[:] = roles
    return batch


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


class Paper:
    """FTRL (beta 1, lr .2) on the loss of one example as Ktena et al. and He et al. write it, without a frame."""

    def __init__(self, policy, rate):
        self.policy, self.rate, self.state = policy, rate, {}

    def serve(self, b):
        q = b / (b + (1 - b) / self.rate)
        return min(q / (1 - q), 1.0) if self.policy == "fn_calibrated" else q

    def gradient(self, m, p, label, role):
        """d loss / d logit at the model's output m, where p is served, of a positive and a negative part."""
        positive, negative = label * (m - 1), self.rate * (1 - label) * m
        if (
            self.policy == "fn_calibrated" and role == FINAL
        ):  # the negative it would have been before its click
            return positive + self.rate * m
        if self.policy == "fn_weighted" and role == EARLY:
            return (1 - p) * (1 + p) * (positive + negative)
        if self.policy == "fn_weighted" and role == CORRECTION:
            return (1 + p) * (positive + negative)
        return positive + negative

    def learn(self, bags, label, weight, role):
        x = {int(INTERCEPT): 1.0}
        for i, v in itertools.chain(*bags):
            x[i] = x.get(i, 0.0) + v
        state = {i: self.state.get(i, (0.0, 0.0)) for i in x}
        w = {i: -z * 0.2 / (math.sqrt(n) + 1) for i, (z, n) in state.items()}
        m = sigmoid(sum(w[i] * v for i, v in x.items()))
        p = self.serve(m)
        for i, v in x.items():
            (z, n), g = state[i], self.gradient(m, p, label, role) * weight * v
            grown = float(F(n + g * g))
            self.state[i] = float(F(z + g - (math.sqrt(grown) - math.sqrt(n)) / 0.2 * w[i])), grown
        return p


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("rate", RATES)
def test_weights_are_those_of_the_papers(policy, rate):
    rng = np.random.default_rng(4)
    examples, roles = [], []
    for bags, label, weight in random_examples(500, 2, seed=5):
        roles.append(int(rng.choice([FINAL, EARLY, CORRECTION])))
        examples.append(
            (bags, {EARLY: 0, CORRECTION: 1}.get(roles[-1], float(rng.choice([label, 0.25]))), weight)
        )
    model = FTRLModel(ModelSettings(kind="ftrl", feedback={"policy": policy, "negative_rate": rate}))
    oracle = Paper(policy, rate)
    expected = [oracle.learn(*e, role) for e, role in zip(examples, roles, strict=True)]
    np.testing.assert_allclose(model.learn(with_roles(examples, roles)), expected, rtol=2e-5, atol=2e-6)
    state = content(model)
    for i, row in oracle.state.items():
        np.testing.assert_allclose(state[i], row, rtol=3e-4, atol=3e-5)


@functools.cache
def stream(p, n, rate, early=True):
    """Of n impressions in two groups with click rates p, negatives sampled; clicks come 50 impressions later."""
    rng = np.random.default_rng(3)
    arrivals = []
    for i in range(n):
        group = int(rng.integers(2))
        bags, clicked = [[(group + 1, 1.0)]], rng.random() < p[group]
        kept = rng.random() < rate
        if early and kept:
            arrivals.append((i, (bags, 0, 1 / rate), EARLY))
        if clicked and i + 50 < n:
            arrivals.append((i + 50, (bags, 1, 1.0), CORRECTION if early else FINAL))
        elif not clicked and not early and kept:
            arrivals.append((i, (bags, 0, 1 / rate), FINAL))
    arrivals.sort(key=lambda arrival: arrival[0])
    return with_roles([e for _, e, _ in arrivals], [role for *_, role in arrivals])


@pytest.mark.parametrize("kind", ["ftrl", "wide"])
@pytest.mark.parametrize("policy", ["fn_weighted", "fn_calibrated"])
@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("rate", [1.0, 0.2])
@pytest.mark.parametrize("early", [False, True])
def test_predictions_are_calibrated_whatever_the_stream(kind, policy, corrected, rate, early):
    feedback = FeedbackSettings(policy=policy, negative_rate=rate if corrected else 1.0)
    model = FTRLModel(ModelSettings(kind=kind, feedback=feedback))
    p, batch = (0.1, 0.4), stream((0.1, 0.4), 20_000, rate, early)
    predictions, half = model.learn(batch), len(batch) // 2
    served = [predictions[half:][batch.ids[half:] == group].mean() for group in (1, 2)]
    np.testing.assert_allclose(served, p, rtol=0.12)  # plainly learned, early ones are 28 % below .4


def test_plain_learns_the_share_of_clicks_in_its_own_stream():
    model = FTRLModel(ModelSettings(kind="ftrl", feedback={"policy": "plain"}))
    served = model.learn(stream((0.4, 0.4), 20_000, 1.0))[10_000:].mean()
    assert served == pytest.approx(0.4 / 1.4, rel=0.05)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("kind", ["ftrl", "wide"])
def test_what_is_served_is_what_learning_returns_to_the_last_bit(policy, rate, kind):
    model = FTRLModel(ModelSettings(kind=kind, feedback={"policy": policy, "negative_rate": rate}))
    batch = stream((0.3, 0.9), 400, 0.5)
    for b in range(len(batch)):
        predicted = model.predict(batch.part(b, b + 1))
        assert model.learn(batch.part(b, b + 1)) == predicted
        assert 0.0 < predicted[0] < 1.0


def test_final_labels_are_learned_as_ever_where_nothing_is_corrected():
    examples = list(random_examples(300, 2, seed=8))
    digests = set()
    for policy in ("plain", "fn_weighted"):
        model = FTRLModel(ModelSettings(kind="wide", feedback={"policy": policy}))
        model.learn(batch_of(examples, 2))
        digests.add(model.table.digest())
    assert len(digests) == 1


def test_numbers_cannot_be_corrected():
    for feedback in ({"policy": "fn_calibrated"}, {"negative_rate": 0.5}):
        with pytest.raises(ValueError, match="only predictions of clicks can be corrected"):
            ModelSettings(task="rating", feedback=feedback)
    assert ModelSettings(task="rating").feedback.policy == "fn_weighted"


@pytest.mark.parametrize(
    "wrong", [{"policy": "undo"}, {"negative_rate": 0}, {"negative_rate": 1.1}, {"rate": 1}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FeedbackSettings(**wrong)
