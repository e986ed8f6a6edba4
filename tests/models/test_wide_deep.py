"""Parts under one loss."""

import math

import numpy as np
from test_ftrl_model import batch_of, random_examples

from streamrec.models.deep.build import network_part
from streamrec.models.inputs import Inputs
from streamrec.models.linear_part import LinearPart
from streamrec.models.registry import build_model
from streamrec.models.settings import ModelSettings
from streamrec.models.wide_deep import Sum, wide_deep_model

INPUTS = Inputs(("a", "b"), ("a×b",), ("rate(a)",), 0)


class Constant:
    """A part that always says the same, and remembers what it was told."""

    def __init__(self, evidence):
        self.evidence, self.slopes, self.tables = evidence, [], {}

    def forward(self, batch):
        return np.full(len(batch), self.evidence), len(batch)

    def backward(self, tape, slopes):
        assert tape == len(slopes)
        self.slopes += slopes.tolist()

    def bound(self, tape):
        return np.full(tape, 0.25)

    def blobs(self):
        return {"said": b"x"}

    def restore(self, blobs):
        self.restored = dict(blobs)


def test_evidence_and_bounds_add_and_all_get_the_same_slopes():
    parts = {"one": Constant(0.5), "two": Constant(-2.0)}
    both, batch = Sum(parts), batch_of(list(random_examples(5, 4, seed=1)), 4)
    evidence, tape = both.forward(batch)
    both.backward(tape, np.arange(5.0))
    assert evidence.tolist() == [-1.5] * 5
    assert both.bound(tape).tolist() == [0.5] * 5
    assert parts["one"].slopes == parts["two"].slopes == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_every_part_keeps_its_own_names():
    settings = ModelSettings(kind="wide_deep", expire_after_s=1000.0)
    model = wide_deep_model(settings, INPUTS)
    assert {"wide.linear", "deep.dense", "deep.embedding"} <= set(model.tables)
    two = Sum({"one": Constant(0.0), "two": Constant(0.0)})
    assert dict(two.blobs()) == {"one.said": b"x", "two.said": b"x"}
    two.restore({"one.said": b"1", "two.said": b"2", "frame": b"3"})
    assert [part.restored for part in two.parts.values()] == [{"said": b"1"}, {"said": b"2"}]
    rows = np.zeros((2, 3), np.float32)
    assert model.shadow("wide.linear", rows).tolist() == [True, True]
    assert model.shadow("deep.dense", rows).tolist() == [False, False]


def test_one_step_is_that_of_both_parts_with_the_joint_slope():
    settings = ModelSettings(kind="wide_deep", deep={"micro_batch": 1})
    model = build_model(settings, INPUTS)
    linear, network = (
        LinearPart(settings),
        network_part(settings, Inputs(("a", "b"), (), ("x", "r"), 0), "dcn"),
    )
    batch = batch_of(list(random_examples(40, 4, seed=2)), 4)
    offset, n, clicks = 0.0, 0.0, 0.0
    for b in range(len(batch)):
        one = batch.part(b, b + 1)
        (wide, of_wide), (deep, of_deep) = linear.forward(one), network.forward(one)
        offset = math.log((clicks + 0.5) / (n - clicks + 0.5))
        p = 1 / (1 + math.exp(-(offset + wide[0] + deep[0])))
        slope = np.array([(p - float(one.labels[0])) * float(one.weights[0])])
        linear.backward(of_wide, slope)
        network.backward(of_deep, slope)
        clicks, n = clicks + float(one.labels[0] * one.weights[0]), n + float(one.weights[0])
        model.learn(one)
    for name, table in {**linear.tables}.items():
        for (ids, rows), (its_ids, its) in zip(
            table.pieces(), model.tables[f"wide.{name}"].pieces(), strict=True
        ):
            np.testing.assert_array_equal(ids, its_ids)
            np.testing.assert_allclose(rows, its, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(network.dense_parameters["top.0.kernel"], _top(model), rtol=1e-4, atol=1e-6)


def _top(model):
    return model.part.parts["deep"].dense_parameters["top.0.kernel"]


def test_the_network_has_no_vectors_for_crosses_and_statistics():
    model = build_model(ModelSettings(kind="wide_deep", deep={"micro_batch": 1}), INPUTS)
    batch = batch_of([([[(1, 1.0)], [(2, 1.0)], [(3, 1.0)], [(4, 1.0)]], 1, 1.0)], 4)
    model.learn(batch)
    known = {int(i) for ids, _ in model.tables["deep.embedding"].pieces() for i in ids}
    assert known == {1, 2}
    assert {1, 2, 3, 4} < {int(i) for ids, _ in model.tables["wide.linear"].pieces() for i in ids}


def test_the_wide_part_has_l1_unless_something_else_is_set():
    default = ModelSettings(kind="wide_deep").ftrl
    assert default.l1 > 0
    assert default.learning_rate < ModelSettings(kind="wide").ftrl.learning_rate
    given = ModelSettings.model_validate({"kind": "wide_deep", "ftrl": {"l1": 0.0}})
    assert (given.ftrl.l1, given.ftrl.learning_rate) == (0.0, default.learning_rate)
    assert given.model_dump(exclude_unset=True) == {"kind": "wide_deep", "ftrl": {"l1": 0.0}}
    parts = ModelSettings.model_validate(
        {"kind": "blend", "ftrl": {"l2": 1.0}, "blend": {"parts": ["wide", "wide_deep"]}}
    ).blend.parts
    assert [(part.ftrl.l2, part.ftrl.l1) for part in parts] == [(1.0, 0.0), (1.0, default.l1)]
