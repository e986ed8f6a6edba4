"""What every layer must do: derivatives by finite differences, bits of a row whatever the batch."""

import numpy as np


def random(shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def numeric(loss, array, h=1e-6):
    """d loss() / d array by central differences, array float64 changed in place and put back."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + h
        up = loss()
        array[index] = kept - h
        gradient[index] = (up - loss()) / (2 * h)
        array[index] = kept
    return gradient


def check_gradients(layer, *inputs, tolerance=1e-6, seed=9):
    """All parameters and inputs (float64), written into given arrays and as they fall out."""
    y, tape = layer.forward(*inputs)
    weight = random(y.shape, seed)

    def loss():
        return float((layer.forward(*inputs)[0] * weight).sum())

    for parameter in layer.parameters.values():
        parameter[...] += random(parameter.shape, seed + 1) * 0.3
    y, tape = layer.forward(*inputs)
    given = {name: np.full_like(value, np.nan) for name, value in layer.parameters.items()}
    fallen = {}
    dxs = layer.backward(tape, weight, given)
    again = layer.backward(tape, weight, fallen)
    dxs, again = (dxs, again) if isinstance(dxs, tuple) else ((dxs,), (again,))
    for x, dx, same in zip(inputs, dxs, again, strict=True):
        np.testing.assert_allclose(dx, numeric(loss, x), rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(dx, same)
    assert set(given) == set(fallen) == set(layer.parameters)
    for name, parameter in layer.parameters.items():
        np.testing.assert_allclose(given[name], numeric(loss, parameter), rtol=tolerance, atol=tolerance)
        other = fallen[name] if isinstance(fallen[name], np.ndarray) else fallen[name].product()
        np.testing.assert_allclose(other.reshape(parameter.shape), given[name], rtol=1e-12, atol=1e-12)


def check_rows(layer, *inputs, at=(0, 1, 5, 6, 95, 96, 250, 499)):
    """The bits of an example alone, and in a batch at any place; inputs float32 (500, …)."""
    together = layer.forward(*inputs)[0]
    for b in at:
        alone = layer.forward(*(x[b : b + 1] for x in inputs))[0]
        assert alone.tobytes() == together[b : b + 1].tobytes()
    for start, end in [(3, 5), (7, 20), (100, 331)]:
        part = layer.forward(*(x[start:end] for x in inputs))[0]
        assert part.tobytes() == together[start:end].tobytes()
    turned = layer.forward(*(x[::-1] for x in inputs))[0]
    assert turned[::-1].tobytes() == together.tobytes()


def check_small(layer, *inputs):
    """No example at all: shapes and zero gradients."""
    y, tape = layer.forward(*(x[:0] for x in inputs))
    given = {name: np.full_like(value, np.nan) for name, value in layer.parameters.items()}
    dxs = layer.backward(tape, np.zeros_like(y), given)
    dxs = dxs if isinstance(dxs, tuple) else (dxs,)
    assert [dx.shape for dx in dxs] == [(0, *x.shape[1:]) for x in inputs]
    assert len(y) == 0
    assert all(not gradient.any() for gradient in given.values())
