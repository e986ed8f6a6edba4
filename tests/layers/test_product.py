"""Products beside their definition: the sum in order, one fused multiply-add a step, to the last bit."""

import ctypes
import ctypes.util
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_checks import random

from streamrec.layers.product import columns_times, rows_times, rows_times_transposed

_FMAF = ctypes.CDLL(ctypes.util.find_library("m")).fmaf
_FMAF.restype, _FMAF.argtypes = ctypes.c_float, [ctypes.c_float] * 3
SHAPES = st.tuples(st.integers(0, 140), st.integers(0, 70), st.integers(1, 90))


def in_order(x, w):
    """The definition, for float32, by the C library's `fmaf`."""
    out = np.zeros((len(x), w.shape[1]), np.float32)
    for b, o in np.ndindex(out.shape):
        total = 0.0
        for i in range(len(w)):
            total = _FMAF(x[b, i], w[i, o], total)
        out[b, o] = total
    return out


@pytest.mark.parametrize(
    ("rows", "inputs", "units"),
    [
        (1, 9, 64),
        (1, 9, 150),
        (2, 9, 37),
        (3, 5, 16),
        (5, 7, 1),
        (33, 6, 17),
        (38, 5, 32),
        (97, 3, 16),
        (4, 1, 3),
    ],
)
def test_every_bit_is_that_of_the_sum_in_order(rows, inputs, units):
    x = random((rows, inputs), 1, np.float32)
    w = random((inputs, units), 2, np.float32)
    assert rows_times(x, w).tobytes() == in_order(x, w).tobytes()


@settings(deadline=None, max_examples=60)
@given(SHAPES, st.sampled_from([np.float32, np.float64]), st.data())
def test_a_rows_bits_do_not_depend_on_its_batch(shape, dtype, data):
    rows, inputs, units = shape
    x, w = random((rows, inputs), 1, dtype), random((inputs, units), 2, dtype)
    together = rows_times(x, w)
    start = data.draw(st.integers(0, rows))
    end = data.draw(st.integers(start, rows))
    assert rows_times(x[start:end], w).tobytes() == together[start:end].tobytes()
    for b in range(start, min(end, start + 3)):
        assert rows_times(x[b : b + 1], w).tobytes() == together[b : b + 1].tobytes()


@settings(deadline=None, max_examples=60)
@given(SHAPES, st.sampled_from([(np.float32, 1e-4), (np.float64, 1e-12)]))
def test_all_three_products_beside_numpy(shape, kind):
    (rows, inputs, units), (dtype, tolerance) = shape, kind
    x, dy = random((rows, inputs), 1, dtype), random((rows, units), 2, dtype)
    w, out = random((inputs, units), 3, dtype), np.full((inputs, units), np.nan, dtype)
    columns_times(x, dy, out)
    for ours, numpys in [
        (rows_times(x, w), x @ w),
        (rows_times_transposed(dy, w), dy @ w.T),
        (out, x.T @ dy),
    ]:
        np.testing.assert_allclose(ours, numpys, rtol=tolerance, atol=tolerance)


def test_more_examples_than_are_summed_at_a_time():
    x, dy = random((300, 5), 1), random((300, 19), 2)
    out = np.empty((5, 19))
    columns_times(x, dy, out)
    np.testing.assert_allclose(out, x.T @ dy, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 40])
def test_infinity_and_nan_stay_in_their_row(rows):
    x, w = np.ones((rows, 20), np.float32), np.ones((20, 33), np.float32)
    x[rows // 2, 3] = math.inf
    out = rows_times(x, w)
    assert np.isinf(out[rows // 2]).all()
    assert np.isfinite(np.delete(out, rows // 2, 0)).all()
    x[rows // 2, 4] = math.nan
    assert np.isnan(rows_times(x, w)[rows // 2]).all()


def test_nothing_is_written_past_the_result():
    """A result in the middle of a larger array: its neighbours stay as they are."""
    for rows, units in [(1, 17), (5, 31), (40, 33)]:
        room = np.full((rows + 2, units), 7.0, np.float32)
        x, dy = random((9, rows), 1, np.float32), random((9, units), 2, np.float32)
        columns_times(x, dy, room[1:-1])
        assert (room[[0, -1]] == 7.0).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda a: rows_times(a, a),
        lambda a: rows_times_transposed(a, a.T.copy()),
        lambda a: columns_times(a, a, np.empty((3, 2))),
        lambda a: columns_times(a, a[:1], np.empty((3, 3))),
    ],
)
def test_shapes_that_do_not_fit_are_refused(call):
    with pytest.raises(ValueError, match=r"^product: the shapes of the matrices do not fit each other$"):
        call(np.ones((2, 3)))


def test_steps_in_memory_are_refused():
    with pytest.raises(
        ValueError, match=r"^product: expected C-contiguous arrays; use np\.ascontiguousarray$"
    ):
        rows_times(np.ones((4, 3))[::2], np.ones((3, 2)))
