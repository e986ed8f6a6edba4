"""Recursive Gauss-Newton where slope and curvature are known: beside least squares and Newton's method."""

import numpy as np
import pytest

from streamrec.optim.newton import MOST_WEIGHTS, Newton, NewtonSettings

#: Nothing is forgotten: what the equations give is then what all examples together give.
WHOLE = {"memory": 1e9, "first_memory": 1e9}


def rows_and_labels(n=300, d=4):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x, (x @ np.array([1.0, -2.0, 0.5, 3.0]) + rng.normal(0, 0.3, n)).astype(np.float32)


def begun(optimizer, d):
    row = np.zeros((1, d + optimizer.slots(d)), np.float32)
    optimizer.begin(row, d)
    return row[0]


def test_of_squared_error_one_pass_is_ridge_regression():
    optimizer, (x, y) = Newton(NewtonSettings(damping=0.7, **WHOLE)), rows_and_labels()
    row = begun(optimizer, 4)
    for features, label in zip(x, y, strict=True):
        optimizer.step(row, features, features @ row[:4] - label, 1.0)
    ridge = np.linalg.solve(x.T @ x + 0.7 * np.eye(4), x.T @ y)
    np.testing.assert_allclose(row[:4], ridge, atol=2e-5)


def test_what_is_forgotten_makes_room_for_what_is_new():
    optimizer, (x, y) = Newton(NewtonSettings(memory=50, first_memory=50)), rows_and_labels(900)
    row = begun(optimizer, 4)
    for k, (features, label) in enumerate(zip(x, y, strict=True)):
        optimizer.step(row, features, features @ row[:4] - (label if k < 450 else -label), 1.0)
    np.testing.assert_allclose(row[:4], [-1.0, 2.0, -0.5, -3.0], atol=0.2)


def test_a_direction_that_no_example_has_stays_at_its_damping():
    """Without giving damping back its variance would be 1/.98**5000 times as large: infinite in float32."""
    optimizer = Newton(NewtonSettings(damping=0.1, memory=50, first_memory=50))
    row = begun(optimizer, 2)
    for _ in range(5_000):
        optimizer.step(row, np.array([1.0, 0.0], np.float32), row[0] - 2.0, 1.0)
    before = row.copy()
    optimizer.step(row, np.array([0.0, 1.0], np.float32), -1.0, 1.0)
    assert row[0] == pytest.approx(2.0, abs=1e-4)
    assert row[1] - before[1] == pytest.approx(10 / 11, abs=0.02)  # P·l′/(1 + P) of P = 1/damping
    assert np.isfinite(row).all()


def test_rounding_in_float32_over_a_long_stream_of_all_but_the_same_examples_does_no_harm():
    optimizer, rng = Newton(NewtonSettings(damping=1e-3)), np.random.default_rng(2)
    row, w = begun(optimizer, 6), np.arange(6, dtype=np.float32)
    for _ in range(20_000):
        x = (1.0 + 1e-3 * rng.standard_normal(6)).astype(np.float32)
        optimizer.step(row, x, x @ row[:6] - x @ w, 1.0)
    assert np.abs(row[:6] - w).max() < 0.05


def test_too_many_weights_are_one_line():
    with pytest.raises(
        ValueError, match=rf"^newton: expected at most {MOST_WEIGHTS} weights .* got 4096: .*"
    ):
        Newton(NewtonSettings()).slots(4096)
