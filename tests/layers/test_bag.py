"""Pooling beside a loop in float64, finite differences, and the same out of a table."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_checks import numeric, random

from streamrec.layers.bag import POOLINGS, Pooling
from streamrec.state.table import SparseTable


def brute(rows, values, offsets, fields, width, pooling):
    out = []
    for start, end in itertools.pairwise(offsets):
        x, v = values[start:end].astype(np.float64), rows[start:end, :width].astype(np.float64)
        divisor = {
            "sum": 1,
            "mean": len(x),
            "weighted": np.abs(x).sum(),
            "sqrt": np.sqrt((x * x).sum()),
        }[pooling]
        out.append(x @ v / divisor if divisor else np.zeros(width))
    return np.array(out).reshape(-1, fields * width)


def batch(sizes, width, seed=0, dtype=np.float64):
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return random((offsets[-1], width), seed, dtype), random(offsets[-1], seed + 1, dtype), offsets


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(0, 4), min_size=0, max_size=6),
    st.sampled_from([1, 3, 16]),
    st.sampled_from([*POOLINGS]),
)
def test_any_bags(sizes, width, pooling):
    sizes = sizes[: len(sizes) // 2 * 2]
    rows, values, offsets = batch(sizes, width)
    layer = Pooling(2, width, pooling)
    x = layer.forward(rows, values, offsets)
    assert x.shape == (len(sizes) // 2, 2 * width)
    np.testing.assert_allclose(x, brute(rows, values, offsets, 2, width, pooling), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_derivatives(pooling):
    rows, values, offsets = batch([2, 0, 1, 3], 3)
    layer = Pooling(2, 3, pooling)
    weight = random((2, 6), 5)
    expected = numeric(lambda: float((layer.forward(rows, values, offsets) * weight).sum()), rows)
    np.testing.assert_allclose(layer.backward(values, offsets, weight), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_out_of_a_table_it_is_the_same(pooling):
    rows, values, offsets = batch([2, 0, 1, 3, 4, 1], 5, dtype=np.float32)
    ids = np.arange(1, len(rows) + 1, dtype=np.uint64) ** 5
    ids[4] = ids[1]  # one id in two bags
    rows[4] = rows[1]
    table = SparseTable(5)
    table.upsert(ids, rows)
    table.delete(ids[2:3])
    rows[2] = 0
    layer = Pooling(2, 3, pooling)  # the last two slots are an optimizer's
    found = layer.look_up(table, ids, values, offsets)
    assert found.tobytes() == layer.forward(rows, values, offsets).tobytes()
    np.testing.assert_allclose(found, brute(rows, values, offsets, 2, 3, pooling), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_an_example_has_bits_of_its_own(pooling):
    rows, values, offsets = batch(np.random.default_rng(1).integers(0, 4, 100 * 20), 16, dtype=np.float32)
    layer = Pooling(20, 16, pooling)
    together = layer.forward(rows, values, offsets)
    for b in (0, 1, 50, 99):
        its = offsets[b * 20 : (b + 1) * 20 + 1]
        part = slice(its[0], its[-1])
        assert (
            layer.forward(rows[part], values[part], its - its[0]).tobytes() == together[b : b + 1].tobytes()
        )


@pytest.mark.parametrize("pooling", ["weighted", "sqrt"])
def test_values_of_zero_are_no_division_by_zero(pooling):
    layer = Pooling(1, 1, pooling)
    assert layer.forward(np.ones((2, 1)), np.zeros(2), np.array([0, 2])).tolist() == [[0.0]]
    assert layer.backward(np.zeros(2), np.array([0, 2]), np.ones((1, 1))).tolist() == [[0.0], [0.0]]


OFFSETS = np.array([0, 1, 2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.forward(np.ones((2, 2)), np.ones(2), OFFSETS), r"expected rows \(2, 3\), got \(2, 2\)"),
        (lambda p: p.forward(np.ones((1, 3)), np.ones(2), OFFSETS), r"expected rows \(2, 3\), got \(1, 3\)"),
        (
            lambda p: p.forward(np.ones((2, 3)), np.ones(2), OFFSETS[:2]),
            "expected offsets of 2 bags an example up to 2, got 1 bags up to 1",
        ),
        (
            lambda p: p.forward(np.ones((2, 3)), np.ones(2), OFFSETS[:0]),
            "expected offsets of 2 bags an example up to 2, got -1 bags up to None",
        ),
        (
            lambda p: p.backward(np.ones(2), OFFSETS, np.ones((2, 6))),
            "expected 5 offsets up to 2, got 3 up to 2",
        ),
        (
            lambda p: p.backward(np.ones(2), OFFSETS, np.ones((1, 5))),
            r"expected float64 of shape \(B, 6\), got float64 of shape \(1, 5\)",
        ),
        (
            lambda p: p.look_up(SparseTable(2), OFFSETS.astype(np.uint64), np.ones(3, np.float32), OFFSETS),
            "expected 3 values and a table of at least 3 slots, got 3 and 2",
        ),
        (lambda p: Pooling(0, 1), "expected at least 1 field of width 1, got 0 of 1"),
        (lambda p: Pooling(1, 1, "max"), "expected one of sum, mean, weighted, sqrt, got 'max'"),
    ],
)
def test_what_does_not_fit_is_one_line(call, message):
    with pytest.raises(ValueError, match=f"^Pooling: {message}$"):
        call(Pooling(2, 3))
