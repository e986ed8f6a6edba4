"""L2 normalisation and dropout: derivatives, limits, and what a mask depends on."""

import numpy as np
import pytest
from layer_checks import check_gradients, check_rows, check_small, random

from streamrec.layers.dropout import Dropout
from streamrec.layers.normalise import L2Normalise


@pytest.mark.parametrize(("rows", "inputs"), [(1, 3), (4, 1), (3, 7)])
def test_derivatives_of_normalising(rows, inputs):
    layer = L2Normalise(inputs, dtype=np.float64)
    x = random((rows, inputs))
    np.testing.assert_allclose(layer.forward(x)[0], x / np.linalg.norm(x, axis=1, keepdims=True), rtol=1e-12)
    check_gradients(layer, x)


def test_short_vectors_are_scaled_by_a_million():
    layer = L2Normalise(2, dtype=np.float64)
    x = np.array([[0.0, 0.0], [3e-8, 4e-8]])
    y, tape = layer.forward(x)
    np.testing.assert_allclose(y, x * 1e6, rtol=1e-12)
    np.testing.assert_allclose(layer.backward(tape, np.ones((2, 2)), {}), np.full((2, 2), 1e6), rtol=1e-12)


@pytest.mark.parametrize("layer", [L2Normalise(33), Dropout(33)])
def test_rows_have_bits_of_their_own(layer):
    check_rows(layer, random((500, 33), dtype=np.float32))
    check_small(layer, random((1, 33), dtype=np.float32))


def test_dropout_is_off_by_default_and_in_predictions():
    x = random((3, 4), dtype=np.float32)
    assert Dropout(4).forward(x, 7)[0] is x
    y, tape = Dropout(4, 0.9).forward(x)
    assert y is x
    assert Dropout(4, 0.9).backward(tape, x, {}) is x


def test_a_mask_is_of_the_example_not_of_the_batch():
    layer = Dropout(50, 0.4, seed=3)
    x = random((20, 50), dtype=np.float32)
    together = layer.forward(x, 100)[0]
    for b in (0, 7, 19):
        assert layer.forward(x[b : b + 1], 100 + b)[0].tobytes() == together[b : b + 1].tobytes()
    assert Dropout(50, 0.4, seed=3).forward(x, 100)[0].tobytes() == together.tobytes()
    for other in (Dropout(50, 0.4, seed=4), Dropout(50, 0.4, seed=3, name="b")):
        assert ((other.forward(x, 100)[0] == 0) != (together == 0)).mean() > 0.3


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_shares_and_the_mean(rate):
    y = Dropout(100, rate).forward(np.ones((2000, 100), np.float32), 0)[0]
    kept = y != 0
    assert kept.mean() == pytest.approx(1 - rate, abs=0.005)
    np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=1e-6)
    assert abs(np.corrcoef(kept[:-1, 3], kept[1:, 3])[0, 1]) < 0.1  # one example, the next
    assert abs(np.corrcoef(kept[:, 3], kept[:, 4])[0, 1]) < 0.1  # one column, the next


def test_the_gradient_goes_where_the_value_went():
    layer = Dropout(40, 0.5, dtype=np.float64)
    x = random((6, 40))
    y, tape = layer.forward(x, 5)
    np.testing.assert_allclose(layer.backward(tape, np.ones((6, 40)), {}), y / x, rtol=1e-12)


@pytest.mark.parametrize("layer", [L2Normalise(3), Dropout(3, 0.1)])
def test_wrong_shapes_are_one_line(layer):
    name = type(layer).__name__
    with pytest.raises(ValueError, match=rf"^{name}: expected float32 of shape \(B, 3\), got .*$"):
        layer.forward(np.zeros((1, 5), np.float32))
    tape = layer.forward(np.zeros((1, 3), np.float32))[1]
    with pytest.raises(ValueError, match=rf"^{name}: expected float32 of shape \(B, 3\), got .*$"):
        layer.backward(tape, np.zeros(3, np.float32), {})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: L2Normalise(0), "L2Normalise: expected at least 1 input, got 0"),
        (lambda: Dropout(0), "Dropout: expected at least 1 input, got 0"),
        (lambda: Dropout(1, 1.0), "Dropout: rate: expected at least 0 and less than 1, got 1.0"),
        (lambda: Dropout(1, float("nan")), "Dropout: rate: expected at least 0 and less than 1, got nan"),
    ],
)
def test_wrong_settings_are_one_line(build, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        build()
