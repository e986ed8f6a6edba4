"""The batch learner over the sparse table against a Python transcription of the equations with a dict for a
table.
"""

import itertools
import math

import numpy as np
import pytest

from streamrec.features.batch import Batch
from streamrec.models.ftrl import INTERCEPT, FTRLModel
from streamrec.models.settings import ModelSettings
from streamrec.optim.settings import FTRLSettings

F = np.float32
SWEEP = [
    {},
    {"l1": 0.7, "l2": 0.3, "l2_shrinkage": 0.05, "beta": 0.4, "learning_rate": 0.3},
    {"l1": 2.0, "learning_rate_power": -0.8, "initial_accumulator": 0.0, "beta": 1.0},
    {"learning_rate_power": 0.0, "learning_rate": 0.05},
    {"l2_shrinkage": 0.2, "initial_accumulator": 0.5, "learning_rate_power": -0.2},
]


def batch_of(examples, n_fields, time_ms=None):
    """examples: (bags, label, weight); a bag is a list of (id, value)."""
    ids, values, offsets = [], [], [0]
    for bags, _, _ in examples:
        assert len(bags) == n_fields
        for bag in bags:
            ids += [i for i, _ in bag]
            values += [v for _, v in bag]
            offsets.append(len(ids))
    n = len(examples)
    labels, weights = ([F(e[k]) for e in examples] for k in (1, 2))
    return Batch(
        np.array(ids, np.uint64),
        np.array(values, F),
        np.array(offsets, np.int64),
        np.zeros((n, 0), F),
        np.array(labels, F),
        np.array(weights, F),
        np.arange(n, dtype=np.int64) if time_ms is None else time_ms,
        np.zeros(n, np.uint8),
    )


def random_examples(n, n_fields, seed, distinct=60):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        bags = [
            [
                (int(rng.zipf(1.5) % distinct) + 1 + 1000 * f, float(F(rng.normal())))
                for _ in range(rng.integers(0, 4))
            ]
            for f in range(n_fields)
        ]
        yield bags, int(rng.random() < 0.3), float(F(rng.choice([1.0, 1.0, 0.3, 2.5, 0.0])))


class Transcription:
    """REFERENCE 1 with Python floats; state rounded to float32, one gradient per coordinate and example."""

    def __init__(self, s, linear=False):
        self.s, self.linear, self.state = s, linear, {}

    def weight(self, z, n):
        s = self.s
        if abs(z) <= s.l1:
            return 0.0
        q = (n**-s.learning_rate_power + s.beta) / s.learning_rate + 2 * s.l2
        return (math.copysign(s.l1, z) - z) / q if q else 0.0

    def learn(self, bags, label, weight):
        s, x = self.s, {}
        for bag in bags:
            for i, v in bag:
                x[i] = x.get(i, 0.0) + v
        x[int(INTERCEPT)] = 1.0
        state = {i: self.state.setdefault(i, (0.0, float(F(s.initial_accumulator)))) for i in x}
        w = {i: self.weight(*state[i]) for i in x}
        logit = sum(w[i] * v for i, v in x.items())
        p = logit if self.linear else 1 / (1 + math.exp(-logit))
        for i, v in x.items():
            if v == 0.0:
                continue
            (z, n), g = state[i], (p - F(label)) * F(weight) * v
            grown = float(F(n + g * g))
            sigma = (grown**-s.learning_rate_power - n**-s.learning_rate_power) / s.learning_rate
            self.state[i] = (float(F(z + g + 2 * s.l2_shrinkage * w[i] - sigma * w[i])), grown)
        return p


def model(linear=False, **ftrl):
    return FTRLModel(ModelSettings(kind="ftrl", task="rating" if linear else "click", ftrl=ftrl))


def content(m):
    return {
        int(i): tuple(r.tolist()) for ids, rows in m.table.pieces() for i, r in zip(ids, rows, strict=True)
    }


@pytest.mark.parametrize("ftrl", SWEEP)
@pytest.mark.parametrize("linear", [False, True])
def test_the_model_is_the_equations(ftrl, linear):
    m, examples = model(linear, **ftrl), list(random_examples(600, 3, seed=1))
    if linear and ftrl.get("learning_rate_power") == 0.0:
        examples = examples[:50]  # plain SGD on squared error diverges on such data; the start is compared
    oracle = Transcription(ModelSettings(ftrl=ftrl).ftrl, linear)
    expected = [oracle.learn(*e) for e in examples]
    got = m.learn(batch_of(examples, 3))
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6)
    state = content(m)
    assert state.keys() == oracle.state.keys()
    for i, row in oracle.state.items():
        np.testing.assert_allclose(state[i], row, rtol=3e-4, atol=3e-5)


@pytest.mark.parametrize("ftrl", SWEEP)
def test_a_batch_is_the_loop_over_its_examples_to_the_last_bit(ftrl):
    examples = list(random_examples(300, 2, seed=2))
    whole, single = model(**ftrl), model(**ftrl)
    together = whole.learn(batch_of(examples, 2))
    one_by_one = np.concatenate([single.learn(batch_of([e], 2)) for e in examples])
    np.testing.assert_array_equal(together, one_by_one)
    assert whole.table.digest() == single.table.digest()


def test_prediction_is_pure_and_is_what_learning_returns():
    m, examples = model(l1=0.1), list(random_examples(400, 2, seed=3))
    m.learn(batch_of(examples[:300], 2))
    before = m.table.digest()
    for e in examples[300:]:
        predicted = m.predict(batch_of([e], 2))
        assert m.predict(batch_of([e], 2)) == predicted
        assert before == m.table.digest()
        assert m.learn(batch_of([e], 2)) == predicted
        before = m.table.digest()


def test_an_id_that_repeats_in_a_bag_is_one_coordinate_with_the_sum_of_its_values():
    twice, once = model(), model()
    twice.learn(batch_of([([[(5, 1.0), (6, 1.0), (5, 0.5)]], 1, 1.0)], 1))
    once.learn(batch_of([([[(5, 1.5), (6, 1.0)]], 1, 1.0)], 1))
    assert content(twice) == content(once)


def test_weight_multiplies_the_gradient_and_weight_0_learns_nothing():
    m = model()
    m.learn(batch_of([([[(5, 1.0)]], 1, 0.0)], 1))
    z, n = content(m)[5]
    assert (z, n) == (0.0, 0.0)


def test_learning_goes_on_while_the_table_grows():
    ids = np.arange(1, 700_001, dtype=np.uint64)
    n = len(ids) // 10
    batch = Batch(
        ids, np.ones(len(ids), F), np.arange(0, len(ids) + 1, 10), np.zeros((n, 0), F),
        np.ones(n, F), np.ones(n, F), np.zeros(n, np.int64), np.zeros(n, np.uint8),
    )  # fmt: skip
    m = model()
    m.learn(batch)
    rows, found = m.table.get(ids)
    assert found.all()
    assert (rows[:, 0] < 0).all()


def test_shadow_rows_are_those_without_influence():
    m = model(l1=0.5)
    rows = np.array([[0.5, 1], [0.51, 1], [-0.5, 3], [-9, 3], [0, 0.1]], F)
    assert m.shadow("linear", rows).tolist() == [True, False, True, False, True]


def test_more_evidence_narrows_the_confidence_bound():
    m, e = model(), ([[(5, 1.0)]], 1, 1.0)
    bounds = []
    for _ in range(20):
        bounds.append(float(m.score(batch_of([e], 1))[1, 0]))
        before = m.score(batch_of([e], 1))[0, 0]
        m.learn(batch_of([e], 1))
        after = m.score(batch_of([e], 1))[0, 0]
        logits = [math.log(p / (1 - p)) for p in (before, after)]
        assert abs(logits[1] - logits[0]) <= bounds[-1]
    assert bounds == sorted(bounds, reverse=True)


def test_admission_and_expiry_are_part_of_learning():
    m = FTRLModel(ModelSettings(kind="ftrl", admission={"policy": "count", "n": 2}, expire_after_s=3600.0))
    hour = 3_600_000
    base = 1_700_000_000_000
    examples = [([[(5, 1.0)]], 1, 1.0)] * 3 + [([[(6, 1.0)]], 1, 1.0)] * 3
    times = np.array(
        [base, base + 1, base + 2, base + 3 * hour, base + 3 * hour + 1, base + 3 * hour + 2], np.int64
    )
    m.learn(batch_of(examples, 1, times))
    known = {int(i) for ids, _ in m.table.pieces() for i in ids}
    assert known == {6, int(INTERCEPT)}
    assert {int(i) for i in m.table.take_changed()[2]} == {5}


def test_one_setting_keeps_the_recipe_of_the_others():
    settings = ModelSettings.model_validate_json('{"ftrl": {"l1": 1}}', strict=True)
    assert settings.ftrl == FTRLSettings(learning_rate=0.2, beta=1.0, initial_accumulator=0.0, l1=1.0)
    assert ModelSettings().ftrl == FTRLSettings(initial_accumulator=0.0)
    given = FTRLSettings(initial_accumulator=0.1)
    assert ModelSettings(ftrl=given).ftrl is given
    assert ModelSettings.model_validate(settings.model_dump()) == settings


def cut_into(batch, cuts, **settings):
    model = FTRLModel(ModelSettings(kind="ftrl", **settings))
    for start, end in itertools.pairwise([0, *cuts, len(batch)]):
        model.learn(batch.part(start, end))
    return model


def test_last_use_does_not_depend_on_where_a_batch_ends():
    hours = np.array([0, 2400, 1, 2, 3, 4], np.int64)  # the second is from the future: it counts as now
    batch = batch_of([([[(i, 1.0)]], 1, 1.0) for i in range(1, 7)], 1, 1_700_000_000_000 + 3_600_000 * hours)
    whole = cut_into(batch, [], expire_after_s=86_400 * 30)
    for cuts in ([2], [1, 2, 3, 4, 5], [1], [4]):
        assert cut_into(batch, cuts, expire_after_s=86_400 * 30).table.digest() == whole.table.digest()


def test_an_id_of_value_0_is_committed_too():
    model = cut_into(batch_of([([[(7, 0.0)], [(8, 1.0)]], 1, 1.0)], 2), [])
    ids, rows, _ = model.table.take_changed()
    copy = FTRLModel(ModelSettings(kind="ftrl"))
    copy.table.upsert(ids, rows, changed=False)
    assert copy.table.digest() == model.table.digest()
