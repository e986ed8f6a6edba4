"""Towers of any depth against their definition: vectors averaged, ReLU between layers, none on the last."""

import numpy as np
import pytest

from streamrec.models.retrieval.history import Near
from streamrec.models.retrieval.item_bags import Bags
from streamrec.models.retrieval.settings import TowerSettings
from streamrec.models.retrieval.towers import Towers

WIDTH, UNITS = 8, 6
DEPTHS = [(), (15,), (16, 15), (17, 16, 15)]
QUERY = Bags(
    np.array([11, 12, 13, 14, 15], np.uint64),
    np.array([1, 2, 1, 1, 1], np.float32),
    np.array([0, 2, 3, 5, 5]),
)
ITEMS = Bags(np.array([21, 22, 23], np.uint64), np.ones(3, np.float32), np.array([0, 1, 3, 3]))
NEAR = Near(
    np.array([[31, 0, 32, 0], [0, 0, 0, 0]], np.uint64), np.array([[1, 0, 0.5, 0], [0] * 4], np.float32)
)


def towers_of(**settings):
    return Towers((2, 1), TowerSettings(width=WIDTH, units=UNITS, **settings), (1.0,), seed=5)


def expected(tower, bags, *, normalise):
    """float64, from vectors and kernels as they are."""
    parts = []
    for fields, its in bags:
        vectors = tower.embedding.lookup(its.ids).astype(np.float64)
        means = []
        for start, end in zip(its.offsets[:-1], its.offsets[1:], strict=True):
            weights = its.values[start:end].astype(np.float64)
            means.append(weights @ vectors[start:end] / weights.sum() if end > start else np.zeros(WIDTH))
        parts.append(np.array(means).reshape(-1, fields * WIDTH))
    x = np.concatenate(parts, axis=1)
    layers = tower.stack.layers
    for number, layer in enumerate(layers):
        kernel, bias = (_own(layer.parameters, f"{number}.{name}") for name in ("kernel", "bias"))
        x = x @ kernel + bias
        x = np.maximum(x, 0) if number + 1 < len(layers) else x
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6) if normalise else x


def _own(parameters, end):
    """The one whose name ends so, float64."""
    (value,) = (value for name, value in parameters.items() if name.endswith(end))
    return value.astype(np.float64)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("depth", DEPTHS)
def test_both_are_what_the_definition_says(depth, normalise):
    towers = towers_of(query=depth, candidate=depth[::-1], normalise=normalise)
    there = NEAR.items != 0
    history = Bags(NEAR.items[there], NEAR.weights[there], np.array([0, 2, 2]))
    q, c = towers.query(QUERY, NEAR)[0], towers.candidate(ITEMS)[0]
    assert q == pytest.approx(
        expected(towers._query, [(2, QUERY), (1, history)], normalise=normalise), abs=1e-5
    )
    assert c == pytest.approx(expected(towers._candidate, [(1, ITEMS)], normalise=normalise), abs=1e-5)
    assert len(towers._query.stack.layers) == len(depth) + 1
    assert (q < 0).any()


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("depth", DEPTHS)
def test_any_depth_learns(depth, normalise):
    """Steps against the slope of a score of wrong pairs bring right ones nearer, from vectors to last layers."""
    towers = towers_of(query=depth, candidate=depth, normalise=normalise)
    bags = Bags(ITEMS.ids[:2], ITEMS.values[:2], np.array([0, 1, 2]))
    first = towers._query.embedding.lookup(QUERY.ids).copy()
    before = None
    for _ in range(100):
        (q, of_query), (c, of_candidate) = towers.query(QUERY, NEAR), towers.candidate(bags)
        scores = q @ c.T
        p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        slopes = (p - np.eye(2)).astype(np.float32)
        loss = -np.log(np.diag(p)).sum()
        before = loss if before is None else before
        towers.learn((of_query, slopes @ c), (of_candidate, slopes.T @ q), np.zeros(1))
    assert loss < before - 0.05
    assert (towers._query.embedding.lookup(QUERY.ids) != first).all(axis=1).all()


def test_without_fields_a_query_is_its_history():
    towers = Towers((0, 1), TowerSettings(width=WIDTH, units=UNITS), (1.0,), seed=5)
    q, _ = towers.query(Bags(QUERY.ids[:0], QUERY.values[:0], np.zeros(1, np.int64)), NEAR)
    assert q.shape == (2, UNITS)
    assert not np.array_equal(q[0], q[1])
