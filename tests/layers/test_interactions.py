"""Dot interaction and factorisation machine beside all pairs, TFRS's golden numbers and finite differences."""

import numpy as np
import pytest
from layer_checks import check_gradients, check_rows, check_small, random

from streamrec.layers.dot import DotInteraction
from streamrec.layers.fm import FactorizationMachine

GOLDEN = np.array([[1, 2, 3, 4, 5, 6]], np.float32)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [11, 17, 39]),
        ({"self_interaction": True}, [5, 11, 25, 17, 39, 61]),
        ({"layout": "skip_gather"}, [0, 0, 0, 11, 0, 0, 17, 39, 0]),
        ({"layout": "skip_gather", "self_interaction": True}, [5, 0, 0, 11, 25, 0, 17, 39, 61]),
    ],
)
def test_golden_numbers(options, expected):
    layer = DotInteraction(3, 2, **options)
    assert layer.forward(GOLDEN)[0].tolist() == [expected]
    assert layer.units == len(expected)


@pytest.mark.parametrize(("rows", "fields", "width"), [(1, 1, 3), (2, 4, 3), (3, 5, 1)])
@pytest.mark.parametrize("layout", ["lower", "skip_gather"])
@pytest.mark.parametrize("self_interaction", [True, False])
def test_derivatives_of_dots(rows, fields, width, layout, self_interaction):
    layer = DotInteraction(fields, width, layout=layout, self_interaction=self_interaction, dtype=np.float64)
    x = random((rows, fields * width))
    vectors = x.reshape(rows, fields, width)
    products = np.tril(vectors @ vectors.transpose(0, 2, 1), 0 if self_interaction else -1)
    if layout == "lower":
        expected = products[:, *np.tril_indices(fields, 0 if self_interaction else -1)]
    else:
        expected = products.reshape(rows, -1)
    np.testing.assert_allclose(layer.forward(x)[0], expected, rtol=1e-12, atol=1e-12)
    check_gradients(layer, x)


@pytest.mark.parametrize(("rows", "fields", "width"), [(1, 1, 3), (2, 4, 3), (3, 2, 1)])
def test_derivatives_of_pairs(rows, fields, width):
    layer = FactorizationMachine(fields, width, dtype=np.float64)
    x = random((rows, fields * width))
    v = x.reshape(rows, fields, width)
    lemma = 0.5 * (v.sum(1) ** 2 - (v**2).sum(1)).sum(1, keepdims=True)
    np.testing.assert_allclose(layer.forward(x)[0], lemma, rtol=1e-12, atol=1e-12)
    check_gradients(layer, x)


def test_pairs_do_not_cancel():
    x = np.array([[1e4, 1e-4, 1e-4]], np.float32)  # by the lemma in float32: 0
    assert FactorizationMachine(3, 1).forward(x)[0][0, 0] == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize(
    "layer",
    [DotInteraction(20, 16), DotInteraction(20, 16, layout="skip_gather"), FactorizationMachine(20, 16)],
)
def test_rows_have_bits_of_their_own(layer):
    check_rows(layer, random((500, 320), dtype=np.float32))
    check_small(layer, random((1, 320), dtype=np.float32))


@pytest.mark.parametrize("kind", [DotInteraction, FactorizationMachine])
def test_wrong_shapes_are_one_line(kind):
    layer = kind(3, 2)
    with pytest.raises(ValueError, match=rf"^{kind.__name__}: expected float32 of shape \(B, 6\), got .*$"):
        layer.forward(np.zeros((1, 5), np.float32))
    with pytest.raises(ValueError, match=rf"^{kind.__name__}: expected float32 of shape \(B, \d\), got .*$"):
        layer.backward(layer.forward(GOLDEN)[1], np.zeros((1, 5), np.float32), {})
    with pytest.raises(
        ValueError, match=rf"^{kind.__name__}: expected at least 1 field of width 1, got 0 of 2$"
    ):
        kind(0, 2)


def test_a_wrong_layout_is_one_line():
    with pytest.raises(
        ValueError, match=r"^DotInteraction: layout: expected one of lower, skip_gather, got 'up'$"
    ):
        DotInteraction(2, 2, layout="up")
