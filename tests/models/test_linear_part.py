"""The linear part as a `Part`: its evidence, and learning from slopes, are the fused loop of `ftrl`."""

import numpy as np
import pytest
from test_ftrl_model import batch_of, random_examples

from streamrec.models.deep.model import DeepModel
from streamrec.models.ftrl import FTRLModel
from streamrec.models.linear_part import LinearPart
from streamrec.models.settings import ModelSettings

SETTINGS = [
    {},
    {"l1": 0.4, "l2": 0.1, "learning_rate": 0.3},
    {"learning_rate_power": -0.8, "initial_accumulator": 0.1},
]


def settings(**given):
    return ModelSettings.model_validate({"kind": "wide", "deep": {"micro_batch": 1}, **given})


@pytest.mark.parametrize("ftrl", SETTINGS)
@pytest.mark.parametrize("task", ["click", "rating"])
def test_one_example_at_a_time_it_is_the_fused_loop_to_the_last_bit(ftrl, task):
    batch = batch_of(list(random_examples(300, 3, seed=1)), 3)
    fused, parted = (
        FTRLModel(settings(ftrl=ftrl, task=task)),
        DeepModel(settings(ftrl=ftrl, task=task), LinearPart(settings(ftrl=ftrl, task=task))),
    )
    np.testing.assert_array_equal(parted.learn(batch), fused.learn(batch))
    assert parted.tables["linear"].digest() == fused.table.digest()
    np.testing.assert_array_equal(parted.score(batch), fused.score(batch))


def test_rows_come_and_go_as_in_the_fused_loop():
    hour = 3_600_000
    examples = list(random_examples(400, 2, seed=2))
    batch = batch_of(examples, 2, 1_700_000_000_000 + np.arange(400, dtype=np.int64) * hour)
    given = {"expire_after_s": 86_400.0, "admission": {"policy": "count", "n": 2}}
    fused, parted = FTRLModel(settings(**given)), DeepModel(settings(**given), LinearPart(settings(**given)))
    fused.learn(batch)
    for cut in (0, 150, 151):
        parted.learn(batch.part(cut, {0: 150, 150: 151, 151: 400}[cut]))
    assert len(parted.tables["linear"]) < len({i for ids in examples for bag in ids[0] for i, _ in bag})
    known = [{int(i) for ids, _ in m.tables["linear"].pieces() for i in ids} for m in (fused, parted)]
    assert known[0] == known[1]


def test_the_evidence_is_pure_and_unknown_ids_count_as_absent():
    part, batch = LinearPart(settings()), batch_of(list(random_examples(50, 2, seed=3)), 2)
    part.backward(part.forward(batch)[1], np.linspace(-1, 1, 50))
    before = part.table.digest()
    evidence, tape = part.forward(batch)
    again, _ = part.forward(batch_of([([[(10**9, 1.0)], []], 1, 1.0)], 2))
    assert part.table.digest() == before
    rows = part.forward(batch_of([([[], []], 1, 1.0)], 2))[0]  # the intercept alone
    assert again[0] == rows[0]
    alone = np.concatenate([part.forward(batch.part(b, b + 1))[0] for b in range(50)])
    np.testing.assert_array_equal(alone, evidence)
    assert (part.bound(tape) > 0).all()


def test_slopes_of_several_examples_are_learned_one_after_another():
    batch, slopes = batch_of(list(random_examples(80, 2, seed=4)), 2), np.linspace(-2, 1, 80)
    together, one_by_one = LinearPart(settings()), LinearPart(settings())
    together.backward(together.forward(batch)[1], slopes)
    for b in range(80):
        one = batch.part(b, b + 1)
        one_by_one.backward(one_by_one.forward(one)[1], slopes[b : b + 1])
    assert together.table.digest() == one_by_one.table.digest()


def test_learning_from_slopes_goes_on_while_the_table_grows():
    examples = [([[(10 * b + i + 1, 1.0) for i in range(10)]], 1, 1.0) for b in range(60_000)]
    batch = batch_of(examples, 1)
    part = LinearPart(settings())
    part.backward(part.forward(batch)[1], np.full(60_000, -1.0))
    rows, found = part.table.get(batch.ids)
    assert found.all()
    assert (rows[:, 0] < 0).all()
