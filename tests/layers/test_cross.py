"""Cross layers beside TFRS's golden numbers (REFERENCE 2) and finite differences."""

import numpy as np
import pytest
from layer_checks import check_gradients, check_rows, check_small, random

from streamrec.layers.activation import Activation
from streamrec.layers.cross import Cross, CrossStack, CrossV1

X0, X = np.array([[0.1, 0.2, 0.3]], np.float32), np.array([[0.4, 0.5, 0.6]], np.float32)
ZERO = Activation(np.zeros_like, np.zeros_like)


def ones(layer, bias=0.0):
    for name, parameter in layer.parameters.items():
        parameter[:] = bias if name.endswith("bias") else 1.0
    return layer


@pytest.mark.parametrize(
    ("options", "bias", "x", "expected"),
    [
        ({}, 0, X, [0.55, 0.8, 1.05]),
        ({}, 0, X0, [0.16, 0.32, 0.48]),
        ({"rank": 1}, 0, X, [0.55, 0.8, 1.05]),
        ({"rank": 2}, 0, X, [0.7, 1.1, 1.5]),
        ({"diag_scale": 1.0}, 0, X, [0.59, 0.9, 1.23]),
        ({}, 1, X, [0.65, 1.0, 1.35]),
        ({"preactivation": ZERO}, 1, X, [0.4, 0.5, 0.6]),
        ({"rank": 1, "preactivation": ZERO}, 1, X, [0.4, 0.5, 0.6]),
    ],
)
def test_golden_numbers(options, bias, x, expected):
    layer = ones(Cross(3, **options), bias)
    np.testing.assert_allclose(layer.forward(X0, x)[0], [expected], rtol=1e-6)


def test_golden_stack():
    stack = ones(CrossStack(3, 2, rank=1, bias=False))
    np.testing.assert_allclose(stack.forward(X0)[0], [[0.256, 0.512, 0.768]], rtol=1e-6)


def test_version_1_is_its_formula():
    layer = CrossV1(5, dtype=np.float64)
    layer.parameters["bias"][:] = random(5, 3)
    x0, x = random((4, 5), 1), random((4, 5), 2)
    w, b = layer.parameters["kernel"], layer.parameters["bias"]
    expected = [x0[i] * (x[i] @ w[:, 0]) + b + x[i] for i in range(4)]
    np.testing.assert_allclose(layer.forward(x0, x)[0], expected, rtol=1e-12)


@pytest.mark.parametrize("rank", [None, 1, 3])
@pytest.mark.parametrize("diag_scale", [0.0, 0.7])
@pytest.mark.parametrize("preactivation", [None, "tanh", "sigmoid", ZERO])
@pytest.mark.parametrize(("rows", "bias"), [(1, True), (5, False)])
def test_derivatives(rank, diag_scale, preactivation, rows, bias):
    layer = Cross(6, rank, diag_scale=diag_scale, preactivation=preactivation, bias=bias, dtype=np.float64)
    check_gradients(layer, random((rows, 6), 1), random((rows, 6), 2))


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_derivatives_of_version_1(rows, bias):
    layer = CrossV1(6, bias=bias, dtype=np.float64)
    check_gradients(layer, random((rows, 6), 1), random((rows, 6), 2))


@pytest.mark.parametrize(
    "options", [{"version": 1}, {"rank": 2}, {"diag_scale": 0.1, "preactivation": "relu"}]
)
def test_derivatives_of_stacks(options):
    check_gradients(CrossStack(5, 3, dtype=np.float64, **options), random((3, 5)))


@pytest.mark.parametrize("width", [5, 37, 320])
@pytest.mark.parametrize(
    "options",
    [{}, {"version": 1}, {"rank": 7, "diag_scale": 0.3}, {"preactivation": "tanh"}, {"preactivation": ZERO}],
)
def test_rows_have_bits_of_their_own(width, options):
    check_rows(CrossStack(width, 2, **options), random((500, width), dtype=np.float32))


@pytest.mark.parametrize("layer", [Cross(4), Cross(4, 2), CrossV1(4)])
def test_without_examples(layer):
    check_small(layer, random((1, 4), dtype=np.float32), random((1, 4), dtype=np.float32))


@pytest.mark.parametrize("kind", [Cross, CrossV1])
def test_wrong_shapes_are_one_line(kind):
    layer = kind(3, name="c.")
    with pytest.raises(ValueError, match=r"^Cross\w* c\. x0: expected float32 of shape \(B, 3\), got .*$"):
        layer.forward(np.zeros((1, 2), np.float32), X)
    with pytest.raises(ValueError, match=r"^Cross\w* c\. x: expected float32 of shape \(B, 3\), got .*$"):
        layer.forward(X0, X.astype(np.float64))
    with pytest.raises(ValueError, match=r"^Cross\w* c\.: expected as many rows of x as of x0, got 1 and 2$"):
        layer.forward(np.zeros((2, 3), np.float32), X)
    with pytest.raises(ValueError, match=r"^Cross\w* c\.: expected float32 of shape \(B, 3\), got .*$"):
        layer.backward(layer.forward(X0, X)[1], np.zeros((1, 4), np.float32), {})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Cross(3, 0), "Cross: expected at least 1 input and a rank of at least 1, got 3, 0"),
        (
            lambda: Cross(3, diag_scale=-1),
            "Cross: diag_scale: expected a finite number of at least 0, got -1",
        ),
        (lambda: CrossV1(0), "CrossV1: expected at least 1 input, got 0"),
        (lambda: CrossStack(3, 0), "CrossStack: expected at least 1 layer of version 1 or 2, got 0 of 2"),
        (lambda: CrossStack(3, 1, 3), "CrossStack: expected at least 1 layer of version 1 or 2, got 1 of 3"),
    ],
)
def test_wrong_settings_are_one_line(build, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        build()


def test_kernels_start_truncated_normal():
    kernel = Cross(200, seed=4).parameters["kernel"]
    assert abs(kernel).max() <= 0.1
    assert kernel.std() == pytest.approx(0.05 * 0.88, rel=0.02)  # two deviations cut off
    assert abs(kernel.mean()) < 0.001
