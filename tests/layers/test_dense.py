"""Dense layers and MLPs beside finite differences and their formula."""

import numpy as np
import pytest
from layer_checks import check_gradients, check_rows, check_small, random

from streamrec.layers.activation import ACTIVATIONS, Activation
from streamrec.layers.base import Factors, shared
from streamrec.layers.dense import Dense
from streamrec.layers.mlp import MLP

SQUARE = Activation(lambda z: z * z, lambda y: 2 * np.sqrt(y))  # of z ≥ 0 only
CUBE = Activation(lambda z: z**3, lambda y: 3 * np.cbrt(y) ** 2)


@pytest.mark.parametrize("activation", [*ACTIVATIONS, None, CUBE])
@pytest.mark.parametrize(("rows", "inputs", "units"), [(1, 3, 2), (4, 1, 1), (7, 19, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_dense_derivatives(activation, rows, inputs, units, bias):
    layer = Dense(inputs, units, activation, bias=bias, dtype=np.float64)
    check_gradients(layer, random((rows, inputs), seed=rows))


@pytest.mark.parametrize("units", [[1], [5, 1], [7, 6, 3]])
@pytest.mark.parametrize("final", [None, "sigmoid", "relu"])
def test_mlp_derivatives(units, final):
    check_gradients(MLP(6, units, "tanh", final, dtype=np.float64), random((3, 6)))


def test_dense_is_its_formula():
    layer = Dense(5, 3, "sigmoid", dtype=np.float64)
    layer.parameters["bias"][:] = [1, 2, 3]
    x = random((4, 5))
    z = x @ layer.parameters["kernel"] + [1, 2, 3]
    np.testing.assert_allclose(layer.forward(x)[0], 1 / (1 + np.exp(-z)), rtol=1e-12)


@pytest.mark.parametrize("activation", [*ACTIVATIONS, SQUARE])
@pytest.mark.parametrize(("inputs", "units"), [(320, 128), (64, 1), (33, 21), (1, 1)])
def test_dense_rows_have_bits_of_their_own(activation, inputs, units):
    check_rows(Dense(inputs, units, activation), random((500, inputs), dtype=np.float32))


def test_mlp_rows_have_bits_of_their_own():
    check_rows(MLP(320, [128, 64, 1], final_activation="sigmoid"), random((500, 320), dtype=np.float32))


@pytest.mark.parametrize("layer", [Dense(4, 3, "relu"), MLP(4, [3, 2])])
def test_without_examples(layer):
    check_small(layer, random((1, 4), dtype=np.float32))


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((2, 3), np.float32),
        np.zeros(4, np.float32),
        np.zeros((2, 4), np.float64),
        np.zeros((2, 4, 1), np.float32),
    ],
)
def test_a_wrong_shape_is_one_line(x):
    with pytest.raises(ValueError, match=r"^Dense top\.: expected float32 of shape \(B, 4\), got .*$"):
        Dense(4, 2, name="top.").forward(x)
    layer = Dense(2, 4, name="top.")
    tape = layer.forward(np.zeros((2, 2), np.float32))[1]
    with pytest.raises(ValueError, match=r"^Dense top\.: expected float32 of shape \(B, 4\), got .*$"):
        layer.backward(tape, x, {})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Dense(0, 1), "Dense: expected at least 1 input and 1 unit, got 0 and 1"),
        (lambda: Dense(1, 1, "rleu"), "activation: expected one of linear, relu, sigmoid, tanh, got 'rleu'"),
        (lambda: MLP(3, []), "MLP: expected the units of at least one layer, got none"),
    ],
)
def test_wrong_settings_are_one_line(build, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        build()


def test_a_layer_reads_what_its_owner_put_in():
    layers = [MLP(3, [2, 1], name="a."), Dense(1, 1, name="b.")]
    parameters = shared(layers)
    assert list(parameters) == ["a.0.kernel", "a.0.bias", "a.1.kernel", "a.1.bias", "b.kernel", "b.bias"]
    x = random((2, 3), dtype=np.float32)
    before = layers[0].forward(x)[0]
    parameters["a.1.bias"] = np.ones(1, np.float32)
    np.testing.assert_array_equal(layers[0].forward(x)[0], before + 1)


def test_one_name_for_two_parameters_is_refused():
    with pytest.raises(
        ValueError, match=r"^parameter 'kernel': two layers have it; give each layer a `name`"
    ):
        shared([Dense(1, 1), Dense(1, 1)])


def test_the_start_is_of_seed_and_name():
    def start(**options):
        return Dense(300, 200, **options).parameters

    kernel = next(iter(start(seed=1).values()))
    np.testing.assert_array_equal(kernel, start(seed=1)["kernel"])
    assert abs(kernel).max() <= np.sqrt(6 / 500)
    assert kernel.std() == pytest.approx(np.sqrt(2 / 500), rel=0.02)
    assert (kernel != start(seed=2)["kernel"]).mean() > 0.99
    assert (kernel != start(seed=1, name="b.")["b.kernel"]).mean() > 0.99


def test_a_kernels_gradient_falls_out_as_factors():
    layer = Dense(3, 2)
    x, dy = random((4, 3), dtype=np.float32), random((4, 2), dtype=np.float32)
    gradients = {}
    layer.backward(layer.forward(x)[1], dy, gradients)
    assert isinstance(gradients["kernel"], Factors)
    np.testing.assert_array_equal(gradients["kernel"].a, x)
    np.testing.assert_allclose(gradients["kernel"].product(), x.T @ dy, rtol=1e-5, atol=1e-6)


def test_nan_is_not_hidden():
    x = np.array([[np.nan], [1.0]], np.float32)
    for activation in ACTIVATIONS:
        assert np.isnan(Dense(1, 1, activation).forward(x)[0]).tolist() == [[True], [False]]
